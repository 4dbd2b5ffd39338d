"""What training sets for the whole process, and gives back: seeds, and how Keras computes and draws."""

import contextlib
import random
from collections.abc import Iterator

import numpy as np
import tensorflow as tf

# What `get_seed` gives where no global seed was set.
_NO_SEED = 87654321

_drawing = tf.keras.backend.experimental


@contextlib.contextmanager
def global_state_of_run(seed: int, precision: str) -> Iterator[None]:
    """Seed all random numbers and set Keras's precision policy, and leave them as they were before.

    Python's and NumPy's random numbers go on as if there had been no run. TensorFlow's global seed is set again, which
    begins its sequence anew.
    """
    policy = tf.keras.mixed_precision.global_policy()
    draws_by_generator = _drawing.is_tf_random_generator_enabled()
    of_python, of_numpy = random.getstate(), np.random.get_state()
    global_seed, _ = tf.compat.v1.random.get_seed(1)
    try:
        tf.keras.utils.set_random_seed(seed)
        # Dropout then keeps its random state in a variable, which the run's checkpoints hold.
        _drawing.enable_tf_random_generator()
        tf.keras.mixed_precision.set_global_policy(precision)
        yield
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
        if not draws_by_generator:
            _drawing.disable_tf_random_generator()
        random.setstate(of_python)
        np.random.set_state(of_numpy)
        tf.random.set_seed(None if global_seed == _NO_SEED else global_seed)
