"""Folders of photos: their faces found, chosen, and stored as a set, with pictures of what was taken and left out."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
