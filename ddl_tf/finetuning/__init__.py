"""Fine-tuning a network that is good already: which layers train, how fast, and what need not be computed again."""

from ddl_tf.finetuning.feature_cache import FeatureCache
from ddl_tf.finetuning.trainable_layers import layers_of_last_blocks, train_only

__all__ = ["FeatureCache", "layers_of_last_blocks", "train_only"]
