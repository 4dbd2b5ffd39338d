"""The two lanes of versions: TensorFlow 2.15, which has Keras 2, and later ones, which have Keras 3 unless told.

Under Keras 3 `fit` fails on several machines, so the package is written to Keras 2: `tf.keras` of TensorFlow 2.15, and
the package tf_keras behind the same name on later ones.
"""

import os
import sys
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec

# TensorFlow reads it when it is imported.
VARIABLE = "TF_USE_LEGACY_KERAS"
_ADVICE = f"set {VARIABLE}=1 in the environment, or unset it and import ddl_tf before tensorflow"


def use_keras_2() -> None:
    """Have TensorFlow take Keras 2 when it is imported; an `ImportError` if it cannot."""
    if "tensorflow" in sys.modules:
        keras = sys.modules.get("keras")
        if "tf_keras" not in sys.modules and getattr(keras, "__version__", "").startswith("3."):
            raise ImportError(f"ddl_tf needs Keras 2, but TensorFlow was imported with Keras 3: {_ADVICE}")
        return
    try:
        if not version("keras").startswith("3."):
            return
    except PackageNotFoundError:
        return  # As TensorFlow says itself when it is imported.
    value = os.environ.setdefault(VARIABLE, "1")
    if value not in ("1", "true", "True"):
        raise ImportError(f"ddl_tf needs Keras 2, but {VARIABLE}={value} asks for Keras 3: {_ADVICE}")
    if find_spec("tf_keras") is None:
        install = "run `pip install tf_keras`, of the version that TensorFlow has"
        raise ImportError(f"ddl_tf needs Keras 2, which from TensorFlow 2.16 on is a package of its own: {install}")
