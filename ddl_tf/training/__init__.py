"""Training: the settings of a run, its optimizer and schedule, the callbacks, and the fit call."""

from ddl_tf.training.optimizers import L2SGD, WarmUp, build_optimizer, build_schedule
from ddl_tf.training.run import train
from ddl_tf.training.settings import TrainSettings

__all__ = ["L2SGD", "TrainSettings", "WarmUp", "build_optimizer", "build_schedule", "train"]
