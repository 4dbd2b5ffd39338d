"""Very many identities beside InsightFace's `PartialFC_V2`: a training step of both in turns, and the memory it needs.

    python benchmarks/partial_fc.py --insightface=CLONE --torch_python=PYTHON --identities=1000000

prints the table of docs/results/speed.md. Each side is a process of its own: the sampled head behind one dense layer
that stands for the network, ArcFace's margin, momentum and weight decay. With two ranks theirs are two processes that
meet by gloo, ours two replicas of a sharded head in one process; their memory is that of both together.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import os
import sys
import tempfile

import numpy as np
from peers.side import Side

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import required, setting

OURS, THEIRS = "ddl_tf", "PartialFC_V2"


@dataclasses.dataclass
class Settings:
    """What to measure, and how often."""

    insightface: str = setting("", "A clone of deepinsight/insightface, bare or not; required.")
    torch_python: str = setting("", "An interpreter with torch and NumPy; required.")
    identities: list[int] = setting([100_000], "Numbers of identities.")
    sample_rate: float = setting(0.1, "The share of the identities that takes part in a step.")
    embedding_size: int = setting(512, "Length of the embedding.")
    batch: int = setting(128, "Rows of the global batch.")
    ranks: int = setting(1, "Parts that the identities are split into.")
    threads: int = setting(os.cpu_count() or 1, "Threads of either side, of all ranks together.")
    rounds: int = setting(11, "Steps to time of each side.")
    together: bool = setting(
        True, "Whether both sides are there at a time, and take turns; without, each has all of the memory."
    )


def _start(name: str, identities: int, settings: Settings, meeting: str) -> list[Side]:
    """Start the processes of a side."""
    common = {
        "identities": identities,
        "dim": settings.embedding_size,
        "rows": settings.batch,
        "sample_rate": settings.sample_rate,
        "ranks": settings.ranks,
    }
    if name == OURS:
        return [Side(sys.executable, "partial_fc_ours", {**common, "threads": settings.threads}, name)]
    theirs = {
        **common,
        "insightface": settings.insightface,
        "meeting": meeting,
        "threads": max(settings.threads // settings.ranks, 1),
    }
    return [
        Side(settings.torch_python, "partial_fc_theirs", {**theirs, "rank": rank}, f"{name}, rank {rank}")
        for rank in range(settings.ranks)
    ]


def _answers(side: list[Side]) -> dict[str, float]:
    """What the processes of a side have together; they are as fast as the slowest."""
    answers = [process.answer() for process in side]
    return {name: (max if name == "wall" else sum)(answer[name] for answer in answers) for name in answers[0]}


def measure(identities: int, settings: Settings) -> list[str]:
    """Measure both sides.

    Args:
        identities: how many.
        settings: the flags.

    Returns:
        The cells of a row of the table.
    """
    memory, times = {}, {name: [] for name in (OURS, THEIRS)}
    with tempfile.TemporaryDirectory() as folder:
        for names in [(OURS, THEIRS)] if settings.together else [(OURS,), (THEIRS,)]:
            sides = {name: _start(name, identities, settings, os.path.join(folder, "meeting")) for name in names}
            memory.update({name: _answers(side)["memory"] / 1024 for name, side in sides.items()})
            for _ in range(settings.rounds):
                for name, side in sides.items():
                    for process in side:
                        process.ask()
                    answer = _answers(side)
                    times[name].append((answer["wall"], answer["cpu"]))
            for process in (process for side in sides.values() for process in side):
                process.end()
    (wall, cpu), (their_wall, their_cpu) = (np.transpose(times[name]) for name in (OURS, THEIRS))
    ours, theirs = memory[OURS], memory[THEIRS]
    return [
        f"{identities:,}",
        str(settings.ranks),
        *(f"{np.median(column):,.0f}" for column in (wall, their_wall)),
        *(f"{np.median(column):.2f}" for column in (wall / their_wall, cpu / their_cpu)),
        *(f"{number:.2f}" for number in (ours, theirs, ours / theirs)),
    ]


def main(settings: Settings) -> None:
    """Measure, and print the table.

    Args:
        settings: the flags.

    Raises:
        InputError: if a flag does not fit, or a side fails.
    """
    required(settings, "insightface", "torch_python")
    if settings.ranks < 1 or settings.batch < 1 or settings.batch % settings.ranks:
        raise InputError(f"--batch must be a multiple of --ranks, got {settings.batch} and {settings.ranks}")
    if not settings.identities or min(settings.identities) < settings.batch:
        raise InputError(f"--identities must be numbers not below --batch, got {settings.identities}")
    if not 0 < settings.sample_rate < 1 or settings.rounds < 1 or settings.threads < 1:
        raise InputError("--sample_rate must be between 0 and 1, --rounds and --threads above 0")
    columns = ["identities", "ranks", f"{OURS}, ms", f"{THEIRS}, ms", "ratio", "by CPU time"]
    columns += [f"{OURS}, GiB", f"{THEIRS}, GiB", "ratio"]
    print(f"| {' | '.join(columns)} |\n|{' --- |' * len(columns)}")
    for identities in settings.identities:
        print(f"| {' | '.join(measure(identities, settings))} |", flush=True)


if __name__ == "__main__":
    command.run(main, Settings)
