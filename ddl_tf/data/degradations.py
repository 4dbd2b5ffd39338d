"""What makes a face hard to recognize, kind by kind, each at a strength.

Strength 1 is the worst that is still a face: 8 px of 112, a JPEG quality of 10, a rectangle over half of it. Each image
gets an amount of its own between nothing and the strength. Blur is Gaussian alone, without motion.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ddl_tf.common.keras_cv_import import import_keras_cv
from ddl_tf.common.keras_version import all_layers

# At strength 1. The magnitude is the default of KerasCV; at 1 RandAugment makes an image black.
LARGEST_REDUCTION, LOWEST_QUALITY = 14.0, 10.0
LARGEST_DEVIATION, LARGEST_RECTANGLE, LARGEST_MAGNITUDE = 0.03, 0.7, 0.5
SMALLEST_AREA, LARGEST_MARGIN, LARGEST_ASPECT = 0.5, 0.1, 0.2


class RowRandom:
    """The random numbers of one row, from its seed `[2]` int; KerasCV takes it for a `tf.random.Generator`."""

    def __init__(self, seed: tf.Tensor) -> None:
        self._seed, self._draws = seed, 0

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = tf.float32, **_: Any) -> tf.Tensor:
        """Draw as `tf.random.Generator.uniform`."""
        self._draws += 1
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._draws)
        return tf.random.stateless_uniform(shape, seed, minval=minval, maxval=maxval, dtype=dtype)

    def geometric(self, start: float, end: float) -> tf.Tensor:
        """Draw a number between two above 0, every halving as likely as another."""
        return start * (end / start) ** self.uniform(())


def crop(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Crop and resize: a face that was found too small, too large, or beside its place."""
    height, width, _ = image.shape
    # A crop may reach over the edge, into black as the warp that aligns faces leaves it where a photograph ends.
    top, left = (round(LARGEST_MARGIN * strength * side) for side in (height, width))
    padded = tf.pad(image, [[top, top], [left, left], [0, 0]])
    smallest = (1 - (1 - SMALLEST_AREA) * strength) * height * width / ((height + 2 * top) * (width + 2 * left))
    area = random.uniform((), smallest, 1.0)
    aspect = 1 + LARGEST_ASPECT * strength
    ratio = random.uniform((), 1 / aspect, aspect)
    sides = tf.minimum(tf.sqrt(tf.stack([area / ratio, area * ratio])), 1.0)
    corner = random.uniform([2]) * (1 - sides)
    boxes = tf.concat([corner, corner + sides], axis=0)[tf.newaxis]
    return tf.image.crop_and_resize(padded[tf.newaxis], boxes, [0], [height, width])[0]


