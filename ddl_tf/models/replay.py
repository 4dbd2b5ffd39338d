"""Running a network twice on the same rows as if it ran once: what it remembers, and what it draws."""

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3, all_layers, has_random_state, random_states


@contextlib.contextmanager
def keep_statistics(layer: tf.keras.layers.Layer) -> Iterator[None]:
    """Undo what the running statistics of a layer or model learn inside of the `with`."""
    # Not `non_trainable_variables`, which in Keras 3 has the random state too.
    variables = layer.non_trainable_weights
    before = [tf.identity(variable) for variable in variables]
    yield
    for variable, value in zip(variables, before):
        variable.assign(value)


def random_layers(model: tf.keras.Model) -> list[tf.keras.layers.Layer]:
    """Return the layers that draw random numbers while training, such as dropout with a rate that is not 0."""
    layers = [layer for layer in all_layers(model) if has_random_state(layer)]
    return [layer for layer in layers if getattr(layer, "rate", None) != 0.0]


def random_replay(model: tf.keras.Model) -> Callable[[], None]:
    """Return a function that takes the random numbers back to now; a ValueError names a layer without a generator."""
    states: list[Any] = []
    for layer in random_layers(model):
        if IS_KERAS_3:
            # In each replica its own copy.
            states += random_states(layer)
            continue
        generator = getattr(layer._random_generator, "_generator", None)
        if generator is None:
            raise ValueError(
                f"the layer {layer.name} cannot draw the same numbers twice: call "
                "tf.keras.backend.experimental.enable_tf_random_generator() before the model is built"
            )
        # A mirrored variable may only change as a whole, but each replica draws its own numbers.
        context = tf.distribute.get_replica_context()
        number = tf.get_static_value(context.replica_id_in_sync_group)
        states.append(context.strategy.experimental_local_results(generator.state)[number or 0])
    before = [tf.identity(state) for state in states]

    def replay() -> None:
        for state, value in zip(states, before):
            state.assign(value)

    return replay
