"""Augmentation of training images inside `tf.data`, deterministic in each row's seed."""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ddl_tf.data.degradations import DEGRADATIONS, RowRandom
from ddl_tf.data.settings import AugmentationSettings, strength_names

Augmentation = Callable[..., tf.Tensor]


def is_mirrored(seed: tf.Tensor) -> tf.Tensor:
    """Whether the image of a row's seed `[2]` is mirrored, where --flip mirrors half of them: `[]` bool."""
    return tf.random.stateless_uniform((), tf.random.experimental.stateless_fold_in(seed, 0)) < 0.5


def build_augmentation(settings: AugmentationSettings) -> Augmentation:
    """Make the augmentation of training images.

    Each kind of augmentation has random numbers of its own: they stay the same when its strength changes or another
    kind is turned on.

    Args:
        settings: which images are augmented, and how much.

    Returns:
        A function of an image `[height, width, 3]` float32 or uint8 in 0..255 of known size, the row's seed `[2]` int
        and its group `[]` int (default -1, none). It returns an image of the same shape and range, float32 if any kind
        has a strength. It runs inside `tf.data` and is deterministic in the seed.

    Example:
        >>> augment = build_augmentation(AugmentationSettings(augment_resolution=0.5, augment_probability=1.0))
        >>> augment(tf.zeros([32, 32, 3]), tf.constant([0, 7], tf.int64)).shape
        TensorShape([32, 32, 3])
    """
    strengths = settings.strengths
    if not settings.flip and not strengths:
        return lambda image, seed, group=-1: image

    def degrade(image: tf.Tensor, seed: tf.Tensor, chosen: Any, name: str) -> tf.Tensor:
        shape, random = image.shape, RowRandom(seed)
        return tf.cond(
            chosen & (random.uniform(()) < settings.augment_probability),
            lambda: tf.ensure_shape(
                tf.clip_by_value(DEGRADATIONS[name](image, strengths[name], random), 0.0, 255.0), shape
            ),
            lambda: image,
        )

    # Traced, so that it does the same when it is called outside of tf.data.
    @tf.function
    def augment(image: tf.Tensor, seed: tf.Tensor, group: Any = -1) -> tf.Tensor:
        chosen = tf.constant(True)
        if settings.augment_groups:
            chosen = tf.reduce_any(tf.equal(settings.augment_groups, tf.cast(group, tf.int32)))
        if settings.flip:
            image = tf.cond(is_mirrored(seed), lambda: tf.reverse(image, [1]), lambda: image)
        if strengths:
            image = tf.cast(image, tf.float32)
        for kind, name in enumerate(strength_names(), start=1):
            if name in strengths:
                image = degrade(image, tf.random.experimental.stateless_fold_in(seed, kind), chosen, name)
        return image

    return augment
