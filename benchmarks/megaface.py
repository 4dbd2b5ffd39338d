"""Time and memory of MegaFace by the number of distractors, as the Markdown table of docs/results/speed.md.

    python benchmarks/megaface.py --output=/tmp/megaface

makes features of 512 values of 3,530 probes of 80 people and of up to a million distractors, packed, and those of a
tenth of them as files too, and evaluates each in a process of its own. It takes 2.5 GB of disk.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import multiprocessing
import resource
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

PROBES, PEOPLE, DIM = 3530, 80, 512
CHUNK = 10_000
SUFFIX = "_generated.bin"


@dataclasses.dataclass
class Settings:
    """How many distractors, and where."""

    distractors: int = setting(1_000_000, "Distractors of the largest set; the others have 10% and 1% of it.")
    output: str = setting("runs/megaface", "Folder for the features; those that are there are used.")
    seed: int = setting(0, "Seed of the features.")


def _unit(rows: np.ndarray) -> np.ndarray:
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def _write_packed(folder: Path, name: str, keys: list[str], seed: int) -> None:
    """Features in random directions; those of probes lie around their person's, some people's closer than others'."""
    rng = np.random.default_rng([seed, len(keys)])
    centers = rng.normal(size=[PEOPLE, DIM])
    spread = np.linspace(0.8, 2.2, PEOPLE)
    header = {"descr": "<f4", "fortran_order": False, "shape": (len(keys), DIM)}
    with (folder / f"{name}.npy").open("wb") as output:
        np.lib.format.write_array_header_1_0(output, header)
        for start in range(0, len(keys), CHUNK):
            rows = rng.normal(size=[min(CHUNK, len(keys) - start), DIM])
            if name == "facescrub":
                person = np.arange(start, start + len(rows)) % PEOPLE
                rows = centers[person] + spread[person, np.newaxis] * rows
            output.write(_unit(rows).tobytes())
    (folder / f"{name}.txt").write_text("".join(f"{key}{SUFFIX}\n" for key in keys))


def make_features(folder: Path, distractors: int, seed: int) -> None:
    """Write lists, packed features, and feature files of all probes and a tenth of the distractors.

    Args:
        folder: where to.
        distractors: how many.
        seed: of the features.
    """
    from ddl_tf.protocols.feature_files import write_feature

    keys = {
        "facescrub": [f"P{number % PEOPLE}/P{number % PEOPLE}_{number}.png" for number in range(PROBES)],
        "megaface": [f"{number // 1000}/{number // 100}@N00/{number}_0.jpg" for number in range(distractors)],
    }
    (folder / "packed").mkdir(parents=True)
    for name, listed in keys.items():
        (folder / f"{name}_lst").write_text("".join(f"{key}\n" for key in listed))
        _write_packed(folder / "packed", name, listed, seed)
        features = np.load(folder / "packed" / f"{name}.npy", mmap_mode="r")
        for number, key in enumerate(listed[: max(PROBES, distractors // 10)]):
            write_feature(folder / "features" / name / f"{key}{SUFFIX}", features[number])
    (folder / "made").touch()


def measure(folder: Path, distractors: int, packed: str) -> dict[str, Any]:
    """Evaluate, in a process of its own.

    Args:
        folder: of `make_features`.
        distractors: how many.
        packed: name of the folder of packed features in it; "" reads the feature files.

    Returns:
        What was measured, by the name of the table's column.
    """
    from ddl_tf.evaluation.megaface_settings import MegaFaceSettings, megaface_outcome

    settings = MegaFaceSettings(
        facescrub_list=str(folder / "facescrub_lst"),
        megaface_list=str(folder / "megaface_lst"),
        distractors=distractors,
        features=str(folder / "features"),
        suffix=SUFFIX,
        packed=str(folder / packed) if packed else None,
    )
    before = resource.getrusage(resource.RUSAGE_SELF)
    began = time.perf_counter()
    result = megaface_outcome(settings).result
    seconds = time.perf_counter() - began
    after = resource.getrusage(resource.RUSAGE_SELF)
    return {
        "s": f"{seconds:,.1f}",
        "CPU s": f"{after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime:,.1f}",
        "peak memory, MiB": f"{after.ru_maxrss / 1024:,.0f}",
        "of which imports, MiB": f"{before.ru_maxrss / 1024:,.0f}",
        "rank-1": f"{result['rank1']:.4f}",
        "TAR at FAR 1e-6": f"{result['tar']['1e-6']:.4f}",
    }


def main(settings: Settings) -> None:
    """Measure, and print the table.

    Args:
        settings: the flags.
    """
    if settings.distractors < 1000:
        raise InputError(f"--distractors={settings.distractors}: must be at least 1000")
    folder = Path(settings.output)
    if not (folder / "made").exists():
        shutil.rmtree(folder, ignore_errors=True)
        make_features(folder, settings.distractors, settings.seed)
    shutil.rmtree(folder / "packed_here", ignore_errors=True)
    sizes = [settings.distractors // part for part in (100, 10, 1)]
    runs = [(size, "packed", "packed") for size in sizes]
    runs.append((sizes[1], "", ".bin files"))
    runs.append((sizes[1], "packed_here", ".bin files, packed first"))
    for row, (size, packed, source) in enumerate(runs):
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            measured = pool.apply(measure, (folder, size, packed))
        if row == 0:
            print("| distractors | features |", " | ".join(measured), "|")
            print("|" + " --- |" * (2 + len(measured)))
        print("|", " | ".join([f"{size:,}", source, *measured.values()]), "|", flush=True)


if __name__ == "__main__":
    command.run(main, Settings)
