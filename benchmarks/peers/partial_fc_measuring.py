"""The clock and the batches of benchmarks/partial_fc.py, the same for both sides; needs NumPy and Linux alone."""

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Optional

import numpy as np

# Until then allocators have grown, and all that a step makes once is there.
WARM_UP = 3


def make_batch(rows: int, dim: int, identities: int) -> tuple[np.ndarray, np.ndarray]:
    """Make features `[rows, dim]` float32 and labels `[rows]` int64."""
    random = np.random.default_rng(0)
    return random.normal(size=[rows, dim]).astype(np.float32), random.integers(0, identities, rows)


def _memory_mib(field: str) -> float:
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def _cpu_seconds() -> float:
    # Also of threads that the framework made; `time.process_time` has them too, but for children.
    return sum(os.times()[:2])


def serve(build: Callable[[], Callable[[], object]], device_memory: Optional[Callable[[], int]] = None) -> None:
    """Build, measure the peak of memory, and time a step for every line of standard input.

    Each answer is a line of JSON. Call it when the framework is imported: memory is what comes on top of it.

    Args:
        build: makes the head and the optimizer, and returns the step: forward, backward and update.
        device_memory: the peak of a GPU's memory, in bytes; None without one.
    """
    before = _memory_mib("VmRSS")
    step = build()
    built = _memory_mib("VmHWM") - before
    for _ in range(WARM_UP):
        step()
    seen = {"memory": _memory_mib("VmHWM") - before, "built": built}
    if device_memory:
        seen["device"] = device_memory() / 2**20
    print(json.dumps(seen), flush=True)
    for _ in sys.stdin:
        wall, cpu = time.perf_counter(), _cpu_seconds()
        step()
        print(json.dumps({"wall": 1e3 * (time.perf_counter() - wall), "cpu": 1e3 * (_cpu_seconds() - cpu)}), flush=True)
