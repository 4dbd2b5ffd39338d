"""What makes a face hard to recognize, kind by kind, by keras_cv layers at a strength.

Strength 1 is the worst that is still a face: 8 px of 112, a JPEG quality of 10, a rectangle over the half of it. The
amount of every image is drawn between nothing and the strength. keras_cv has no layer for low resolution, so there is
one here; it has none for motion blur either, and blur is Gaussian alone.
"""

import math
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ddl_tf.common.keras_cv_import import import_keras_cv
from ddl_tf.data.row_random import RowRandom, geometric, seed_by_row, uniform

layers = import_keras_cv().layers

Degradation = Callable[[tf.Tensor], tf.Tensor]

# At strength 1. The magnitude is the default of keras_cv; at 1 RandAugment makes an image black.
LARGEST_REDUCTION = 14.0
LOWEST_QUALITY = 10.0
LARGEST_DEVIATION = 0.03
LARGEST_RECTANGLE = 0.7
SMALLEST_AREA, LARGEST_MARGIN = 0.5, 0.1
LARGEST_MAGNITUDE = 0.5


@tf.keras.saving.register_keras_serializable("ddl_tf")
class RandomResolution(layers.BaseImageAugmentationLayer):  # type: ignore[name-defined]
    """Take an image down to fewer pixels and up again, as a small face in a large photograph is.

    Down with antialiasing, as a camera does, and up bilinearly, as the warp that aligns a small face does.

    Args:
        reduction: a `keras_cv.core.FactorSampler` of how many times fewer pixels a side has, at least 1.
        **kwargs: of the base layer.

    Example:
        >>> layer = RandomResolution(keras_cv.core.UniformFactorSampler(1.0, 14.0))
        >>> layer(tf.zeros([112, 112, 3])).shape
        TensorShape([112, 112, 3])
    """

    def __init__(self, reduction: Any, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if isinstance(reduction, dict):
            reduction = tf.keras.saving.deserialize_keras_object(reduction)
        self.reduction = reduction

    def get_random_transformation(self, **kwargs: Any) -> tf.Tensor:
        """Draw how many times fewer pixels a side has.

        Args:
            **kwargs: the image and its labels, of which it does not depend.

        Returns:
            `[]` float32.
        """
        return self.reduction()

    def augment_image(self, image: tf.Tensor, transformation: tf.Tensor, **kwargs: Any) -> tf.Tensor:
        """Resize one image down and up.

        Args:
            image: `[height, width, channels]`.
            transformation: how many times fewer pixels a side has.
            **kwargs: labels of the image, which stay.

        Returns:
            As `image`.
        """
        size = tf.shape(image)[:2]
        smaller = tf.maximum(tf.cast(tf.round(tf.cast(size, tf.float32) / transformation), tf.int32), 1)
        return tf.image.resize(tf.image.resize(image, smaller, antialias=True), size)

    def get_config(self) -> dict[str, Any]:
        """Describe the layer.

        Returns:
            Its arguments, as JSON has them.
        """
        return {**super().get_config(), "reduction": tf.keras.saving.serialize_keras_object(self.reduction)}


def _in_turn(*steps: Degradation) -> Degradation:
    def degrade(image: tf.Tensor) -> tf.Tensor:
        for step in steps:
            image = step(image)
        return image

    return degrade


def crop(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Crop and resize: a face that was found too small, too large, or beside its place."""
    height, width = size
    # A crop may reach over the edge, into black as the warp that aligns faces leaves it where a photograph ends.
    # RandomTranslation and RandomZoom would do the same several times slower.
    top, left = (round(LARGEST_MARGIN * strength * side) for side in size)
    padded = (height + 2 * top) * (width + 2 * left)
    smallest = (1 - (1 - SMALLEST_AREA) * strength) * height * width / padded
    aspect = 1 + 0.2 * strength
    layer = seed_by_row(layers.RandomCropAndResize(size, (smallest, 1.0), (1 / aspect, aspect)), random)
    return lambda image: layer(tf.pad(image, [[top, top], [left, left], [0, 0]]))


def randaugment(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Apply two operations of RandAugment."""
    layer = layers.RandAugment(
        (0, 255),
        augmentations_per_image=2,
        magnitude=LARGEST_MAGNITUDE * strength,
        magnitude_stddev=0.3 * LARGEST_MAGNITUDE * strength,
        # They would shear an aligned face by half of the image, and shift it by as much.
        geometric=False,
    )
    return seed_by_row(layer, random)


def occlusion(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Cover a rectangle with a colour."""
    side = (0.0, LARGEST_RECTANGLE * strength)
    cutout = seed_by_row(layers.RandomCutout(side, side), random)

    def degrade(image: tf.Tensor) -> tf.Tensor:
        # The layer's own noise draws from tf.random, and one colour for all images would be learned as such.
        colour = random.uniform([3], 0.0, 255.0)
        return tf.where(cutout(tf.ones_like(image[..., :1])) > 0.5, image, colour)

    return degrade


def colour(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Change brightness, contrast, saturation and hue."""
    # Away from grey as well as towards it; RandomSaturation goes by way of HSV, which is several times slower.
    saturation = uniform(random, -0.5 * strength, 0.5 * strength)
    return _in_turn(
        *(
            seed_by_row(layer, random)
            for layer in (
                layers.RandomBrightness(0.4 * strength),
                layers.RandomContrast((0, 255), 0.5 * strength),
                layers.RandomColorDegeneration(saturation),
                layers.RandomHue(0.1 * strength, (0, 255)),
            )
        )
    )


def grey(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Fade to grey, as in infrared and old photographs."""
    return seed_by_row(layers.RandomColorDegeneration(strength), random)


def blur(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Blur, as out of focus."""
    deviation = LARGEST_DEVIATION * strength * max(size)
    radius = math.ceil(3 * deviation)
    layer = seed_by_row(layers.RandomGaussianBlur(2 * radius + 1, (0.0, deviation)), random)

    def degrade(image: tf.Tensor) -> tf.Tensor:
        # The layer takes what is outside of the image for black, and would darken its borders.
        padded = tf.pad(image, [[radius, radius], [radius, radius], [0, 0]], "SYMMETRIC")
        return layer(padded)[radius:-radius, radius:-radius]

    return degrade


def resolution(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Take the resolution away."""
    return seed_by_row(RandomResolution(geometric(random, 1.0, LARGEST_REDUCTION**strength)), random)


def compression(strength: float, size: tuple[int, int], random: RowRandom) -> Degradation:
    """Compress as JPEG."""
    quality = geometric(random, 100.0, 100.0 * (LOWEST_QUALITY / 100.0) ** strength)
    layer = seed_by_row(layers.RandomJpegQuality(quality), random)
    return lambda image: layer(image / 255.0) * 255.0


# In the order of their causes: the scene, the lens, the sensor, the file.
DEGRADATIONS: dict[str, Callable[[float, tuple[int, int], RowRandom], Degradation]] = {
    "augment_crop": crop,
    "augment_randaugment": randaugment,
    "augment_occlusion": occlusion,
    "augment_colour": colour,
    "augment_grey": grey,
    "augment_blur": blur,
    "augment_resolution": resolution,
    "augment_compression": compression,
}
