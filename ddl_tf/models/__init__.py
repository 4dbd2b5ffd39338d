"""Backbones by name, the recognizer that is made of one, its checkpoints, and weights from InsightFace.

The modules are imported when their names are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
