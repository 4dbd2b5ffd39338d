"""The faces that the package draws.

The modules are imported when their names are first used: drawing faces needs no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
