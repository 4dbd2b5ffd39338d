"""KerasCV, imported only where it is used: it takes seconds, and prints."""

import contextlib
import io
from types import ModuleType


def import_keras_cv() -> ModuleType:
    """Import KerasCV without its banner; its layers are registered for loading from then on."""
    with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
        import keras_cv
    return keras_cv
