"""Batch normalisation by the batch of all replicas: Keras' own, `BatchNormalization(synchronized=True)`."""

from typing import Any

import tensorflow as tf

from ddl_tf.common.keras_version import all_layers, refuse_other


def synchronize_batch_norm(model: tf.keras.layers.Layer) -> None:
    """Let all batch normalisation of a model be synchronised, that inside of its layers included.

    Each replica then normalises by the rows of all, as `tf.keras.layers.BatchNormalization(synchronized=True)` does;
    every replica must have rows. Weights, their order and their names stay. The model (or layer) is changed in place,
    built and before it trains.

    Example:
        >>> model = tf.keras.Sequential([tf.keras.Input([4]), tf.keras.layers.BatchNormalization()])
        >>> synchronize_batch_norm(model)
        >>> is_synchronized(model)
        True
    """
    refuse_other(model, "the model")
    for layer in all_layers(model):
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            # Layers of layers (KerasCV's, say) hold it in attributes of any name: nothing else reaches all of them.
            # The fused kernel is by the rows of one replica.
            layer.synchronized, layer.fused = True, False
        elif hasattr(layer, "synchronized_norms"):
            layer.synchronized_norms = True


def is_synchronized(model: tf.keras.layers.Layer) -> bool:
    """Whether any batch normalisation of a Keras model or layer is synchronised."""
    return any(getattr(layer, "synchronized", False) is True for layer in all_layers(model))


@tf.keras.utils.register_keras_serializable(package="ddl_tf", name="SyncBatchNorm")
class _OldSyncBatchNorm(tf.keras.layers.BatchNormalization):
    """What `.keras` files name that were written when this package had a layer of its own."""

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> tf.keras.layers.Layer:
        """Make Keras' layer of an old one's configuration."""
        (axis,) = config["axis"] if isinstance(config["axis"], list) else [config["axis"]]
        return tf.keras.layers.BatchNormalization(**{**config, "axis": axis, "synchronized": True})
