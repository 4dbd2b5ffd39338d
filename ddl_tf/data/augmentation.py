"""Augmentation by keras_cv layers, with random numbers that follow from each row's seed."""

from collections.abc import Callable
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.errors import InputError
from ddl_tf.keras_cv_import import import_keras_cv

Augmentation = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


class RowRandom:
    """The source of random numbers for the layers, seeded anew for every row.

    keras_cv's layers draw from generators with a state, so that what a row gets depends on how many rows were
    drawn before and by which thread. Here a draw follows from the row's seed and the number of the draw.
    """

    def begin(self, seed: tf.Tensor) -> None:
        """Start a row.

        Args:
            seed: `[2]` int.
        """
        self._seed = seed
        self._draws = 0

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = tf.float32, **_: Any) -> tf.Tensor:
        """Draw as `tf.random.Generator.uniform`.

        Args:
            shape: of the result.
            minval: lower bound, included.
            maxval: upper bound, not included.
            dtype: of the result.

        Returns:
            Uniform random numbers.
        """
        self._draws += 1
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._draws)
        return tf.random.stateless_uniform(shape, seed, minval=minval, maxval=maxval, dtype=dtype)


def build_augmentation(flip: bool = True, strength: float = 0.0) -> Augmentation:
    """Make the augmentation of training images.

    With `strength` the images also vary in brightness, contrast, saturation, sharpness and JPEG quality, each
    drawn between nothing and `strength` times its full range.

    Args:
        flip: whether half of the images are mirrored.
        strength: 0 (off) to 1 (full).

    Returns:
        A function of an image `[height, width, 3]` float32 or uint8 in 0..255 and the row's seed `[2]`, that returns
        an image of the same shape and range; with `strength` a float32 one, else of the same type. It runs inside
        `tf.data`, and is deterministic in the seed.

    Raises:
        InputError: for a strength outside of [0, 1].

    Example:
        >>> augment = build_augmentation(strength=0.5)
        >>> augment(tf.zeros([32, 32, 3]), tf.constant([0, 7], tf.int64)).shape
        TensorShape([32, 32, 3])
    """
    if not 0.0 <= strength <= 1.0:
        raise InputError(f"the augmentation strength must be in [0, 1], got {strength}")
    if not flip and not strength:
        return lambda image, seed: image
    if not strength:
        # keras_cv's RandomFlip costs several times as much as decoding the image.
        return tf.image.stateless_random_flip_left_right
    keras_cv = import_keras_cv()
    random = RowRandom()

    class RowFactor(keras_cv.core.FactorSampler):  # type: ignore[name-defined]
        """A factor between two bounds, drawn from the row's random numbers."""

        def __init__(self, lower: float, upper: float) -> None:
            self._bounds = (lower, upper)

        def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
            return tf.cast(random.uniform(shape, *self._bounds), dtype)

        def get_config(self) -> dict[str, float]:
            return {"lower": self._bounds[0], "upper": self._bounds[1]}

    # Each layer with the range of its factor (None: it has none) and the value of white that it expects.
    layers: list[tuple[Any, Optional[tuple[float, float]], float]] = [
        (keras_cv.layers.RandomBrightness(0.0), (-0.4 * strength, 0.4 * strength), 255.0),
        (keras_cv.layers.RandomContrast((0, 255), 0.0), (1 - 0.5 * strength, 1 + 0.5 * strength), 255.0),
        (keras_cv.layers.RandomColorDegeneration(0.0), (0.0, strength), 255.0),
        # Its factor is the standard deviation, in pixels of the training image.
        (keras_cv.layers.RandomGaussianBlur(7, 0.0), (0.0, 1.5 * strength), 255.0),
        (keras_cv.layers.RandomJpegQuality((0, 100)), (100 - 80 * strength, 101), 1.0),
    ]
    for layer, bounds, _ in layers:
        layer._random_generator = random
        if bounds:
            layer.factor = RowFactor(*bounds)

    def augment(image: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
        random.begin(seed)
        shape = image.shape
        if flip:
            image = tf.image.stateless_random_flip_left_right(image, seed)
        image = tf.cast(image, tf.float32)
        for layer, _, white in layers:
            image = layer(image * (white / 255.0), training=True) * (255.0 / white)
            image = tf.ensure_shape(tf.clip_by_value(image, 0.0, 255.0), shape)
        return image

    return augment
