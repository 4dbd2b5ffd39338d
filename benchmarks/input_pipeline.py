"""Images a second of the input pipeline, beside two others and the decoding of JPEG alone.

    python benchmarks/input_pipeline.py --data=datasets/celeba --torch_python=PYTHON --keras_insightface=DIR

measures in rounds, each pipeline in a process of its own one after another, and prints the table of
docs/results/speed.md. Without the flags of the others it measures ours and the decoding. It needs Linux.
"""

import dataclasses
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.data import Faces

PEERS = Path(__file__).resolve().parent / "peers"
OURS, LIMITS = "ddl_tf", {"an image a call": "image", "a batch a call": "batch", "a batch a call, to float32": "float"}
# That of which a rate is a share.
DECODING = "JPEG decoding alone, "


@dataclasses.dataclass
class Settings:
    """What to measure, and for how long."""

    data: Optional[str] = setting(None, "The stored set, all of whose images have one size; required.")
    work: str = setting("runs/input_pipeline", "Folder for the images as files, and the results.")
    batch_size: int = setting(256, "Images of a batch.")
    image_size: Optional[int] = setting(None, "Side of the batches' images in pixels; default: as they are stored.")
    flip: bool = setting(True, "Whether the pipelines mirror half of the images.")
    rounds: int = setting(5, "How often to measure each pipeline.")
    seconds: float = setting(6.0, "How long to measure it each time.")
    torch_python: Optional[str] = setting(None, "An interpreter with torch, NumPy and Pillow, to measure a DataLoader.")
    keras_insightface: Optional[str] = setting(None, "A checkout of Keras_insightface, to measure its data.py.")


def write_files(faces: Faces, root: Path) -> None:
    """Write the images of a stored set into a folder for each identity, if that was not done.

    Args:
        faces: the stored set.
        root: the folder of the folders.

    Raises:
        InputError: if there is another number of files.
    """
    if not root.exists():
        partial = root.with_suffix(".partial")
        for row, identity in enumerate(faces.index["identity"]):
            (encoded,) = faces.read(np.array([row]))
            folder = partial / str(identity)
            folder.mkdir(parents=True, exist_ok=True)
            (folder / f"{row}.{'jpg' if encoded.startswith(bytes([0xFF, 0xD8])) else 'png'}").write_bytes(encoded)
        partial.rename(root)
    num_files = sum(1 for _ in root.glob("*/*"))
    if num_files != len(faces):
        raise InputError(
            f"{root}: {num_files:,} files, but the stored set has {len(faces):,} images; remove the folder"
        )


def _measure(python: str, script: str, work: Path, **settings: object) -> dict[str, float]:
    """One pipeline in one process; a session of its own, by which it finds its workers."""
    order = [python, str(PEERS / f"{script}.py"), json.dumps(settings)]
    quiet = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3"}
    done = subprocess.run(order, cwd=work, env=quiet, capture_output=True, text=True, start_new_session=True)
    if done.returncode:
        raise InputError(f"{script} failed under {python}: {(done.stderr.strip() or 'no message').splitlines()[-1]}")
    return json.loads(done.stdout.splitlines()[-1])


def _table(results: pd.DataFrame) -> str:
    """Medians over the rounds.

    A share is that of the decoding of the same round. The share by CPU time stays true on a machine that others use.
    """
    names = list(dict.fromkeys(results["pipeline"]))
    medians = results.groupby("pipeline").median(numeric_only=True)
    limit = min((name for name in names if name.startswith(DECODING)), key=medians["cpu_us"].__getitem__)
    rates, cpu = (results.pivot(index="round", columns="pipeline", values=column) for column in ("rate", "cpu_us"))
    shares, cpu_shares = rates.div(rates[limit], axis=0).median(), cpu.rdiv(cpu[limit], axis=0).median()
    lines = [
        "| pipeline | images/s | least to most | of decoding | CPU µs an image | of decoding, by CPU | first batch, s "
        "| memory, MB |",
        "| --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in names:
        mine = medians.loc[name]
        cells = [
            name,
            f"{mine['rate']:,.0f}",
            f"{rates[name].min():,.0f} to {rates[name].max():,.0f}",
            f"{shares[name]:.0%}",
            f"{mine['cpu_us']:.0f}",
            f"{cpu_shares[name]:.0%}",
            f"{mine['first_batch']:.2f}",
            f"{mine['memory']:,.0f}",
        ]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main(settings: Settings) -> None:
    """Measure, and print the table.

    Args:
        settings: the flags.

    Raises:
        InputError: if the set does not fit, or a pipeline fails.
    """
    if not settings.data:
        raise InputError("--data is missing; see --help")
    if settings.rounds < 1 or settings.batch_size < 1 or settings.seconds <= 0:
        raise InputError("--rounds, --batch_size and --seconds must be above 0")
    faces = Faces([settings.data])
    if faces.image_size is None or faces.image_size[0] != faces.image_size[1]:
        raise InputError(f"{settings.data}: its images must all have one size, and be square")
    if len(faces) < settings.batch_size:
        raise InputError(f"{settings.data}: {len(faces)} images make no batch of {settings.batch_size}")
    work = Path(settings.work).resolve()
    work.mkdir(parents=True, exist_ok=True)
    images_root = work / f"{Path(settings.data).resolve().name}_images"
    common = {
        "data": str(Path(settings.data).resolve()),
        "images_root": str(images_root),
        "batch_size": settings.batch_size,
        "image_size": settings.image_size or faces.image_size[0],
        "seconds": settings.seconds,
        "flip": settings.flip,
        # Those that are decoded from memory.
        "images": 16_384,
    }
    pipelines = {DECODING + name: (sys.executable, "raw_decoding", {"form": form}) for name, form in LIMITS.items()}
    if settings.flip:
        pipelines[f"{OURS}, without flip"] = (sys.executable, "ours", {"flip": False})
    pipelines[OURS] = (sys.executable, "ours", {})
    if settings.keras_insightface:
        checkout = {"keras_insightface": str(Path(settings.keras_insightface).resolve())}
        pipelines["Keras_insightface"] = (sys.executable, "keras_insightface", checkout)
    if settings.torch_python:
        pipelines["PyTorch DataLoader"] = (settings.torch_python, "torch_dataloader", {})
    if settings.keras_insightface or settings.torch_python:
        write_files(faces, images_root)
    rows = []
    for number in range(settings.rounds):
        for name, (python, script, arguments) in pipelines.items():
            rows.append(
                {"round": number, "pipeline": name, **_measure(python, script, work, **{**common, **arguments})}
            )
            pd.DataFrame(rows).to_csv(work / "input_pipeline.csv", index=False)
    results = pd.DataFrame(rows)
    print(
        f"{len(faces):,} images of {common['image_size']} px, batches of {settings.batch_size}, "
        f"{settings.rounds} rounds of {settings.seconds:g} s, {os.cpu_count()} cores, load of the machine "
        f"{results['load'].min():.1f} to {results['load'].max():.1f}\n"
    )
    print(_table(results))


if __name__ == "__main__":
    command.run(main, Settings)
