"""Images of faces: decoded, turned upright, and aligned by their landmarks.

What decodes inside of TensorFlow's graph is imported when it is first used.
"""

import lazy_loader

__getattr__, __dir__, _ = lazy_loader.attach_stub(__name__, __file__)
