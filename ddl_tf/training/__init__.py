"""Training: the settings of a run, its optimizer and schedule, the callbacks, and the fit call.

The modules are imported when their names are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
