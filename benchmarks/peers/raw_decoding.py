"""JPEG decoding alone, by a parallel `tf.data` map over encoded images in memory: what no pipeline can beat.

Three forms. `image`: a call of the map is an image, batched afterwards; the usual way. `batch`: a call decodes the
images of a batch in a loop into a uint8 batch; the fastest way that hands over every pixel. `float`: as `batch`, and
then the cast of the batch to float32, which all pipelines here must do.
"""

import json
import sys
import time

import numpy as np
import tensorflow as tf
from measuring import measure

from ddl_tf.data import Faces

settings = json.loads(sys.argv[1])
rows, form = settings["batch_size"], settings["form"]
faces = Faces([settings["data"]])
images = faces.read(np.random.default_rng(0).permutation(len(faces))[: settings["images"]])
batches = np.array(images[: len(images) // rows * rows], object).reshape(-1, rows)


def decode(image: tf.Tensor) -> tf.Tensor:
    return tf.ensure_shape(tf.io.decode_jpeg(image, channels=3, dct_method="INTEGER_ACCURATE"), [*faces.image_size, 3])


def decode_batch(batch: tf.Tensor) -> tf.Tensor:
    pixels = tf.map_fn(decode, batch, fn_output_signature=tf.uint8)
    return tf.cast(pixels, tf.float32) if form == "float" else pixels


begin = time.perf_counter()
if form == "image":
    dataset = tf.data.Dataset.from_tensor_slices(batches.ravel()).repeat()
    dataset = dataset.map(decode, num_parallel_calls=tf.data.AUTOTUNE)
    dataset = dataset.batch(rows)
else:
    dataset = tf.data.Dataset.from_tensor_slices(batches).repeat()
    dataset = dataset.map(decode_batch, num_parallel_calls=tf.data.AUTOTUNE)
measure(begin, dataset.prefetch(tf.data.AUTOTUNE), rows, settings["seconds"])
