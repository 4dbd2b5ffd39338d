"""A training step of the package, as `python -m ddl_tf.train` makes it: network, ArcFace, softmax, SGD."""

import json
import sys

import numpy as np
import tensorflow as tf
from ddl_measuring import serve
from step_batch import IDENTITIES, make_batch

from ddl_tf.training import TrainSettings
from ddl_tf.training.objective import compile_recognizer
from ddl_tf.training.run import recognizer_of
from ddl_tf.training.strategy import build_strategy

settings = json.loads(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
tf.config.threading.set_inter_op_parallelism_threads(settings["threads"])
tf.keras.mixed_precision.set_global_policy(settings["precision"])
train = TrainSettings(
    run_dir="none",
    train_data=["none"],
    backbone=settings["network"],
    image_size=settings["image_size"],
)
with build_strategy().scope():
    model = recognizer_of(train, IDENTITIES)
    compile_recognizer(model, train, 1000, 0)
images, identity = make_batch(settings["rows"], settings["image_size"])
inputs = {"image": tf.constant(images), "label": tf.constant(identity)}
targets = {"embedding": tf.constant(np.stack([identity, 0 * identity], 1)), "logits": tf.constant(identity)}
batches = iter(tf.data.Dataset.from_tensors((inputs, targets)).repeat())
step = model.make_train_function()


def one() -> None:
    """Do one step, and wait for its end."""
    float(step(batches)["loss"])


if settings.get("profile"):
    from step_profile import kind_shares

    print(json.dumps(kind_shares(one)))
else:
    serve(one, one)
