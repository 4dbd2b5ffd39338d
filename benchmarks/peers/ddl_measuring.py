"""The clock of benchmarks/ddl_loss.py, the same for both sides; needs Python and NumPy on Linux alone."""

import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

# A round is steps for so long, or one step.
SECONDS = 0.3


def make_rows(rows: int, per_identity: int, dim: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Make the rows of a batch: half of them of the teacher, half of a noisier student, of the same identities.

    Args:
        rows: how many.
        per_identity: of an identity in a group.
        dim: of the embeddings.

    Returns:
        float32 `[rows, dim]` embeddings, `[rows]` identities and `[rows]` groups, sorted by group and identity.
    """
    random = np.random.default_rng(0)
    identity = np.tile(np.arange(rows // 2) // per_identity, 2)
    group = np.repeat([0, 1], rows // 2)
    centers = random.normal(size=(identity.max() + 1, dim))
    embeddings = centers[identity] + random.normal(size=(rows, dim)) * (0.6 + 0.6 * group[:, np.newaxis])
    return embeddings.astype(np.float32), identity, group


def _memory_mb(field: str) -> float:
    (line,) = (x for x in Path("/proc/self/status").read_text().splitlines() if x.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024


def serve(warm: Callable[[], object], step: Callable[[], object]) -> None:
    """Measure the memory of the first step, then time a round of steps for every line of standard input.

    Each answer is a line of JSON.

    Args:
        warm: does what a step does on a few rows, so that code and constants are in memory.
        step: forward and backward.
    """
    warm()
    # From here on the peak counts anew.
    Path("/proc/self/clear_refs").write_text("5")
    before = _memory_mb("VmRSS")
    step()
    print(json.dumps({"memory": _memory_mb("VmHWM") - before}), flush=True)
    for _ in sys.stdin:
        steps: list[tuple[float, float]] = []
        end = time.perf_counter() + SECONDS
        while not steps or time.perf_counter() < end:
            wall, cpu = time.perf_counter(), time.process_time()
            step()
            steps.append((1e3 * (time.perf_counter() - wall), 1e3 * (time.process_time() - cpu)))
        wall, cpu = np.median(steps, axis=0)
        print(json.dumps({"wall": wall, "cpu": cpu}), flush=True)
