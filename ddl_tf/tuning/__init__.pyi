from .comparing import tune
from .settings import TuneSettings

__all__ = ["TuneSettings", "tune"]
