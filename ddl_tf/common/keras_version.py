"""What differs between Keras 2 and Keras 3: the package follows `tf.keras`, whichever of them it is.

TensorFlow 2.15 has Keras 2; later ones have Keras 3, or the package tf_keras, which is Keras 2, where
`TF_USE_LEGACY_KERAS=1` was in the environment when TensorFlow was imported.
"""

from collections.abc import Callable, Collection, Iterator
from typing import Any

import numpy as np
import tensorflow as tf

# That of TensorFlow 2.15 has no `__version__`.
IS_KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3.")
# What its classes' modules begin with: "keras" or "tf_keras".
PACKAGE = tf.keras.Model.__module__.split(".")[0]
# "tensorflow", which Keras 2 always is; Keras 3 may have "jax" or "torch" by `KERAS_BACKEND`.
BACKEND = tf.keras.backend.backend()


def refuse_names(package: str, names: Collection[str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose `names` need TensorFlow as Keras' backend, where that is another."""

    def get(name: str) -> Any:
        if name in names:
            advice = "set KERAS_BACKEND=tensorflow before Keras is imported"
            raise ImportError(f"{package}.{name} needs Keras on TensorFlow, and Keras runs on {BACKEND}: {advice}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get


def all_layers(layer: tf.keras.layers.Layer) -> Iterator[tf.keras.layers.Layer]:
    """List the layers inside of a layer or model, and those inside of them."""
    if IS_KERAS_3:
        return layer._flatten_layers(include_self=False)
    return (part for part in layer.submodules if isinstance(part, tf.keras.layers.Layer))


def build_inside(layer: tf.keras.layers.Layer, input_shape: Any) -> None:
    """Make the weights of a layer in the `build` of the one that holds it, which Keras 3 asks for in order to load."""
    if not layer.built:
        with tf.name_scope(layer.name):
            layer.build(input_shape)


def tf_variable(variable: Any) -> tf.Variable:
    """Return the variable of TensorFlow, which one of Keras 3 holds; one of TensorFlow comes back as it is."""
    return variable if isinstance(variable, (tf.Variable, tf.distribute.DistributedValues)) else variable.value


def add_replica_statistic(
    layer: tf.keras.layers.Layer, name: str, start: float, shape: tuple[int, ...], dtype: tf.DType
) -> Any:
    """Make a weight that does not train, of which every replica has its own copy; the first one's is saved."""
    if not IS_KERAS_3:
        return layer.add_weight(
            name=name,
            shape=shape,
            dtype=dtype,
            initializer=tf.keras.initializers.Constant(start),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )
    # `add_weight` has no `synchronization`. The layer finds it when it becomes an attribute.
    import keras

    value = np.full(shape, start, tf.as_dtype(dtype).as_numpy_dtype)
    return keras.Variable(
        lambda shape, dtype: tf.constant(value, dtype),
        shape=shape,
        dtype=tf.as_dtype(dtype).name,
        trainable=False,
        autocast=False,
        aggregation="only_first_replica",
        synchronization="on_read",
        name=name,
    )


def share_of_replica(loss: tf.Tensor, reduction: Any) -> tf.Tensor:
    """Give a loss of the whole batch as `fit` wants it from one replica: Keras 3 divides it here, Keras 2 later.

    `fit` adds up the gradients of the replicas. For the reductions "sum" and "none" nothing is divided.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    divides = IS_KERAS_3 and reduction in ("sum_over_batch_size", "mean", "mean_with_sample_weight")
    return loss / replicas if divides and replicas > 1 else loss
