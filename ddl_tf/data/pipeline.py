"""The tf.data pipeline: from rows of stored faces to batches that the recognizer is fitted on."""

import os

import numpy as np
import tensorflow as tf

from ddl_tf.data.augmentation import Augmentation
from ddl_tf.data.decoding import decode_image, resize_images, why_undecodable
from ddl_tf.data.sampling import StreamSampler
from ddl_tf.data.store import Faces
from ddl_tf.errors import InputError

# Steps whose rows are drawn and read at a time.
DRAWING_THREADS = 2


def training_dataset(
    faces: Faces,
    sampler: StreamSampler,
    augment: Augmentation,
    image_size: tuple[int, int],
    first_step: int,
    last_step: int,
    seed: int = 0,
) -> tf.data.Dataset:
    """Make the batches of a range of steps.

    The batch of a step follows from the seeds and the step alone: not from where the range begins, nor from the
    number of threads.

    Args:
        faces: the stored faces.
        sampler: which rows a step has.
        augment: made by `build_augmentation`.
        image_size: `(height, width)` in pixels.
        first_step: the first step.
        last_step: the step after the last.
        seed: of the augmentation.

    Returns:
        One element a step, as the recognizer and its losses take it: inputs `{"image": [rows, height, width, 3]
        float32 in 0..255, "label": [rows]}` and targets `{"embedding": [rows, 2] (identity, group), "logits":
        [rows]}`, the labels -1 for rows that are not classified.
    """
    rows = sampler.num_rows

    def read(step: np.int64) -> tuple[np.ndarray, ...]:
        drawn = sampler.rows(int(step))
        return np.array(faces.read(drawn.record), object), drawn.identity, drawn.group, drawn.label

    def draw(step: tf.Tensor) -> tf.data.Dataset:
        encoded, *numbers = tf.numpy_function(read, [step], [tf.string, tf.int64, tf.int64, tf.int64], stateful=False)
        columns = [tf.ensure_shape(column, [rows]) for column in (encoded, *numbers)]
        return (*columns, step * rows + tf.range(rows, dtype=tf.int64))

    def to_row(
        encoded: tf.Tensor, identity: tf.Tensor, group: tf.Tensor, label: tf.Tensor, row: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        row_seed = tf.stack([tf.constant(seed, tf.int64), row])
        image = augment(resize_images(decode_image(encoded), image_size), row_seed, group)
        return {"image": image, "label": label}, {"embedding": tf.stack([identity, group]), "logits": label}

    dataset = tf.data.Dataset.range(first_step, last_step)
    dataset = dataset.map(draw, num_parallel_calls=DRAWING_THREADS, deterministic=True).unbatch()
    dataset = dataset.map(to_row, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
    dataset = dataset.batch(rows, drop_remainder=True).prefetch(tf.data.AUTOTUNE)
    options = tf.data.Options()
    # The rows of a step are split among the replicas; files are not what is sharded.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    # The sampler may wait for what training is about to mine. Waiting threads of the pool that all share would keep
    # training from it.
    options.threading.private_threadpool_size = DRAWING_THREADS + (os.cpu_count() or 1)
    return dataset.with_options(options)


def check_rows(faces: Faces, rows: np.ndarray) -> None:
    """Find what stopped `training_dataset`, whose errors do not say which image it was.

    Args:
        faces: the stored faces.
        rows: `[rows]` int64, positions in their index.

    Raises:
        InputError: naming the first image that cannot be read or decoded.
        OSError: if a shard cannot be opened.
    """
    for row in rows.tolist():
        (encoded,) = faces.read(np.array([row]))
        reason = why_undecodable(encoded)
        if reason is not None:
            place = faces.index.iloc[row]
            raise InputError(
                f"{faces.shards[place['shard']]}: the image at byte {place['offset']:,} (row {row}, identity "
                f"{place['identity_key']}) cannot be decoded ({reason}); prepare the set again"
            )
