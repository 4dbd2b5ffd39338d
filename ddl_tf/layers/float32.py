"""Layers that compute in float32 whatever the precision policy is."""

from typing import Any

import tensorflow as tf


class Float32Layer(tf.keras.layers.Layer):
    """The base of layers whose numbers do not fit into half precision.

    A cosine near 1 has no digits left in float16, and InsightFace too keeps the last layers in float32. Inputs are
    cast to float32, and the weights and the output are float32, under `mixed_float16` and `mixed_bfloat16` as well.

    Args:
        **kwargs: arguments of `tf.keras.layers.Layer`; `dtype` is replaced by float32.
    """

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
