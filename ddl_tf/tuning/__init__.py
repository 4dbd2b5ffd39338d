"""Fine-tunings compared on one's own data: which loss beside the margin softmax is worth it.

The modules are imported when their names are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
