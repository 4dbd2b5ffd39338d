"""Value and gradient of `ddl_tf.losses.DDLLoss`, in graph mode or compiled by XLA."""

import json
import sys

import numpy as np
import tensorflow as tf
from ddl_measuring import make_rows, serve

from ddl_tf.losses import DDLLoss

settings = json.loads(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
tf.config.threading.set_inter_op_parallelism_threads(1)
loss = DDLLoss(num_groups=2)


@tf.function(
    input_signature=[tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None, settings["dim"]])],
    jit_compile=settings["xla"],
)
def value_and_gradient(rows: tf.Tensor, embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The loss and its gradient by the embeddings."""
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        value = loss(rows, embeddings)
    return value, tape.gradient(value, embeddings)


def batch(rows: int) -> tuple[tf.Tensor, tf.Tensor]:
    """`[rows, 2]` identities and groups, and `[rows, dim]` embeddings."""
    embeddings, identity, group = make_rows(rows, settings["per_identity"], settings["dim"])
    return tf.constant(np.stack([identity, group], 1), tf.int64), tf.constant(embeddings)


small, large = batch(16), batch(settings["rows"])
serve(lambda: value_and_gradient(*small)[1].numpy(), lambda: value_and_gradient(*large)[1].numpy())
