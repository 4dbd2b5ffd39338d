"""Batches of stored activations instead of images, for networks whose lower layers do not train."""

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.data.augmentation import is_mirrored
from ddl_tf.data.pipeline import PREFETCHED, options_without_autotune, row_seeds
from ddl_tf.data.sampling import Rows, StreamSampler


def feature_dataset(
    features: np.ndarray,
    sampler: StreamSampler,
    flip: bool,
    first_step: int,
    last_step: int,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Make the batches of a range of steps, as `training_dataset` without augmentation but mirroring.

    Args:
        features: `[images, 2, ...]`, the activations of each image of the set and of its mirror image.
        sampler: which rows a step has.
        flip: whether half of the rows are mirrored; the same as those of `training_dataset`.
        first_step: the first step.
        last_step: the step after the last.
        seed: of the mirroring.
        shard: (index, count): which of `count` equal parts of the rows of each step to take.

    Returns:
        As `training_dataset`, with the activations `[rows, ...]` in the place of the images.
    """
    index, count = shard
    if sampler.num_rows % count:
        raise InputError(f"the batch of {sampler.num_rows} rows cannot be split evenly among {count} workers")
    rows = sampler.num_rows // count
    first_row = index * rows

    def read(step: np.int64, mirrored: np.ndarray) -> tuple[np.ndarray, ...]:
        drawn = Rows(*(column[first_row : first_row + rows] for column in sampler.rows(int(step))))
        return features[drawn.record, mirrored.astype(np.int64)], drawn.identity, drawn.group, drawn.label

    def to_batch(step: tf.Tensor) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        mirrored = tf.zeros([rows], tf.bool)
        if flip:
            seeds = row_seeds(seed, step, sampler.num_rows, first_row, rows)
            mirrored = tf.map_fn(is_mirrored, seeds, fn_output_signature=tf.bool)
        types = [tf.as_dtype(features.dtype), tf.int64, tf.int64, tf.int64]
        activations, *columns = tf.numpy_function(read, [step, mirrored], types, stateful=False)
        identity, group, label = (tf.ensure_shape(column, [rows]) for column in columns)
        inputs = {"image": tf.ensure_shape(activations, [rows, *features.shape[2:]]), "label": label}
        return inputs, {"embedding": tf.stack([identity, group], axis=1), "logits": label}

    dataset = tf.data.Dataset.range(first_step, last_step).map(to_batch, num_parallel_calls=2, deterministic=True)
    options = options_without_autotune()
    options.threading.private_threadpool_size = 3
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.prefetch(PREFETCHED).with_options(options)
