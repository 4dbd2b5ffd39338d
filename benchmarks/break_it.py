"""Give every reader damaged inputs for some minutes, and count what comes of them: the table of docs/reliability.md.

    python benchmarks/break_it.py --minutes=20

A fault is a traceback, a hang, or a change of what is only read. Each is printed with the seed that brings it back:

    python benchmarks/break_it.py --target="prepare csv" --first_seed=4711 --inputs=1
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import resource
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Optional

import pandas as pd
from breaking.readers import targets
from breaking.trial import Target, run_trial

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import setting

_KINDS = ("taken", "refused", "traceback", "hang", "touched")


@dataclasses.dataclass
class Settings:
    """How much to try."""

    minutes: float = setting(20.0, "How long to go on.")
    inputs: int = setting(0, "Inputs of each reader at most; 0: no limit but the time.")
    first_seed: int = setting(0, "The seed of the first input of each reader.")
    target: Optional[str] = setting(None, "Only this reader; default: all, in turns.")


def _chosen(name: Optional[str]) -> list[Target]:
    known = list(targets())
    chosen = [target for target in known if name in (None, target.name)]
    if not chosen:
        raise InputError(f"--target={name}: choose one of {', '.join(target.name for target in known)}")
    return chosen


def main(settings: Settings) -> int:
    """Try to break the readers."""
    chosen = _chosen(settings.target)
    counts: dict[str, Counter[str]] = {target.name: Counter() for target in chosen}
    seen: set[str] = set()
    end = time.monotonic() + 60 * settings.minutes
    with tempfile.TemporaryDirectory() as folder:
        for number, target in enumerate(chosen):
            (Path(folder) / str(number)).mkdir()
            target.make(Path(folder) / str(number))
        memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        seed, shown = settings.first_seed, time.monotonic()
        while time.monotonic() < end and (not settings.inputs or seed < settings.first_seed + settings.inputs):
            for number, target in enumerate(chosen):
                if (seed - settings.first_seed) % target.every:
                    continue
                trial = run_trial(target, Path(folder) / str(number), Path(folder) / "trial", seed)
                counts[target.name][trial.kind] += 1
                # The last line of a traceback, without its values, tells faults apart.
                sort = f"{target.name} {trial.kind} {' '.join(trial.message.splitlines()[-3:-1])}"
                if trial.is_fault and sort not in seen:
                    seen.add(sort)
                    print(f"{target.name}, seed {seed}, {trial.file}: {trial.kind}\n{trial.message}", file=sys.stderr)
            seed += 1
            if time.monotonic() > shown + 30:
                shown = time.monotonic()
                total = sum(sum(count.values()) for count in counts.values())
                print(f"{total:,} inputs, {(end - shown) / 60:.1f} minutes left", file=sys.stderr)
        growth = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory) / 1024
    table = pd.DataFrame([{"reader": name, **{kind: count[kind] for kind in _KINDS}} for name, count in counts.items()])
    table.loc[len(table)] = ["all", *table[list(_KINDS)].sum()]
    print(markdown_table(table))
    print(f"largest memory: {growth:,.0f} MB above that before the first input")
    return 1 if seen else 0


if __name__ == "__main__":
    command.run(main, Settings)
