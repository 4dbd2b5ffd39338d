"""The clock of benchmarks/input_pipeline.py, the same for every pipeline; needs Python on Linux alone."""

import json
import os
import time
from collections.abc import Iterable
from pathlib import Path


def _session() -> list[Path]:
    """The processes of this session: this one and its workers."""
    mine = os.getsid(0)
    processes = []
    for process in Path("/proc").iterdir():
        if process.name.isdigit():
            try:
                if os.getsid(int(process.name)) == mine:
                    processes.append(process)
            except ProcessLookupError:
                continue
    return processes


def _cpu_seconds() -> float:
    # The name of the program, field 2, may hold spaces.
    fields = [(process / "stat").read_text().rpartition(")")[2].split() for process in _session()]
    return sum(int(field[11]) + int(field[12]) for field in fields) / os.sysconf("SC_CLK_TCK")


def _memory_mb() -> float:
    """Memory with each shared page counted once."""
    lines = [line for process in _session() for line in (process / "smaps_rollup").read_text().splitlines()]
    return sum(int(line.split()[1]) for line in lines if line.startswith("Pss:")) / 1024


def measure(begin: float, batches: Iterable[object], batch_size: int, seconds: float) -> None:
    """Take batches for some seconds, and print what was seen as JSON.

    Args:
        begin: `time.perf_counter()` before the pipeline was built.
        batches: endless.
        batch_size: images of each.
        seconds: how long to take batches, after a quarter of that to warm up.
    """
    iterator = iter(batches)
    next(iterator)
    first_batch = time.perf_counter() - begin
    warm = time.perf_counter() + seconds / 4
    while time.perf_counter() < warm:
        next(iterator)
    images, cpu, start = 0, _cpu_seconds(), time.perf_counter()
    while (elapsed := time.perf_counter() - start) < seconds:
        next(iterator)
        images += batch_size
    cpu = _cpu_seconds() - cpu
    print(
        json.dumps(
            {
                "rate": images / elapsed,
                "cpu_us": 1e6 * cpu / images,
                "first_batch": first_batch,
                "memory": _memory_mb(),
                "load": os.getloadavg()[0],
            }
        ),
        flush=True,
    )
    # Threads and workers that still fill buffers are of no use any more.
    os._exit(0)
