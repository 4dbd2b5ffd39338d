"""Embedding necks: from the feature map of a backbone to the embedding.

Each ends with a batch normalisation. They keep PyTorch's epsilon and momentum, so that InsightFace's weights fit.
"""

import math
from typing import Any

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.keras_version import OfThisKeras, build_inside
from ddl_tf.layers.margin import check_argument

# PyTorch's momentum of 0.1 is the share of the new value; Keras counts the share of the old one.
BATCH_NORM = {"epsilon": 1e-5, "momentum": 0.9}


class _Neck(OfThisKeras, tf.keras.layers.Layer):
    """What all necks share: float32, the size of the embedding, the dense and normalisation layers that make it."""

    def __init__(self, embedding_size: int = 512, synchronized_norms: bool = False, **kwargs: Any) -> None:
        # As in InsightFace, the last layers are float32 under any precision policy.
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_argument(
            is_whole(embedding_size) and embedding_size >= 1,
            f"embedding_size must be a whole number, at least 1, got {embedding_size!r}",
        )
        self.embedding_size = int(embedding_size)
        # In the configuration, so that a saved neck comes back as it was.
        self.synchronized_norms = bool(synchronized_norms)

    def _batch_norm(self, name: str, scale: bool = True) -> tf.keras.layers.Layer:
        return tf.keras.layers.BatchNormalization(
            scale=scale, name=name, dtype="float32", synchronized=self.synchronized_norms, **BATCH_NORM
        )

    def _dense(self, name: str, use_bias: bool) -> tf.keras.layers.Layer:
        return tf.keras.layers.Dense(self.embedding_size, use_bias=use_bias, name=name, dtype="float32")

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        config = {**super().get_config(), "embedding_size": self.embedding_size}
        # Left out where it says nothing new: older versions of the package read the file too.
        return {**config, "synchronized_norms": True} if self.synchronized_norms else config


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class FlattenNeck(_Neck):
    """BN, dropout, dense, BN: the neck of InsightFace's IR networks, "option E" in the paper of `ArcFace`.

    The dense layer sees every position of the feature map, hence an image size is fixed by its weights.

    Args:
        embedding_size: length of the embedding, at least 1.
        dropout: share of the features that are dropped while training, in [0, 1).

    Example:
        >>> FlattenNeck(128)(tf.random.normal([2, 7, 7, 512])).shape
        TensorShape([2, 128])
    """

    def __init__(self, embedding_size: int = 512, dropout: float = 0.0, **kwargs: Any) -> None:
        super().__init__(embedding_size, **kwargs)
        check_argument(0 <= dropout < 1, f"dropout must be in [0, 1), got {dropout!r}")
        self.dropout = tf.keras.layers.Dropout(dropout, dtype="float32")
        self.feature_norm = self._batch_norm("feature_norm")
        self.flatten = tf.keras.layers.Flatten(dtype="float32")
        self.dense = self._dense("dense", use_bias=True)
        self.embedding_norm = self._batch_norm("embedding_norm", scale=False)

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        # In the order of the calls, in which seeds are drawn.
        flat_shape = (None, math.prod(input_shape[1:]))
        build_inside(self.feature_norm, input_shape)
        build_inside(self.dropout, flat_shape)
        build_inside(self.dense, flat_shape)
        build_inside(self.embedding_norm, (None, self.embedding_size))
        super().build(input_shape)

    def call(self, features: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Return the embeddings, `[batch, embedding_size]` float32."""
        features = self.flatten(self.feature_norm(features, training=training))
        return self.embedding_norm(self.dense(self.dropout(features, training=training)), training=training)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "dropout": self.dropout.rate}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class DepthwiseNeck(_Neck):
    """Global depthwise convolution (GDC), dense, BN: the neck of MobileFaceNet.

    Every channel learns which positions of the face it counts, where pooling would count all alike.

    Args:
        embedding_size: length of the embedding, at least 1.

    Example:
        >>> DepthwiseNeck(128)(tf.random.normal([2, 7, 7, 512])).shape
        TensorShape([2, 128])

    References:
        Chen et al., "MobileFaceNets: Efficient CNNs ...", https://arxiv.org/abs/1804.07573
    """

    def __init__(self, embedding_size: int = 512, **kwargs: Any) -> None:
        super().__init__(embedding_size, **kwargs)
        self.feature_norm = self._batch_norm("feature_norm")
        self.dense = self._dense("dense", use_bias=False)
        # InsightFace's MobileFaceNet, unlike its IR networks, learns this scale.
        self.embedding_norm = self._batch_norm("embedding_norm")

    def build(self, input_shape: Any) -> None:
        """Make the weights; the convolution is as large as the feature map."""
        self.depthwise = tf.keras.layers.DepthwiseConv2D(
            (int(input_shape[1]), int(input_shape[2])), use_bias=False, name="depthwise", dtype="float32"
        )
        build_inside(self.depthwise, input_shape)
        build_inside(self.feature_norm, (None, 1, 1, input_shape[-1]))
        build_inside(self.dense, (None, input_shape[-1]))
        build_inside(self.embedding_norm, (None, self.embedding_size))
        super().build(input_shape)

    def call(self, features: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Return the embeddings, `[batch, embedding_size]` float32."""
        features = self.feature_norm(self.depthwise(features), training=training)
        return self.embedding_norm(self.dense(features[:, 0, 0]), training=training)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class PoolNeck(_Neck):
    """Global average pooling, dense, BN: for backbones with many channels, of any image size.

    Args:
        embedding_size: length of the embedding, at least 1.

    Example:
        >>> PoolNeck(128)(tf.random.normal([2, 4, 4, 512])).shape
        TensorShape([2, 128])
    """

    def __init__(self, embedding_size: int = 512, **kwargs: Any) -> None:
        super().__init__(embedding_size, **kwargs)
        self.dense = self._dense("dense", use_bias=False)
        self.embedding_norm = self._batch_norm("embedding_norm", scale=False)

    def build(self, input_shape: Any) -> None:
        """Make the weights."""
        build_inside(self.dense, (None, input_shape[-1]))
        build_inside(self.embedding_norm, (None, self.embedding_size))
        super().build(input_shape)

    def call(self, features: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Return the embeddings, `[batch, embedding_size]` float32."""
        return self.embedding_norm(self.dense(tf.reduce_mean(features, axis=[1, 2])), training=training)
