"""Fine-tunings compared on one's own data: which loss beside the margin softmax is worth it."""

from ddl_tf.tuning.comparing import tune
from ddl_tf.tuning.settings import TuneSettings

__all__ = ["TuneSettings", "tune"]
