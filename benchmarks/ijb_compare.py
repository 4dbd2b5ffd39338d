"""`evaluate compare` of two models at the size of IJB-C: 15.66 million pairs of templates, a bootstrap over people.

    python benchmarks/ijb_compare.py --output=/tmp/ijb_compare

generates the lists of `generated_ijb.py` and similarities of two models, stores them as `evaluate ijb --store` does
(0.5 GB of disk), runs the command in a process of its own, and prints the row of docs/results/speed.md.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from generated_ijb import IJBSize, generate_ijb

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

MODELS = ("baseline", "candidate")
# Cosines: the mean of same pairs (different ones have 0), what a template adds, a pair, and a model.
MEAN, OF_TEMPLATE, OF_PAIR, OF_MODEL = 0.5, 0.05, 0.15, 0.05


@dataclasses.dataclass
class Settings:
    """How large the set is, and how often it is resampled."""

    output: str = setting("runs/ijb_compare", "Folder for the two stored evaluations.")
    part: float = setting(1.0, "Templates of the set, as a part of those of IJB-C.")
    replicates: int = setting(1000, "Replicates of the bootstrap.")
    seed: int = setting(0, "Seed of the lists and the similarities.")


def store(root: Path, part: float, seed: int) -> None:
    """Store the evaluations of two models that differ by noise.

    Args:
        root: gets a folder for each of them.
        part: of the templates; pairs of a gallery and a probe grow with both.
        seed: of everything.
    """
    from ddl_tf.evaluation.ijb import _people_of_templates, _verify
    from ddl_tf.evaluation.stored import IMAGES, Outcome, write_outcome

    full = IJBSize()
    size = {name: round(part * count) for name, count in dataclasses.asdict(full).items()}
    size["impostors"] = round(part**2 * full.impostors)
    ijb = generate_ijb(IJBSize(**size), seed)
    pairs = ijb.pairs
    assert pairs is not None
    template, person = _people_of_templates(ijb, pairs)
    random = np.random.default_rng([seed, 3])
    effect = random.normal(0, OF_TEMPLATE, len(template))
    places = np.searchsorted(template, pairs.first), np.searchsorted(template, pairs.second)
    common = MEAN * pairs.same + random.normal(0, OF_PAIR, len(pairs.same)) + effect[places[0]] + effect[places[1]]
    for model in MODELS:
        similarity = (common + random.normal(0, OF_MODEL, len(common))).astype(np.float32)
        scores = {"similarity": similarity, **vars(pairs), "template": template, "template_person": person}
        result = {
            "set": "ijbc",
            "protocol": "templates",
            "verification": _verify("ijbc", similarity, pairs),
            **{"identification": None, "open_set": None, "intervals": {}},
        }
        folder = root / model / "ijbc"
        folder.mkdir(parents=True, exist_ok=True)
        pd.DataFrame({"key": ijb.keys}).to_csv(folder / IMAGES, index=False)
        write_outcome(folder, Outcome(result, scores), {})


def main(settings: Settings) -> None:
    """Store, compare, and print the row.

    Args:
        settings: the flags.

    Raises:
        InputError: if a flag does not fit, or the command fails.
    """
    if not 0 < settings.part <= 1:
        raise InputError(f"--part={settings.part}: give a number above 0, at most 1")
    root = Path(settings.output)
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        pool.apply(store, (root, settings.part, settings.seed))
    order = [sys.executable, "-m", "ddl_tf.evaluate", "compare", f"--replicates={settings.replicates}"]
    order += [f"--{model}={root / model}" for model in MODELS]
    started = time.perf_counter()
    with tempfile.TemporaryFile("w+") as lines, tempfile.TemporaryFile("w+") as messages:
        process = subprocess.Popen(order, stdout=lines, stderr=messages)
        # Unlike `resource.getrusage`, of this child alone.
        _, status, used = os.wait4(process.pid, 0)
        seconds, process.returncode = time.perf_counter() - started, os.waitstatus_to_exitcode(status)
        for file in (lines, messages):
            file.seek(0)
        if process.returncode:
            raise InputError(f"evaluate compare: {(messages.read().strip() or 'no message').splitlines()[-1]}")
        numbers = len(lines.read().splitlines())
    print("| replicates | numbers | s | s of CPU | peak memory, GiB |\n| --- | --- | --- | --- | --- |")
    cells = [f"{settings.replicates:,}", str(numbers), f"{seconds:.1f}", f"{used.ru_utime + used.ru_stime:.1f}"]
    print(f"| {' | '.join([*cells, f'{used.ru_maxrss / 2**20:.2f}'])} |")


if __name__ == "__main__":
    command.run(main, Settings)
