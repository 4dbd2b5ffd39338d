"""One part of benchmarks/gpu.py, ours: a training step, DDL alone, the input pipeline, or training from it."""

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.data import AugmentationSettings, Faces, StreamSampler, StreamSizes, build_augmentation, training_dataset
from ddl_tf.losses import DDLLoss
from ddl_tf.models import build_recognizer
from ddl_tf.training.objective import compile_recognizer
from ddl_tf.training.settings import TrainSettings

settings = json.loads(sys.argv[1])
GPUS = tf.config.list_physical_devices("GPU")
IMAGE = (settings["image_size"], settings["image_size"])
CLIP_NORM = 5.0


def device() -> str:
    """Name what TensorFlow computes on."""
    return tf.config.experimental.get_device_details(GPUS[0]).get("device_name", "GPU") if GPUS else "CPU"


def memory_gib() -> float:
    """Read the peak of what TensorFlow has taken of the GPU, or of this process without one."""
    if GPUS:
        return tf.config.experimental.get_memory_info("GPU:0")["peak"] / 2**30
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith("VmHWM:"))
    return int(line.split()[1]) / 2**20


def clocked(step: Callable[[], Any]) -> dict[str, float]:
    """Time steps: "first" in s, with what XLA compiles, and the median "ms" of the others, each waited for."""
    begin = time.perf_counter()
    step()
    first = time.perf_counter() - begin
    step()
    times = []
    for _ in range(settings["steps"]):
        begin = time.perf_counter()
        step()
        times.append(1e3 * (time.perf_counter() - begin))
    return {"first": first, "ms": float(np.median(times))}


def train_step(classes: int, batches: tf.data.Dataset) -> Callable[[], Any]:
    """Make the step of `python -m ddl_tf.train --jit_compile`."""
    tf.keras.mixed_precision.set_global_policy(settings["precision"])
    model = build_recognizer(settings["backbone"], classes, input_shape=(*IMAGE, 3))
    compile_recognizer(
        model,
        TrainSettings(run_dir="unused", train_data=["unused"], jit_compile=settings["xla"], clip_norm=CLIP_NORM),
        1000,
        0,
    )
    function, iterator = model.make_train_function(), iter(batches)
    train = function or model.train_function
    return lambda: [np.asarray(value) for value in tf.nest.flatten(train(iterator))]


def stored_batches() -> tuple[int, tf.data.Dataset]:
    """The classes of a stored set, and batches of it by the input pipeline."""
    faces = Faces([settings["data"]])
    sampler = StreamSampler(faces.index, StreamSizes(shuffled=settings["batch"]))
    augmentation = build_augmentation(AugmentationSettings(flip=True))
    return faces.num_identities, training_dataset(faces, sampler, augmentation, IMAGE, 0, 10**9)


def step_part() -> dict[str, float]:
    """A training step on one batch, fed from the host."""
    random, rows = np.random.default_rng(0), settings["batch"]
    images = random.uniform(0, 255, [rows, *IMAGE, 3]).astype(np.float32)
    labels = random.integers(0, settings["classes"], rows)
    wanted = {"embedding": np.stack([labels, np.zeros_like(labels)], axis=1), "logits": labels}
    batches = tf.data.Dataset.from_tensors(({"image": images, "label": labels}, wanted)).repeat().prefetch(2)
    seen = clocked(train_step(settings["classes"], batches))
    return {**seen, "images_per_second": 1e3 * rows / seen["ms"]}


def train_part() -> dict[str, float]:
    """A training step on the batches of the input pipeline."""
    seen = clocked(train_step(*stored_batches()))
    return {**seen, "images_per_second": 1e3 * settings["batch"] / seen["ms"]}


def pipeline_part() -> dict[str, float]:
    """The input pipeline alone."""
    iterator: Iterator[Any] = iter(stored_batches()[1])
    next(iterator)
    batches, begin = 0, time.perf_counter()
    while batches < settings["steps"] or time.perf_counter() - begin < settings["seconds"]:
        next(iterator)
        batches += 1
    return {"images_per_second": settings["batch"] * batches / (time.perf_counter() - begin)}


def ddl_part() -> dict[str, Any]:
    """Value and gradient of DDL, two groups with four images of an identity in each: "ms" by rows."""
    loss, random, times = DDLLoss(num_groups=2), np.random.default_rng(0), {}

    @tf.function(jit_compile=settings["xla"])
    def value_and_gradient(rows: tf.Tensor, embeddings: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            value = loss(rows, embeddings)
        return value, tape.gradient(value, embeddings)

    for count in settings["rows"]:
        identity = np.tile(np.arange(count // 2) // 4, 2)
        rows = tf.constant(np.stack([identity, np.repeat([0, 1], count // 2)], axis=1), tf.int64)
        centers = random.normal(size=[count // 8, settings["dim"]])
        embeddings = tf.constant(centers[identity] + random.normal(size=[count, settings["dim"]]), tf.float32)
        times[str(count)] = clocked(lambda: value_and_gradient(rows, embeddings)[0].numpy())["ms"]  # noqa: B023
    return {"ms": times}


PARTS = {"step": step_part, "train": train_part, "pipeline": pipeline_part, "ddl": ddl_part}
result = PARTS[settings["part"]]()
print(json.dumps({"device": device(), "memory": memory_gib(), **result}))
