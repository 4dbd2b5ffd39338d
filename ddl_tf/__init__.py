"""Face recognition that is good on its hard samples, by Distribution Distillation Loss.

The sub-packages are imported when they are first used, so that `import ddl_tf` costs and prints nothing. On TensorFlow
2.16 and later it has TensorFlow take Keras 2 (see ddl_tf/versions.py).

Example:
    >>> import ddl_tf
    >>> loss = ddl_tf.losses.DDLLoss()

References:
    Huang et al., "Improving Face Recognition from Hard Samples via Distribution Distillation Loss",
    ECCV 2020, https://arxiv.org/abs/2002.03662
"""

import importlib
from types import ModuleType

from ddl_tf.versions import use_keras_2

__version__ = "0.1.0"

__all__ = ["data", "evaluation", "layers", "losses", "mining", "models", "serving", "training"]

use_keras_2()


def __getattr__(name: str) -> ModuleType:
    if name in __all__:
        return importlib.import_module(f"{__name__}.{name}")
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
