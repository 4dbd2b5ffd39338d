"""Say what is wrong on an unsupported Python; everything else is in setup.cfg.

Without it, older versions of pip only say that they find no TensorFlow.
"""

import sys

from setuptools import setup

if not (3, 9) <= sys.version_info[:2] <= (3, 11):
    sys.exit(
        "ddl_tf needs Python 3.9, 3.10 or 3.11 (TensorFlow 2.15 has no later one), but this is Python "
        + sys.version.split()[0]
        + ": make the environment with one of these, as in `python3.11 -m venv .venv`"
    )
setup()
