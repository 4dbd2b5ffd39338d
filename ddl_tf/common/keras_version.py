"""What differs between Keras 2 and Keras 3: the package follows `tf.keras`, whichever of them it is.

TensorFlow 2.15 has Keras 2; later ones have Keras 3, or the package tf_keras, which is Keras 2, where
`TF_USE_LEGACY_KERAS=1` was in the environment when TensorFlow was imported.
"""

import contextlib
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.replicas import num_replicas

# That of TensorFlow 2.15 has no `__version__`.
IS_KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3.")
# What its classes' modules begin with: "keras" or "tf_keras".
PACKAGE = tf.keras.Model.__module__.split(".")[0]
# "tensorflow", which Keras 2 always is; Keras 3 may have "jax" or "torch" by `KERAS_BACKEND`.
BACKEND = tf.keras.backend.backend()
if IS_KERAS_3:
    from keras.src.models.functional import Functional as _Functional
else:
    _Functional = tf.keras.Sequential.__mro__[1]
_GRAPH_CALLS = (_Functional.call, tf.keras.Sequential.call)


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


def has_random_state(layer: tf.keras.layers.Layer) -> bool:
    """Whether a layer itself draws random numbers."""
    return bool(layer._seed_generators) if IS_KERAS_3 else hasattr(layer, "_random_generator")


def random_states(layer: tf.keras.layers.Layer) -> list[Any]:
    """List what a layer keeps its random state in, for a checkpoint; nothing of one that draws anew each time."""
    if IS_KERAS_3:
        return [tf_variable(generator.state) for generator in layer._seed_generators]
    generator = getattr(getattr(layer, "_random_generator", None), "_generator", None)
    return [] if generator is None else [generator]


@contextlib.contextmanager
def random_state_in_variables() -> Iterator[None]:
    """Let dropout keep its random state in a variable, which checkpoints hold; in Keras 3 it does always."""
    if IS_KERAS_3:
        yield
        return
    drawing = tf.keras.backend.experimental
    was_enabled = drawing.is_tf_random_generator_enabled()
    drawing.enable_tf_random_generator()
    try:
        yield
    finally:
        if not was_enabled:
            drawing.disable_tf_random_generator()


def build_for_fit(model: tf.keras.Model, targets: Mapping[str, tf.TensorSpec]) -> None:
    """Make what the losses and metrics of a compiled Keras 3 model keep, in the scope of its strategy.

    `fit` would begin the data a second time for it, and wait for the end of the first, which may wait for `fit`.
    """
    inputs = {name: tf.TensorSpec(tensor.shape, tensor.dtype) for name, tensor in model.input.items()}
    model._symbolic_build(data_batch=(inputs, dict(targets)))
    model._maybe_symbolic_build = lambda *_, **__: None


def loss_to_differentiate(model: tf.keras.Model, loss: tf.Tensor, rows: tf.Tensor) -> tf.Tensor:
    """Note the loss of a replica's rows in an own training step, and return it times the scale of half precision."""
    if IS_KERAS_3:
        model._loss_tracker.update_state(loss * num_replicas(), sample_weight=rows)
        return model.optimizer.scale_loss(loss)
    return model.optimizer.get_scaled_loss(loss) if _scales_loss(model.optimizer) else loss


def apply_gradients(model: tf.keras.Model, gradients: Sequence[Any]) -> None:
    """Apply the gradients of what `loss_to_differentiate` returned."""
    if _scales_loss(model.optimizer) and not IS_KERAS_3:
        gradients = model.optimizer.get_unscaled_gradients(gradients)
    model.optimizer.apply_gradients(zip(gradients, model.trainable_variables))


def _scales_loss(optimizer: tf.keras.optimizers.Optimizer) -> bool:
    return isinstance(optimizer, tf.keras.mixed_precision.LossScaleOptimizer)


def build_inside(layer: tf.keras.layers.Layer, input_shape: Any) -> None:
    """Make the weights of a layer in the `build` of the one that holds it, which Keras 3 asks for in order to load."""
    if not layer.built:
        with tf.name_scope(layer.name):
            layer.build(input_shape)


def tf_variable(variable: Any) -> tf.Variable:
    """Return the variable of TensorFlow, which one of Keras 3 holds; one of TensorFlow comes back as it is."""
    return variable if isinstance(variable, (tf.Variable, tf.distribute.DistributedValues)) else variable.value


def functional_part(layer: tf.keras.layers.Layer) -> Optional[tf.keras.Model]:
    """Return the graph of a functional or sequential model that runs as Keras runs it; None for any other layer."""
    if type(layer).call not in _GRAPH_CALLS or not layer.built:
        return None
    # In Keras 3 a sequential model holds a functional one.
    return getattr(layer, "_functional", None) or layer


def graph_calls(model: tf.keras.Model) -> list[Any]:
    """List Keras's nodes, the calls of layers in a functional model, in an order in which they can run."""
    depths = model._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input]


def called_layer(node: Any) -> tf.keras.layers.Layer:
    """Return the layer that a node calls."""
    return node.operation if IS_KERAS_3 else node.layer


def called_inputs(node: Any) -> list[int]:
    """List the ids of the tensors that a node's layer is called on."""
    return list(map(id, node.input_tensors)) if IS_KERAS_3 else list(map(int, node.flat_input_ids))


def call_again(node: Any, tensors: Sequence[Any]) -> list[Any]:
    """Call a node's layer as it was called, on other tensors in the order of `called_inputs`."""
    if IS_KERAS_3:
        arguments, keywords = node.arguments.fill_in(dict(zip(called_inputs(node), tensors)))
    else:
        waiting: dict[str, list[Any]] = {}
        for name, tensor in zip(node.flat_input_ids, tensors):
            waiting.setdefault(name, []).append(tensor)
        arguments, keywords = node.map_arguments(waiting)
    return tf.nest.flatten(called_layer(node)(*arguments, **keywords))


def layer_of(tensor: Any) -> tf.keras.layers.Layer:
    """Return the layer whose call a symbolic tensor comes from."""
    return tensor._keras_history.operation if IS_KERAS_3 else tensor.node.layer


def variable_path(variable: Any) -> str:
    """Return the name of a variable with the names of the layers that hold it."""
    return variable.path if IS_KERAS_3 and hasattr(variable, "path") else variable.name


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


def whole_numbers(values: tf.Tensor) -> tf.Tensor:
    """Return targets as they are, but int64 where Keras 3 has made float64 of them.

    Before its first step under a strategy, Keras 3's `fit` calls losses and metrics on the mean of the replicas'
    targets, to see what they make. Nothing is computed there.
    """
    values = tf.convert_to_tensor(values)
    if IS_KERAS_3 and values.dtype == tf.float64:
        from keras.src.backend.common.symbolic_scope import in_symbolic_scope

        return tf.cast(values, tf.int64) if in_symbolic_scope() else values
    return values


def share_of_replica(loss: tf.Tensor, reduction: Any) -> tf.Tensor:
    """Give a loss of the whole batch as `fit` wants it from one replica: Keras 3 divides it here, Keras 2 later.

    `fit` adds up the gradients of the replicas. For the reductions "sum" and "none" nothing is divided.
    """
    replicas = tf.distribute.get_strategy().num_replicas_in_sync
    divides = IS_KERAS_3 and reduction in ("sum_over_batch_size", "mean", "mean_with_sample_weight")
    return loss / replicas if divides and replicas > 1 else loss
