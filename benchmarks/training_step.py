"""A training step of a network on CPUs, beside PyTorch.

    python benchmarks/training_step.py --network=iresnet18 --insightface=CLONE --torch_python=PYTHON [--before=CHECKOUT]

prints lines of the table of docs/results/speed.md. Network, batch, head (ArcFace) and optimizer (SGD with momentum and
weight decay) are the same on all sides; those of PyTorch are arcface_torch's, taken at run time from a clone of
deepinsight/insightface, and a plain_small written again. Each side is a process of its own; they take turns, step by
step. It needs Linux.
"""

import dataclasses
import platform
import re
import sys
from pathlib import Path
from typing import Any, Optional

import pandas as pd
from peers.side import Side

from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import required, setting

OURS, BEFORE, THEIRS = "ddl_tf", "ddl_tf before", ("PyTorch NCHW", "PyTorch channels_last")
FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx512_bf16", "amx_bf16")


@dataclasses.dataclass
class Settings:
    """What to measure, and how often."""

    insightface: str = setting("", "A clone of deepinsight/insightface, bare or not; required.")
    torch_python: str = setting("", "An interpreter with torch and NumPy; required.")
    network: str = setting(
        "iresnet18", "Name of the network.", choices=("iresnet18", "iresnet50", "mobilefacenet", "plain_small")
    )
    precision: str = setting("float32", "Precision policy.", choices=("float32", "mixed_bfloat16"))
    before: Optional[str] = setting(None, "Another checkout of this repository, to measure it too.")
    rows: int = setting(16, "Rows of the batch.")
    image_size: int = setting(112, "Side of the images, in pixels.")
    threads: list[int] = setting([1], "Threads of every side; a line for each number.")
    rounds: int = setting(11, "How often to measure each side.")


def cpu() -> str:
    """Name the processor, and what of it matters here."""
    text = Path("/proc/cpuinfo").read_text()
    model, flags = (re.search(rf"^{field}\s*: (.*)$", text, re.M) for field in ("model name", "flags"))
    known = set(flags[1].split()) if flags else set()
    has = [name for name in FEATURES if name in known]
    return f"{model[1] if model else platform.machine()} ({', '.join(has)})"


def _sides(settings: Settings, threads: int) -> dict[str, Side]:
    names = ("network", "precision", "rows", "image_size")
    common = {**{name: getattr(settings, name) for name in names}, "threads": threads}
    sides = {OURS: Side(sys.executable, "step_ours", common, OURS)}
    if settings.before:
        path = {"PYTHONPATH": str(Path(settings.before).resolve())}
        sides[BEFORE] = Side(sys.executable, "step_ours", common, BEFORE, path)
    for name in THEIRS:
        theirs = {**common, "insightface": settings.insightface, "channels_last": name != THEIRS[0]}
        sides[name] = Side(settings.torch_python, "step_theirs", theirs, name)
    return sides


def _line(settings: Settings, threads: int) -> dict[str, Any]:
    sides, times = _sides(settings, threads), []
    for side in sides.values():
        side.answer()
    for number in range(settings.rounds):
        for name, side in sides.items():
            side.ask()
            times.append({"round": number, "side": name, **side.answer()})
    for side in sides.values():
        side.end()
    line: dict[str, Any] = {"network": settings.network, "precision": settings.precision, "threads": threads}
    for clock, of in (("CPU", "cpu"), ("wall", "wall")):
        seen = pd.DataFrame(times).pivot(index="round", columns="side", values=of)
        line.update({f"{name}, {clock} ms": f"{seen[name].median():,.0f}" for name in sides})
        best = min(THEIRS, key=lambda name: seen[name].median())
        line[f"against the best PyTorch, {clock}"] = f"{(seen[best] / seen[OURS]).median():.2f}"
        if settings.before:
            line[f"against before, {clock}"] = f"{(seen[BEFORE] / seen[OURS]).median():.2f}"
    return line


def main(settings: Settings) -> None:
    """Measure, and print a Markdown table.

    Args:
        settings: the flags.

    Raises:
        InputError: if a flag is missing, or a side fails.
    """
    required(settings, "insightface", "torch_python")
    if settings.rounds < 1 or settings.rows < 2 or min(settings.threads, default=0) < 1:
        raise InputError("--rounds and --threads must be above 0, --rows above 1")
    print(f"{cpu()}; {settings.rows} rows of {settings.image_size} px, medians of {settings.rounds} rounds in turns\n")
    for number, threads in enumerate(settings.threads):
        line = _line(settings, threads)
        if not number:
            print("|", " | ".join(line), "|\n|" + " --- |" * len(line))
        print("|", " | ".join(map(str, line.values())), "|", flush=True)


if __name__ == "__main__":
    command.run(main, Settings)
