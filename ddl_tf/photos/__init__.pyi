from . import sheets as sheets
from .aligning import AlignSettings as AlignSettings
from .aligning import align_folder as align_folder
from .preparing import PhotoStoreSettings as PhotoStoreSettings
from .preparing import prepare_photos as prepare_photos
