"""Fine-tuning a network that is good already: which layers train, how fast, and what need not be computed again."""

from ddl_tf.finetuning.feature_cache import FeatureCache
from ddl_tf.finetuning.trainable_layers import train_only

__all__ = ["FeatureCache", "train_only"]
