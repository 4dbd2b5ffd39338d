"""Fine-tuning a network that is good already: which layers train, how fast, and what need not be computed again.

The modules are imported when their names are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
