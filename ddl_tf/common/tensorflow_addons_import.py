"""TensorFlow Addons, imported only where it is used: it has ended, warns of that, and needs TensorFlow below 2.16."""

import warnings
from types import ModuleType

from ddl_tf.common.errors import InputError


def import_tensorflow_addons() -> ModuleType:
    """Import TensorFlow Addons without its warnings; an `InputError` if it is missing or does not work."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            import tensorflow_addons
    except ImportError as error:
        what = f"TensorFlow Addons cannot be imported ({error}), and the triplet loss is taken from it"
        install = "run `pip install tensorflow-addons==0.23.0` with TensorFlow 2.15 (it fails from 2.16 on)"
        raise InputError(f"{what}: {install}, or use another loss") from error
    return tensorflow_addons
