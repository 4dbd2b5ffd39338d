"""A disk that fills up."""

import contextlib
import resource


@contextlib.contextmanager
def files_limited_to(size):
    """A disk with room for `size` bytes: writing more fails, after a part is written."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
