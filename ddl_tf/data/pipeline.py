"""The tf.data pipeline: from rows of stored faces to batches that the recognizer is fitted on.

A step is one element from beginning to end: its rows are decoded in a loop inside of it, and steps run side by side.
Elements that are single rows, and copies of float32 rows, cost much beside decoding (docs/data.md, Speed).
"""

import os
import resource

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import usable_cores
from ddl_tf.data.augmentation import Augmentation
from ddl_tf.data.sampling import Rows, StreamSampler
from ddl_tf.data.store import Faces
from ddl_tf.images.decoding import decode_image, resize_images, why_undecodable

# Steps that are drawn and read at a time; the threads of Python get in each other's way.
READERS = 2


def training_dataset(
    faces: Faces,
    sampler: StreamSampler,
    augment: Augmentation,
    image_size: tuple[int, int],
    first_step: int,
    last_step: int,
    seed: int = 0,
    shard: tuple[int, int] = (0, 1),
) -> tf.data.Dataset:
    """Make the batches of a range of steps.

    The batch of a step follows from the seeds and the step alone, not from where the range begins or the number of
    threads.

    Args:
        faces: the stored faces.
        sampler: which rows a step has.
        augment: made by `build_augmentation`; it gets uint8 images if none of the set has to be resized.
        image_size: `(height, width)` in pixels.
        first_step: the first step.
        last_step: the step after the last.
        seed: of the augmentation.
        shard: (index, count): which of `count` equal parts of the rows of each step to take, as one of several workers.

    Returns:
        One element a step: inputs `{"image": [rows, height, width, 3] float32 in 0..255, "label": [rows]}` and targets
        `{"embedding": [rows, 2] (identity, group), "logits": [rows]}`; the label is -1 for rows that are not
        classified.

    Raises:
        InputError: if the rows cannot be parted evenly, or do not fit into the memory.
    """
    index, count = shard
    check_memory(sampler.num_rows // count, image_size)
    if sampler.num_rows % count:
        raise InputError(f"the batch of {sampler.num_rows} rows cannot be split evenly among {count} workers")
    rows = sampler.num_rows // count
    first_row = index * rows

    def read(step: np.int64) -> tuple[np.ndarray, ...]:
        # All workers draw all rows of a step, which costs little, and read their own.
        drawn = Rows(*(column[first_row : first_row + rows] for column in sampler.rows(int(step))))
        return np.array(faces.records(drawn.record), object), drawn.identity, drawn.group, drawn.label

    def draw(step: tf.Tensor) -> tuple[tf.Tensor, ...]:
        columns = tf.numpy_function(read, [step], [tf.string, tf.int64, tf.int64, tf.int64], stateful=False)
        return (step, *(tf.ensure_shape(column, [rows]) for column in columns))

    def to_image(encoded: tf.Tensor, row_seed: tf.Tensor, group: tf.Tensor) -> tf.Tensor:
        image = decode_image(encoded)
        if faces.image_size == image_size == image_size[::-1]:
            # Nothing is resized, not even an image that EXIF turns. As bytes the rows are a quarter of the memory.
            image = tf.ensure_shape(image, [*image_size, 3])
        else:
            image = resize_images(image, image_size)
        return augment(image, row_seed, group)

    row = tf.function(to_image).get_concrete_function(
        tf.TensorSpec([], tf.string), tf.TensorSpec([2], tf.int64), tf.TensorSpec([], tf.int64)
    )
    row_image = tf.TensorSpec([*image_size, 3], row.output_dtypes)

    def to_batch(
        step: tf.Tensor, records: tf.Tensor, identity: tf.Tensor, group: tf.Tensor, label: tf.Tensor
    ) -> tuple[dict[str, tf.Tensor], dict[str, tf.Tensor]]:
        seeds = row_seeds(seed, step, sampler.num_rows, first_row, rows)
        encoded = tf.io.parse_example(records, {"image": tf.io.FixedLenFeature([], tf.string)})["image"]
        images = tf.map_fn(lambda row: to_image(*row), (encoded, seeds, group), fn_output_signature=row_image)
        inputs = {"image": tf.cast(images, tf.float32), "label": label}
        return inputs, {"embedding": tf.stack([identity, group], axis=1), "logits": label}

    dataset = tf.data.Dataset.range(first_step, last_step).map(draw, num_parallel_calls=READERS, deterministic=True)
    dataset = dataset.map(to_batch, num_parallel_calls=usable_cores(), deterministic=True).prefetch(PREFETCHED)
    options = options_without_autotune()
    # A sampler may wait for what training computes: its threads must not be those that training needs, and one must be
    # left to finish the steps before.
    options.threading.private_threadpool_size = READERS + usable_cores()
    # The rows of a step are split among the replicas; files are not what is sharded.
    options.experimental_distribute.auto_shard_policy = tf.data.experimental.AutoShardPolicy.OFF
    return dataset.with_options(options)


def row_seeds(seed: int, step: tf.Tensor, num_rows: int, first_row: int, rows: int) -> tf.Tensor:
    """The seeds `[rows, 2]` of the rows of a step of `num_rows`, from the first one on that a worker takes."""
    numbers = step * num_rows + first_row + tf.range(rows, dtype=tf.int64)
    return tf.stack([tf.fill([rows], tf.constant(seed, tf.int64)), numbers], axis=1)


def check_memory(rows: int, image_size: tuple[int, int]) -> None:
    """Refuse a batch whose float32 images of `(height, width)` pixels alone do not fit into the memory."""
    installed = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    memory = installed if limit == resource.RLIM_INFINITY else min(installed, limit)
    needed = rows * image_size[0] * image_size[1] * 3 * np.dtype(np.float32).itemsize
    if needed > memory:
        raise InputError(
            f"a batch of {rows:,} images of {image_size[0]} x {image_size[1]} pixels takes {needed / 2**30:,.0f} GB as "
            f"float32, but the memory is {memory / 2**30:,.1f} GB: lower --shuffled_rows, --rows_per_group, "
            "--pairs_per_group or --image_size"
        )


def check_rows(faces: Faces, rows: np.ndarray) -> None:
    """Raise an `InputError` that names the first of `[n]` rows whose image cannot be read or decoded."""
    for row in rows.tolist():
        (encoded,) = faces.read(np.array([row]))
        if (reason := why_undecodable(encoded)) is not None:
            place = faces.index.iloc[row]
            raise InputError(
                f"{faces.shards[place['shard']]}: the image at byte {place['offset']:,} (row {row}, identity "
                f"{place['identity_key']}) cannot be decoded ({reason}); put a copy of the shard back, or let another "
                "image stand for it with `python -m ddl_tf.prepare mend`"
            )


# Batches that are ready before they are asked for.
PREFETCHED = 2


def options_without_autotune() -> tf.data.Options:
    """Turn TensorFlow's tuning off, whose thread sleeps for up to a minute: short pipelines would wait for it."""
    options = tf.data.Options()
    options.autotune.enabled = False
    return options
