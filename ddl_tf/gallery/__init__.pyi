from . import marking as marking
from .gallery import Gallery
from .store import ModelRecord

__all__ = ["Gallery", "ModelRecord"]
