"""Face recognition that is good on its hard samples, by Distribution Distillation Loss.

The sub-packages are imported when they are first used, so that `import ddl_tf` costs and prints nothing. It follows
`tf.keras`, Keras 2 or Keras 3 (docs/versions.md).

Example:
    >>> import ddl_tf
    >>> loss = ddl_tf.losses.DDLLoss()

References:
    Huang et al., "Improving Face Recognition from Hard Samples via Distribution Distillation Loss",
    ECCV 2020, https://arxiv.org/abs/2002.03662
"""

import lazy_loader

__version__ = "0.1.0"

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
