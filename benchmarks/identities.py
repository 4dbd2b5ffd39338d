"""Step time and memory of the heads by number of identities: the table of docs/results/speed.md.

    python benchmarks/identities.py

Every cell is measured in a process of its own: the head alone, behind one dense layer that stands for the network, with
margin softmax, momentum and weight decay. The replicas of a sharded head are logical devices of the same CPU.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import multiprocessing
import resource
import time
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

GIB = 2**30
WARM_UP = 2
# What the table calls a head: on how many replicas, sharded, sampled.
HEADS = {
    "full": (1, False, False),
    "full, 2 replicas": (2, False, False),
    "sampled": (1, False, True),
    "sharded, 2 replicas": (2, True, False),
    "sharded and sampled, 2 replicas": (2, True, True),
}


@dataclasses.dataclass
class Settings:
    """What to measure."""

    identities: list[int] = setting([10_000, 100_000, 500_000, 1_000_000, 2_000_000], "Numbers of identities.")
    sample_rate: float = setting(0.1, "Of the sampled heads.")
    embedding_size: int = setting(128, "Length of the embedding.")
    batch: int = setting(128, "Rows of the global batch.")
    steps: int = setting(5, "Steps to time, of which the fastest counts: other work can only slow one down.")
    limit_gib: float = setting(8.0, "Heads that would need more memory are left out.")


def computed(name: str, identities: int, settings: Settings) -> dict[str, float]:
    """What a device must hold by the formulas of docs/identities.md, in bytes.

    Args:
        name: of the head.
        identities: how many.
        settings: the flags.

    Returns:
        "kept" between steps (centers and momentum), and "step": the gradient of the centers and one matrix of logits.
    """
    replicas, sharded, sampled = HEADS[name]
    classes = -(-identities // replicas) if sharded else identities
    taking_part = round(settings.sample_rate * classes) if sampled else classes
    rows = settings.batch if sharded else settings.batch // replicas
    return {
        "kept": 2 * 4 * classes * settings.embedding_size,
        "step": 4 * taking_part * (settings.embedding_size + rows),
    }


def _peak() -> int:
    return 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def measure(name: str, identities: int, settings: Settings) -> dict[str, float]:
    """Train a head for some steps.

    Args:
        name: of the head.
        identities: how many.
        settings: the flags.

    Returns:
        "seconds" of a step, and "peak": the bytes that this process needed beyond TensorFlow itself.
    """
    import tensorflow as tf

    from ddl_tf.layers import ArcFace, PartialFC, ShardedHead
    from ddl_tf.losses import MarginSoftmaxLoss
    from ddl_tf.training import build_optimizer

    replicas, sharded, sampled = HEADS[name]
    tf.config.threading.set_inter_op_parallelism_threads(8)
    devices = [tf.config.LogicalDeviceConfiguration()] * replicas
    tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
    tf.keras.utils.set_random_seed(0)
    strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(replicas)])
    before = _peak()
    rate = settings.sample_rate if sampled else 1.0
    with strategy.scope():
        head: Any = ArcFace(identities)
        if sharded:
            head = ShardedHead(head, rate)
        elif sampled:
            head = PartialFC(head, rate)
        inputs = [tf.keras.Input([settings.embedding_size]), tf.keras.Input([], dtype=tf.int32)]
        embeddings = tf.keras.layers.Dense(settings.embedding_size)(inputs[0])
        model = tf.keras.Model(inputs, head(embeddings, inputs[1]))
        model.compile(build_optimizer("sgd", 0.1), MarginSoftmaxLoss(compact=head.compact))
    random = np.random.default_rng(0)
    steps = WARM_UP + settings.steps
    features = random.normal(size=[steps * settings.batch, settings.embedding_size]).astype(np.float32)
    labels = random.integers(0, identities, len(features))
    rows = tf.data.Dataset.from_tensor_slices(((features, labels), labels)).batch(settings.batch, drop_remainder=True)
    ends: list[float] = []
    timer = tf.keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: ends.append(time.perf_counter()))
    model.fit(rows, verbose=0, callbacks=[timer])
    return {"seconds": float(np.diff(ends)[WARM_UP - 1 :].min()), "peak": _peak() - before}


def cells(name: str, identities: int, settings: Settings) -> list[str]:
    """Measure one head.

    Args:
        name: of the head.
        identities: how many.
        settings: the flags.

    Returns:
        Milliseconds of a step; GiB of one device as computed; GiB of the process as measured.
    """
    replicas = HEADS[name][0]
    need = computed(name, identities, settings)
    shown = f"{need['kept'] / GIB:.2f} + {need['step'] / GIB:.2f}"
    # Forward and backward hold some seven matrices of the logits' size, as measured.
    if replicas * (need["kept"] + 7 * need["step"]) > settings.limit_gib * GIB:
        return ["-", shown, "-"]
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        measured = pool.apply(measure, (name, identities, settings))
    return [f"{1e3 * measured['seconds']:,.0f}", shown, f"{measured['peak'] / GIB:.2f}"]


def main(settings: Settings) -> None:
    """Measure all heads, and print the table.

    Args:
        settings: the flags.
    """
    if settings.batch % 2 or settings.batch < 2:
        raise InputError(f"--batch must be even, for two replicas, got {settings.batch}")
    if not settings.identities or min(settings.identities) < settings.batch:
        raise InputError(f"--identities must be numbers not below --batch, got {settings.identities}")
    print("| Identities | Head | Step, ms | Computed for a device, GiB: kept + step | Measured peak, GiB |")
    print("| --- " * 5 + "|")
    for identities in settings.identities:
        for name in HEADS:
            print("|", " | ".join([f"{identities:,}", name, *cells(name, identities, settings)]), "|", flush=True)


if __name__ == "__main__":
    command.run(main, Settings)
