from .feature_cache import FeatureCache
from .trainable_layers import layers_of_last_blocks, train_only

__all__ = ["FeatureCache", "layers_of_last_blocks", "train_only"]
