"""Seconds of a forward and backward pass of a backbone on a few rows, as JSON."""

import json
import sys
import time

import tensorflow as tf

from ddl_tf.models import build_embedding_model

settings = json.loads(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
tf.config.threading.set_inter_op_parallelism_threads(1)
model = build_embedding_model(settings["backbone"], embedding_size=settings["dim"], input_shape=(112, 112, 3))
images = tf.random.stateless_uniform([settings["rows"], 112, 112, 3], [0, 0], maxval=255.0)


@tf.function
def step() -> list[tf.Tensor]:
    """The gradients of some number made of the embeddings."""
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(tf.square(model(images, training=True)))
    return tape.gradient(value, model.trainable_variables)


step()
wall, cpu = time.perf_counter(), time.process_time()
step()[0].numpy()
print(json.dumps({"wall": time.perf_counter() - wall, "cpu": time.process_time() - cpu}))
