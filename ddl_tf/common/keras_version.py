"""What differs between Keras 2 and Keras 3: the package follows `tf.keras`, whichever of them it is.

TensorFlow 2.15 has Keras 2; later ones have Keras 3, or the package tf_keras, which is Keras 2, where
`TF_USE_LEGACY_KERAS=1` was in the environment when TensorFlow was imported.
"""

import contextlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.common.replicas import num_replicas

# That of TensorFlow 2.15 has no `__version__`.
IS_KERAS_3 = getattr(tf.keras, "__version__", "2").startswith("3.")
# What its classes' modules begin with: "keras" or "tf_keras".
PACKAGE = tf.keras.Model.__module__.split(".")[0]
# "tensorflow", which Keras 2 always is; Keras 3 may have "jax" or "torch" by `KERAS_BACKEND`.
BACKEND = tf.keras.backend.backend()
_OTHER = "keras" if PACKAGE == "tf_keras" else "tf_keras"
# Keras's own calls of a layer or loss are not deeper.
_MOST_FRAMES = 40


def refuse_names(package: str, names: Collection[str]) -> Callable[[str], Any]:
    """Make the `__getattr__` of a package whose `names` need TensorFlow as Keras' backend, where that is another."""

    def get(name: str) -> Any:
        if name in names:
            advice = "set KERAS_BACKEND=tensorflow before Keras is imported"
            raise ImportError(f"{package}.{name} needs Keras on TensorFlow, and Keras runs on {BACKEND}: {advice}")
        raise AttributeError(f"module {package!r} has no attribute {name!r}")

    return get


def _name_of(package: str) -> str:
    return f"{package} {getattr(sys.modules.get(package), '__version__', '')}".strip()


def _mixed(what: str, where: str) -> TypeError:
    ours, other = _name_of(PACKAGE), _name_of(_OTHER)
    return TypeError(
        f"{what} is of {ours}, but {where} of {other}: ddl_tf follows tf.keras, which is {ours} in this process; make "
        "all of it with tf.keras (docs/versions.md says how to choose which Keras that is)"
    )


def _is_of_other(value: Any) -> bool:
    return any(kind.__module__.split(".")[0] == _OTHER for kind in type(value).__mro__)


def refuse_other(value: Any, what: str) -> None:
    """Refuse (TypeError) a model, layer or loss of the other Keras, `what` it is to be said."""
    if _OTHER in sys.modules and _is_of_other(value):
        ours, other = _name_of(PACKAGE), _name_of(_OTHER)
        raise TypeError(
            f"{what} {getattr(value, 'name', type(value).__name__)} is of {other}, but ddl_tf follows tf.keras, which "
            f"is {ours} in this process: make it with tf.keras (docs/versions.md says how to choose which that is)"
        )


def refuse_call_by_other(what: str, *arguments: Any) -> None:
    """Refuse (TypeError) to be called by the other Keras, or on its tensors; what it would make would not train."""
    if _OTHER not in sys.modules:
        return
    for argument in tf.nest.flatten(arguments):
        if _is_of_other(argument):
            raise _mixed(what, "it is called on a tensor")
    frame: Any = sys._getframe(2)
    for _ in range(_MOST_FRAMES):
        if frame is None:
            return
        package = frame.f_globals.get("__name__", "").split(".")[0]
        if package == _OTHER:
            raise _mixed(what, "the model that it is in is")
        if package == PACKAGE:
            return
        frame = frame.f_back


class OfThisKeras:
    """A base beside a Keras layer, which is not called by the other Keras, or on its tensors (TypeError)."""

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """Call the layer."""
        refuse_call_by_other(type(self).__name__, args, kwargs)
        return super().__call__(*args, **kwargs)  # type: ignore[misc]


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


# For `add_weight` of layers that are float32 in every precision. In a model of half precision Keras 3 would give a cast
# copy of such a weight, float32 too, of which `rows_of` cannot gather.
WITHOUT_CAST: dict[str, bool] = {"autocast": False} if IS_KERAS_3 else {}


def rows_of(variable: Any, rows: tf.Tensor) -> tf.Tensor:
    """Gather rows of a variable; of one of a strategy or of Keras 3 `tf.gather` would first copy all rows."""
    variable = tf_variable(variable)
    if isinstance(variable, tf.distribute.DistributedValues):
        # That of the replica that asks.
        variable = variable._get()
    return variable.sparse_read(rows)


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
