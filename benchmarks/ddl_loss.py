"""The cost of Distribution Distillation Loss, forward and backward, beside the authors' PyTorch code.

    git -C TFACE show HEAD:recognition/torchkit/loss/ddl.py > /tmp/ddl.py
    python benchmarks/ddl_loss.py --theirs=/tmp/ddl.py --torch_python=PYTHON

measures every size in a process of its own for each side, in turns, and prints the table of docs/results/speed.md.
Without their flags it measures ours alone. It needs Linux.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, Optional

import pandas as pd
from peers.side import PEERS, Side, quiet

from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

OURS, COMPILED, THEIRS = "ddl_tf", "ddl_tf, XLA", "authors"


@dataclasses.dataclass
class Settings:
    """What to measure, and how often."""

    theirs: Optional[str] = setting(None, "The authors' ddl.py, to measure it too.")
    torch_python: Optional[str] = setting(None, "An interpreter with torch and NumPy.")
    rows: list[int] = setting([128, 256, 512, 1024, 2048, 4096, 8192], "Sizes of the global batch.")
    per_identity: int = setting(4, "Images of an identity in a group.")
    dim: int = setting(512, "Dimensions of the embeddings.")
    threads: int = setting(1, "Threads of either side.")
    rounds: int = setting(7, "How often to measure each side.")
    backbone: Optional[str] = setting(None, "Measure also the share of a training step of this backbone, at 112 px.")
    backbone_rows: int = setting(8, "Rows for the backbone; its time is scaled by rows to each size.")


def _measure(rows: int, settings: Settings) -> tuple[dict[str, Any], list[str]]:
    """One line of the table, and what failed."""
    common = {"rows": rows, **{name: getattr(settings, name) for name in ("per_identity", "dim", "threads")}}
    sides: dict[str, tuple[str, str, dict[str, Any]]] = {
        OURS: (sys.executable, "ddl_ours", {**common, "xla": False}),
        COMPILED: (sys.executable, "ddl_ours", {**common, "xla": True}),
    }
    if settings.theirs and settings.torch_python:
        theirs = {**common, "theirs": str(Path(settings.theirs).resolve())}
        sides[THEIRS] = (settings.torch_python, "ddl_theirs", theirs)
    running, memory, failed = {}, {}, []
    for name, side in sides.items():
        try:
            running[name] = Side(*side, f"{side[1]} at {rows} rows")
            memory[name] = running[name].answer()["memory"]
        except InputError as error:
            failed.append(f"{name}: {error}")
            del running[name]
    times = []
    for number in range(settings.rounds):
        for name, side in running.items():
            side.ask()
            times.append({"round": number, "side": name, **side.answer()})
    for side in running.values():
        side.end()
    wall, cpu = (pd.DataFrame(times).pivot(index="round", columns="side", values=x) for x in ("wall", "cpu"))
    line: dict[str, Any] = {"rows": f"{rows:,}", "pairs": f"{rows * (settings.per_identity - 1) // 2:,}"}
    line.update({f"{name}, ms": f"{wall[name].median():,.1f}" if name in running else "failed" for name in sides})
    if THEIRS in running and OURS in running:
        line["ours / authors"] = f"{(wall[OURS] / wall[THEIRS]).median():.2f}"
        line["by CPU time"] = f"{(cpu[OURS] / cpu[THEIRS]).median():.2f}"
    # That of XLA would be the compiler's.
    line.update({f"{name}, MB": f"{memory[name]:,.0f}" for name in running if name != COMPILED})
    line["cpu_ms"] = cpu[OURS].median() if OURS in running else float("nan")
    return line, failed


def _backbone_ms(settings: Settings) -> float:
    """CPU time of a backbone's forward and backward pass for one row, in ms."""
    given = {
        "backbone": settings.backbone,
        "rows": settings.backbone_rows,
        "dim": settings.dim,
        "threads": settings.threads,
    }
    order = [sys.executable, str(PEERS / "ddl_step.py"), json.dumps(given)]
    done = subprocess.run(order, env=quiet(settings.threads), capture_output=True, text=True)
    if done.returncode:
        raise InputError(f"--backbone={settings.backbone}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return 1e3 * json.loads(done.stdout.splitlines()[-1])["cpu"] / settings.backbone_rows


def main(settings: Settings) -> None:
    """Measure, and print the table.

    Args:
        settings: the flags.

    Raises:
        InputError: if a size does not fit, or the backbone fails.
    """
    if bool(settings.theirs) != bool(settings.torch_python):
        raise InputError("--theirs and --torch_python belong together; see --help")
    if settings.rounds < 1 or settings.threads < 1 or settings.per_identity < 2:
        raise InputError("--rounds and --threads must be above 0, --per_identity above 1")
    unfit = [rows for rows in settings.rows if rows < 1 or rows % (2 * settings.per_identity)]
    if unfit:
        raise InputError(f"--rows: {unfit[0]} is no multiple of 2 groups x {settings.per_identity} images")
    backbone = _backbone_ms(settings) if settings.backbone else None
    load, lines, failures = [os.getloadavg()[0]], [], []
    for rows in settings.rows:
        line, failed = _measure(rows, settings)
        cpu = line.pop("cpu_ms")
        if backbone is not None:
            line[f"of a step of {settings.backbone}"] = f"{cpu / (cpu + backbone * rows):.3%}"
        lines.append(line)
        failures += failed
        load.append(os.getloadavg()[0])
    print(
        f"2 groups, {settings.per_identity} images of an identity in each, {settings.dim} dimensions, "
        f"{settings.threads} thread(s), {settings.rounds} rounds, {os.cpu_count()} cores, load of the machine "
        f"{min(load):.1f} to {max(load):.1f}\n"
    )
    table = pd.DataFrame(lines)
    print("|", " | ".join(table.columns), "|\n|" + " --- |" * len(table.columns))
    for row in table.itertuples(index=False):
        print("|", " | ".join(row), "|")
    if backbone is not None:
        print(f"\n{settings.backbone}, forward and backward: {backbone:,.0f} ms of CPU a row")
    for failure in failures:
        print(f"\n{failure}")


if __name__ == "__main__":
    command.run(main, Settings)
