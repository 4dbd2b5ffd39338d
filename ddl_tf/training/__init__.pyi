from .optimizers import L2SGD, WarmUp, build_optimizer, build_schedule
from .run import train
from .settings import TrainSettings

__all__ = ["L2SGD", "TrainSettings", "WarmUp", "build_optimizer", "build_schedule", "train"]
