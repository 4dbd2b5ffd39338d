"""Say what is wrong on an unsupported Python; everything else is in setup.cfg.

Without it, older versions of pip only say that they find no TensorFlow.
"""

import sys

from setuptools import setup

if not (3, 9) <= sys.version_info[:2] <= (3, 13):
    sys.exit(
        "ddl_tf needs Python 3.9 to 3.13 (TensorFlow 2.21 has no later one), but this is Python "
        + sys.version.split()[0]
        + ": make the environment with one of these, as in `python3.11 -m venv .venv`"
    )
setup()
