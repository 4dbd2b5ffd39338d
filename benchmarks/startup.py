"""How long commands take to start: help texts, and runs that need no network of TensorFlow, beside TensorFlow's import.

    python benchmarks/startup.py

prints the table of docs/results/speed.md. All take turns, round by round, each in a process of its own, so that
whatever else runs on the machine slows all alike; the medians are of all rounds. One face is searched in a gallery of
8 people by an ONNX and an OpenVINO file of mobilefacenet with random weights; the two evaluations are of random
embeddings of two sets of 200 pairs.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from ddl_tf import evaluate, models, protocols, runtimes
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import setting
from ddl_tf.synthetic import SyntheticSettings, prepare_synthetic, render

TENSORFLOW = "import tensorflow"
LINES = (TENSORFLOW, "import ddl_tf.losses", "import ddl_tf.client", "from ddl_tf.client import Client")
HELPED = (
    *("train", "evaluate", *(f"evaluate {name}" for name in evaluate.COMMANDS), "report", "mine", "tune", "export"),
    *("convert", "serve_check", "gallery", "preview", "launch", "prepare", "miniature", "quickstart"),
)


@dataclasses.dataclass
class Settings:
    """What to measure."""

    rounds: int = setting(5, "Times that each is started.")
    runs: bool = setting(True, "Measure `evaluate compare`, `report` and `gallery search` too.")


def python(*arguments: str) -> tuple[float, float]:
    """Run Python once; returns the seconds that went by, and those of the CPU."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run([sys.executable, *arguments], check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    wall, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def stored_evaluations(folder: Path) -> list[str]:
    """Evaluate random embeddings of two sets of pairs, twice."""
    counts = {"identities": 2, "images_per_identity": 2, "test_identities": 20, "test_pairs": 200}
    prepare_synthetic(SyntheticSettings(output=str(folder / "faces"), image_size=24, **counts))
    sets = [folder / "faces" / name for name in ("easy", "hard")]
    stored = []
    for number in range(2):
        files = [f"{folder}/{number}_{path.name}.npy" for path in sets]
        for path, file in zip(sets, files):
            count = len(protocols.read_stored(str(path)).images)
            np.save(file, np.random.default_rng(number).normal(size=[count, 64]).astype(np.float32))
        stored.append(str(folder / f"evaluation{number}"))
        given = f"--pairs={','.join(map(str, sets))}", f"--embeddings={','.join(files)}", f"--store={stored[-1]}"
        python("-m", "ddl_tf.evaluate", "pairs", *given)
    return stored


def galleries(folder: Path) -> dict[str, list[str]]:
    """Make a gallery for each runtime; returns the flags that a search in it takes."""
    network = models.build_embedding_model("mobilefacenet")
    runtimes.write_onnx(network, folder / "network.onnx")
    runtimes.write_openvino(network, folder / "network.xml")
    for person in range(8):
        (folder / "people" / str(person)).mkdir(parents=True)
        Image.fromarray(render(person, 0)[0]).save(folder / "people" / str(person) / "0.png")
    (folder / "new").mkdir()
    Image.fromarray(render(0, 1)[0]).save(folder / "new" / "1.png")
    files = {"ONNX": "network.onnx", "OpenVINO": "network.xml"}
    flags = {name: [f"--gallery={folder}/{name}", f"--model={folder}/{file}"] for name, file in files.items()}
    for given in flags.values():
        python("-m", "ddl_tf.gallery", "enroll", *given, f"--images={folder}/people")
    return {name: [*given, f"--images={folder}/new"] for name, given in flags.items()}


def main(settings: Settings) -> None:
    """Measure, and print the table."""
    starts = {line: ["-c", line] for line in LINES}
    starts |= {f"{name} --help": ["-m", *f"ddl_tf.{name} --help".split()] for name in HELPED}
    with tempfile.TemporaryDirectory() as place:
        if settings.runs:
            one, two = stored_evaluations(Path(place))
            searches = galleries(Path(place))
            page = ["-m", "ddl_tf.report", f"--evaluations={one},{two}", f"--output={place}/page"]
            compare = ["-m", "ddl_tf.evaluate", "compare", f"--baseline={one}", f"--candidate={two}"]
            starts |= {"evaluate compare": compare, "report of two sets": page}
            starts |= {
                f"gallery search of a face, {name}": ["-m", "ddl_tf.gallery", "search", *flags]
                for name, flags in searches.items()
            }
        rounds = [[python(*arguments) for arguments in starts.values()] for _ in range(settings.rounds)]
    seconds = np.array(rounds)
    wall, cpu = np.median(seconds, axis=0).T
    table = pd.DataFrame({"what": [f"`{name}`" for name in starts], "seconds": wall, "CPU seconds": cpu})
    table["of TensorFlow's import"] = np.median(seconds[..., 1] / seconds[:, :1, 1], axis=0)
    print(markdown_table(table.round(2).astype(str)))


if __name__ == "__main__":
    command.run(main, Settings)
