"""Which kinds of operations a training step of the package spends its time on; by TensorFlow's profiler."""

import re
import statistics
import tempfile
from collections import Counter, defaultdict
from collections.abc import Callable
from pathlib import Path

import tensorflow as tf
from tensorflow.tsl.profiler.protobuf import xplane_pb2

# The first that is found in an operation's type is its kind.
KINDS = {
    "depthwise convolution": "Depthwise",
    "convolution": "Conv2D",
    "batch norm": "BatchNorm",
    "matrix product": "MatMul",
    "element by element": "Mul|Relu|Add|Sub|Neg|Sum|Unary|Cast|Square|Select|Minimum|Maximum",
    "moving numbers": "Pad|Slice|Tile|Transpose|Roll|Concat|Reverse|Assign|Pack|Copy",
}


def kind_shares(step: Callable[[], object], steps: int = 5) -> dict[str, float]:
    """Profile some steps.

    Args:
        step: does one, and waits for its end.
        steps: how many.

    Returns:
        Kind of operation -> its share of the time of all operations, the largest first. An operation's time is the
        median of the steps, which other work on the machine disturbs least.
    """
    step()
    with tempfile.TemporaryDirectory() as folder:
        with tf.profiler.experimental.Profile(folder):
            for _ in range(steps):
                step()
        (file,) = Path(folder).rglob("*.xplane.pb")
        space = xplane_pb2.XSpace.FromString(file.read_bytes())
    times: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for plane in space.planes:
        for event in (event for line in plane.lines for event in line.events):
            # An operation's event is called "name:type".
            name, _, operation = plane.event_metadata[event.metadata_id].name.rpartition(":")
            if re.fullmatch(r"[\w./]+", name) and re.fullmatch(r"\w+", operation) and "__inference" not in operation:
                times[name, operation].append(event.duration_ps)
    seconds: Counter[str] = Counter()
    for (_, operation), taken in times.items():
        kind = next((kind for kind, types in KINDS.items() if re.search(types, operation)), "other")
        seconds[kind] += statistics.median(taken) * len(taken) / steps
    return {kind: taken / seconds.total() for kind, taken in seconds.most_common()}
