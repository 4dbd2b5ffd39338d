from .preparing import PhotoStoreSettings as PhotoStoreSettings
from .preparing import prepare_photos as prepare_photos
