"""The size of MS1M: import, open, sample, train on and mine generated sets.

It prints the table of docs/results/speed.md:

    python benchmarks/size.py --images=5800000 --identities=85000 --output=/tmp/size

generates an InsightFace RecordIO set of tiny images with that many identities, and two of 10% and 1% of it, imports
each, and measures every stage in a process of its own. Stored sets stay in `<output>/<images>/faces` and are not
imported again. The full size takes about 6 GB of disk.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import contextlib
import dataclasses
import io
import json
import multiprocessing
import os
import resource
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting

PARTS = (0.01, 0.1, 1.0)
MAGIC = 0xCED7230A
DISTINCT_IMAGES = 4096
SHUFFLED, PER_GROUP, PAIRS = 64, 32, 32
BATCHES = 200


@dataclasses.dataclass
class Settings:
    """How large a set to make, and where."""

    images: int = setting(5_800_000, "Images of the largest set; the others have 10% and 1% of it.")
    identities: int = setting(85_000, "Identities of the largest set.")
    output: str = setting("runs/size", "Folder for the sets and the runs.")
    seed: int = setting(0, "Seed of the images, the identities' sizes and the groups.")


def _cpu_seconds(usage: resource.struct_rusage) -> float:
    return usage.ru_utime + usage.ru_stime


def _peak_mib(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1024


def _tiny_images(rng: np.random.Generator) -> list[bytes]:
    """JPEGs of 8x8 pixels, of different sizes in bytes."""
    images = []
    for _ in range(DISTINCT_IMAGES):
        encoded = io.BytesIO()
        pixels = rng.integers(0, 256, [8, 8, 3]).astype(np.uint8)
        Image.fromarray(pixels).save(encoded, "JPEG", quality=int(rng.integers(50, 96)), optimize=True)
        images.append(encoded.getvalue())
    return images


def _record(label: tuple[float, ...], content: bytes = b"") -> bytes:
    """One record of a `.rec` file; the magic number never stands in these contents."""
    header = struct.pack("<IfQQ", 0 if len(label) == 1 else len(label), label[0], 0, 0)
    content = header + (struct.pack(f"<{len(label)}f", *label) if len(label) > 1 else b"") + content
    return struct.pack("<II", MAGIC, len(content)) + content + b"\0" * (-len(content) % 4)


def make_recordio(folder: Path, num_images: int, num_identities: int, seed: int) -> None:
    """Write `train.rec`, `train.idx`, `property` and `train.csv` (index, group, quality), a record at a time.

    Args:
        folder: where to.
        num_images: how many images.
        num_identities: how many identities; each has two images at least, some many times as many as others.
        seed: of everything random.
    """
    rng = np.random.default_rng([seed, num_images, num_identities])
    images = _tiny_images(rng)
    if any(struct.pack("<I", MAGIC) in image for image in images):
        raise AssertionError("an image holds the magic number: choose another --seed")
    share = rng.gamma(2.0, size=num_identities)
    counts = 2 + rng.multinomial(num_images - 2 * num_identities, share / share.sum())
    folder.mkdir(parents=True)
    number = offset = 0
    with contextlib.ExitStack() as stack:
        rec = stack.enter_context((folder / "train.rec").open("wb"))
        idx, table = (stack.enter_context((folder / name).open("w")) for name in ("train.idx", "train.csv"))

        def write(record: bytes) -> None:
            nonlocal number, offset
            rec.write(record)
            idx.write(f"{number}\t{offset}\n")
            number, offset = number + 1, offset + len(record)

        table.write("index,group,quality\n")
        write(_record((num_images + 1.0, num_images + 1.0 + num_identities)))
        for identity, count in enumerate(counts.tolist()):
            chosen = rng.integers(0, DISTINCT_IMAGES, count).tolist()
            for image, quality in zip(chosen, rng.random(count).round(4).tolist()):
                table.write(f"{number},{0 if quality > 0.6 else 1 if quality < 0.3 else -1},{quality}\n")
                write(_record((float(identity),), images[image]))
        ends = np.cumsum(counts) + 1
        for first, end in zip((ends - counts).tolist(), ends.tolist()):
            write(_record((float(first), float(end))))
    (folder / "property").write_text(f"{num_identities},8,8")


def _command(log: Path, *arguments: str) -> tuple[float, resource.struct_rusage]:
    """Run a command of the package: seconds, and what it used."""
    began = time.time()
    with log.open("w") as output:
        process = subprocess.Popen([sys.executable, "-m", *arguments], stdout=output, stderr=subprocess.STDOUT)
        _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise InputError(f"python -m {' '.join(arguments)} failed: see {log}")
    return time.time() - began, usage


def _fresh(function: Callable[..., dict[str, float]], *arguments: Any) -> dict[str, float]:
    """Call a function in a new process, with the time before that process began."""
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        return pool.apply(function, (time.time(), *arguments))


def measure_batches(began: float, faces_folder: str) -> dict[str, float]:
    """Open a set and draw batches of all streams.

    Args:
        began: the time before this process began.
        faces_folder: the set.

    Returns:
        What was measured, by the name of the table's row.
    """
    from ddl_tf.data import (
        AugmentationSettings,
        Faces,
        StreamSampler,
        StreamSizes,
        build_augmentation,
        training_dataset,
    )

    imported = time.time()
    faces = Faces([faces_folder])
    opened = time.time()
    sampler = StreamSampler(faces.index, StreamSizes(SHUFFLED, PER_GROUP, PAIRS))
    sampled = time.time()
    dataset = training_dataset(faces, sampler, build_augmentation(AugmentationSettings()), (16, 16), 0, BATCHES + 1)
    batches = iter(dataset)
    next(batches)
    first = time.time()
    cpu = _cpu_seconds(resource.getrusage(resource.RUSAGE_SELF))
    count = sum(1 for _ in batches)
    pipeline = time.time() - first
    peak = _peak_mib(resource.getrusage(resource.RUSAGE_SELF))
    drawing = []
    for step in range(BATCHES):
        start = time.perf_counter()
        sampler.rows(step)
        drawing.append(time.perf_counter() - start)
    start = time.perf_counter()
    sampler.rows(sampler.steps_per_epoch + 1)
    return {
        "first batch: importing TensorFlow, s": imported - began,
        "first batch: opening the set, s": opened - imported,
        "first batch: making the sampler, s": sampled - opened,
        "first batch: all from the start of the process, s": first - began,
        "first batch: CPU s until then": cpu,
        "first batch and the next 200: peak memory, MiB": peak,
        "sampler, ms a batch (median)": 1e3 * float(np.median(drawing)),
        "sampler, order of a new epoch, ms": 1e3 * (time.perf_counter() - start),
        f"pipeline, ms a batch of {sampler.num_rows} rows": 1e3 * pipeline / count,
    }


def measure_pairs(began: float, faces_folder: str) -> dict[str, float]:
    """Count the bytes that a batch of pairs reads.

    Args:
        began: not used.
        faces_folder: the set.

    Returns:
        What was measured, by the name of the table's row.
    """
    from ddl_tf.data import Faces, StreamSampler, StreamSizes
    from ddl_tf.data.layout import HEADER_BYTES

    faces = Faces([faces_folder])
    sampler = StreamSampler(faces.index, StreamSizes(pairs_per_group=PAIRS))
    plain, counted, wanted = os.pread, [0], 0

    def pread(file: int, size: int, offset: int) -> bytes:
        content = plain(file, size, offset)
        counted[0] += len(content)
        return content

    os.pread = pread
    start = time.perf_counter()
    for step in range(BATCHES):
        records = sampler.rows(step).record
        faces.read(records)
        wanted += int(faces.index["length"].to_numpy()[records].sum()) + HEADER_BYTES * len(records)
    seconds = time.perf_counter() - start
    if counted[0] != wanted:
        raise AssertionError(f"{counted[0]} bytes were read for records of {wanted}")
    return {
        f"pairs, KiB read for a batch of {sampler.num_rows}": counted[0] / BATCHES / 1024,
        "pairs, ms to draw and read a batch": 1e3 * seconds / BATCHES,
    }


def _import(folder: Path, images: int, identities: int, seed: int) -> dict[str, float]:
    """Generate and import a set, if it was not before."""
    results, recordio = folder / "import.json", folder / "recordio"
    if not results.exists():
        shutil.rmtree(folder, ignore_errors=True)
        make_recordio(recordio, images, identities, seed)
        flags = (f"--rec={recordio / 'train.rec'}", f"--csv={recordio / 'train.csv'}", f"--output={folder / 'faces'}")
        seconds, usage = _command(folder / "import.log", "ddl_tf.prepare", "recordio", *flags)
        size = sum(file.stat().st_size for file in (folder / "faces").iterdir())
        shutil.rmtree(recordio)
        measured = {
            "stored set, MiB": size / 2**20,
            "import, s": seconds,
            "import, images/s": images / seconds,
            "import, peak memory, MiB": _peak_mib(usage),
        }
        results.write_text(json.dumps(measured))
    return json.loads(results.read_text())


def _train(folder: Path) -> dict[str, float]:
    """One step of training; the log is written when it is done."""
    run = folder / "run"
    shutil.rmtree(run, ignore_errors=True)
    began = time.time()
    _, usage = _command(
        folder / "train.log",
        "ddl_tf.train",
        f"--run_dir={run}",
        f"--train_data={folder / 'faces'}",
        *("--backbone=plain_small", "--embedding_size=64", "--image_size=16", "--embedding_loss=ddl", "--epochs=1"),
        *(f"--shuffled_rows={SHUFFLED}", f"--rows_per_group={PER_GROUP}", f"--pairs_per_group={PAIRS}"),
        "--steps_per_epoch=1",
    )
    first_step = (run / "log.csv").stat().st_mtime - began
    return {
        "train, s to the end of the first step": first_step,
        "train, CPU s of the whole run": _cpu_seconds(usage),
        "train, peak memory, MiB": _peak_mib(usage),
    }


def _mine(folder: Path, images: int) -> dict[str, float]:
    """Every way of mining, with the network of `_train`; the groups become what they were."""
    faces, model = f"--data={folder / 'faces'}", f"--model={folder / 'run' / 'checkpoints' / 'last.keras'}"
    commands = {
        "rules": ("--easy=quality > 0.6", "--hard=quality < 0.3"),
        "quality": (),
        # With all centers the cost would be images x identities.
        "model": (model, "--noother_centers"),
        "pairs": (model, "--threshold=-1"),
    }
    measured = {}
    for name, flags in commands.items():
        seconds, usage = _command(folder / f"mine_{name}.log", "ddl_tf.mine", name, faces, *flags)
        measured.update(
            {
                f"mine {name}, s": seconds,
                f"mine {name}, images/s": images / seconds,
                f"mine {name}, peak memory, MiB": _peak_mib(usage),
            }
        )
    return measured


def measure(folder: Path, images: int, identities: int, seed: int) -> dict[str, float]:
    """Generate one set and measure everything on it.

    Args:
        folder: of this set.
        images: how many images.
        identities: how many identities.
        seed: of everything random.

    Returns:
        What was measured, by the name of the table's row.
    """
    faces = str(folder / "faces")
    return {
        **_import(folder, images, identities, seed),
        **_fresh(measure_batches, faces),
        **_fresh(measure_pairs, faces),
        **_train(folder),
        **_mine(folder, images),
    }


def main(settings: Settings) -> None:
    """Measure sets of three sizes, and print the table.

    Args:
        settings: the flags.
    """
    sizes = [(round(part * settings.images), round(part * settings.identities)) for part in PARTS]
    if sizes[0][1] < 100 or any(images < 4 * identities for images, identities in sizes):
        raise InputError("--identities must be at least 10,000, and --images four times as many")
    columns = []
    for images, identities in sizes:
        columns.append(measure(Path(settings.output) / str(images), images, identities, settings.seed))
    print("|  |", " | ".join(f"{images:,} images, {identities:,} identities" for images, identities in sizes), "|")
    print("|" + " --- |" * (1 + len(sizes)))
    for name in columns[0]:
        # Three digits.
        cells = [f"{column[name]:,.{max(0, 2 - int(np.log10(max(column[name], 1))))}f}" for column in columns]
        print("|", " | ".join([name, *cells]), "|")


if __name__ == "__main__":
    command.run(main, Settings)
