"""Batch normalisation by the statistics of the global batch, over all replicas."""

from typing import Optional

import tensorflow as tf

from ddl_tf.replicas import gather_rows, in_several_replicas


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SyncBatchNorm(tf.keras.layers.BatchNormalization):
    """Batch normalisation that several replicas do as one device with all of their rows would do it.

    Weights, names and arguments are those of `tf.keras.layers.BatchNormalization`, which it is on one device. Replicas
    may hold different numbers of rows, none included; their moving statistics stay equal. Keras' own
    `synchronized=True` leaves those of a replica without rows behind, and takes the variance as a difference of large
    numbers.

    Args:
        **kwargs: arguments of `tf.keras.layers.BatchNormalization`; `axis` must be the last.

    Example:
        >>> SyncBatchNorm()(tf.random.normal([4, 7, 7, 16]), training=True).shape
        TensorShape([4, 7, 7, 16])

    References:
        Peng et al., "MegDet: A Large Mini-Batch Object Detector", https://arxiv.org/abs/1711.07240
    """

    def call(self, inputs: tf.Tensor, training: Optional[bool] = None, mask: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Normalise.

        Args:
            inputs: `[batch, ..., channels]`.
            training: whether by the batch, which the moving statistics then learn from.
            mask: as Keras has it; ignored where several replicas train.

        Returns:
            The same shape.

        Raises:
            ValueError: if the axis is not the last.
        """
        if not training or not in_several_replicas():
            return super().call(inputs, training=training, mask=mask)
        if list(self.axis) != [inputs.shape.rank - 1]:
            raise ValueError(f"the axis of {self.name} must be the last to be synchronised, got {list(self.axis)}")
        x = tf.cast(inputs, tf.float32)
        mean, variance, count = _global_moments(x)
        # Keras counts one less in the moving variance of feature maps, and not in that of vectors.
        seen = variance * count / tf.maximum(count - 1.0, 1.0) if inputs.shape.rank > 2 else variance
        for moving, value in ((self.moving_mean, mean), (self.moving_variance, seen)):
            moving.assign(self.momentum * moving + (1.0 - self.momentum) * value)
        normalised = tf.nn.batch_normalization(x, mean, variance, self.beta, self.gamma, self.epsilon)
        return tf.cast(normalised, self.compute_dtype)


def _global_moments(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`[batch, ..., channels]` -> `[channels]` mean and variance, and `[]` count, over the rows of all replicas.

    Each replica's mean and squared deviations are pooled (Chan et al.'s formula), which loses no digits and needs one
    exchange.
    """
    axes = list(range(x.shape.rank - 1))
    channels = x.shape[-1]
    count = tf.cast(tf.reduce_prod(tf.shape(x)[:-1]), tf.float32)
    mean = tf.math.divide_no_nan(tf.reduce_sum(x, axes), count)
    deviations = tf.reduce_sum(tf.math.squared_difference(x, mean), axes)
    (parts,) = gather_rows(tf.concat([mean, deviations, [count]], 0)[tf.newaxis])
    means, deviations, counts = tf.split(parts, [channels, channels, 1], axis=1)
    total = tf.reduce_sum(counts)
    mean = tf.reduce_sum(counts * means, 0) / total
    between = counts * tf.math.squared_difference(means, mean)
    return mean, tf.reduce_sum(deviations + between, 0) / total, total


def synchronize_batch_norm(model: tf.Module) -> None:
    """Let all batch normalisation of a model be `SyncBatchNorm`, that inside of its layers included.

    Weights, their order and their names stay. What a layer builds inside of itself, as the necks do, is plain again in
    a model that is loaded from a file.

    Args:
        model: a Keras model or layer, built; it is changed in place, before it trains.

    Example:
        >>> synchronize_batch_norm(build_embedding_model("plain_small"))
    """
    for layer in model.submodules:
        if type(layer) is tf.keras.layers.BatchNormalization:
            # Layers of layers (KerasCV's, say) hold it in attributes of any name: nothing else reaches all of them.
            layer.__class__ = SyncBatchNorm
