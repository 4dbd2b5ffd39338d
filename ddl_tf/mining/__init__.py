"""What is easy and what is hard: rules, measured quality, a model's view, degradation, positive pairs, near identities.

The modules are imported when their names are first used: rules need no TensorFlow.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
