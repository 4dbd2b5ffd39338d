"""Silence for what C++ says on stderr whatever its log level is."""

import contextlib
import os
import sys
import tempfile
from collections.abc import Iterator


@contextlib.contextmanager
def quiet_stderr() -> Iterator[None]:
    """Keep everything off stderr, that of other threads too, until the end of the block.

    TensorFlow Lite's C++ reports its work there whatever the log level; its errors are exceptions as well.
    """
    sys.stderr.flush()
    before = os.dup(2)
    with tempfile.TemporaryFile() as elsewhere:
        os.dup2(elsewhere.fileno(), 2)
        try:
            yield
        finally:
            sys.stderr.flush()
            os.dup2(before, 2)
            os.close(before)