def _row_factor(sampler: Any, random: RowRandom) -> Callable[..., tf.Tensor]:
    """Draw what a sampler of KerasCV draws from the random numbers of a row."""
    core = import_keras_cv().core
    if isinstance(sampler, core.UniformFactorSampler):
        return lambda shape=(), dtype="float32": random.uniform(shape, sampler.lower, sampler.upper, dtype)
    if not isinstance(sampler, core.NormalFactorSampler):
        raise TypeError(f"no random numbers of a row are made for {type(sampler).__name__}")

    def normal(shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        drawn = sampler.mean + sampler.stddev * tf.math.ndtri(random.uniform(shape))
        return tf.cast(tf.clip_by_value(drawn, sampler.min_value, sampler.max_value), dtype)

    return normal


def seed_by_row(layer: tf.keras.layers.Layer, random: RowRandom) -> tf.keras.layers.Layer:
    """Let a layer of KerasCV, and those in it, draw from the random numbers of a row, not from those of a state."""
    core = import_keras_cv().core
    for module in (layer, *all_layers(layer)):
        module._random_generator = random
        for name, value in list(vars(module).items()):
            if isinstance(value, core.FactorSampler) and not isinstance(value, core.ConstantFactorSampler):
                setattr(module, name, _row_factor(value, random))
    return layer


def randaugment(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Apply two operations of KerasCV's RandAugment."""
    # The layer belongs to no graph, and works in float32, also where the network does not.
    policy = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("float32")
    magnitudes = {"magnitude": LARGEST_MAGNITUDE * strength, "magnitude_stddev": 0.3 * LARGEST_MAGNITUDE * strength}
    try:
        with tf.init_scope():
            # Geometric ones would shear an aligned face by half of the image, and shift it by as much.
            kinds = import_keras_cv().layers
            layer = kinds.RandAugment((0, 255), augmentations_per_image=2, geometric=False, **magnitudes)
            layer = seed_by_row(layer, random)
    finally:
        tf.keras.mixed_precision.set_global_policy(policy)
    return layer(image)


def occlusion(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Cover a rectangle with a colour."""
    size = tf.constant([*image.shape[:2]], tf.float32)
    middle, half = random.uniform([2]) * size, random.uniform([2]) * size * LARGEST_RECTANGLE * strength / 2
    rows, columns = (tf.abs(tf.range(0.5, image.shape[axis]) - middle[axis]) < half[axis] for axis in (0, 1))
    # One colour for all images would be learned as such.
    return tf.where(rows[:, tf.newaxis, tf.newaxis] & columns[:, tf.newaxis], random.uniform([3], 0.0, 255.0), image)


def _faded(image: tf.Tensor, share: tf.Tensor) -> tf.Tensor:
    """Towards grey; away from it for a negative share."""
    return image + share * (tf.image.rgb_to_grayscale(image) - image)


def colour(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Change brightness, contrast, saturation and hue."""
    brightness, contrast, grey_share, hue = tf.unstack(random.uniform([4], -strength, strength))
    image = tf.clip_by_value(image + 0.4 * 255 * brightness, 0.0, 255.0)
    image = _faded(tf.image.adjust_contrast(image, 1 + 0.5 * contrast), 0.5 * grey_share)
    return tf.image.adjust_hue(tf.clip_by_value(image, 0.0, 255.0), 0.05 * hue)


def grey(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Fade to grey, as in infrared and old photographs."""
    return _faded(image, random.uniform((), 0.0, strength))


def blur(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Blur, as out of focus."""
    largest = LARGEST_DEVIATION * strength * max(image.shape[:2])
    radius = math.ceil(3 * largest)
    # A deviation of nothing would divide by 0.
    deviation = tf.maximum(random.uniform((), 0.0, largest), 1e-3)
    weights = tf.nn.softmax(-0.5 * (tf.range(-radius, radius + 1.0) / deviation) ** 2)
    padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], "SYMMETRIC")[tf.newaxis]
    for shape in ([-1, 1, 1, 1], [1, -1, 1, 1]):
        kernel = tf.tile(tf.reshape(weights, shape), [1, 1, image.shape[2], 1])
        padded = tf.nn.depthwise_conv2d(padded, kernel, [1, 1, 1, 1], "VALID")
    return padded[0]


def resolution(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Take an image down with antialiasing, as a camera does, and up bilinearly, as the warp of the alignment does."""
    size = tf.shape(image)[:2]
    sides = tf.cast(size, tf.float32) / random.geometric(1.0, LARGEST_REDUCTION**strength)
    smaller = tf.maximum(tf.cast(tf.round(sides), tf.int32), 1)
    return tf.image.resize(tf.image.resize(image, smaller, antialias=True), size)


def compression(image: tf.Tensor, strength: float, random: RowRandom) -> tf.Tensor:
    """Compress as JPEG."""
    quality = random.geometric(100.0, 100.0 * (LOWEST_QUALITY / 100.0) ** strength)
    return tf.image.adjust_jpeg_quality(image / 255.0, tf.cast(quality, tf.int32)) * 255.0


# In the order of their causes: the scene, the lens, the sensor, the file.
DEGRADATIONS: dict[str, Callable[[tf.Tensor, float, RowRandom], tf.Tensor]] = {
    f"augment_{kind.__name__}": kind
    for kind in (crop, randaugment, occlusion, colour, grey, blur, resolution, compression)
}
