"""How fast faces are found in photos, beside a plain loop over the package mtcnn, and how rightly, as Markdown tables.

    python benchmarks/photos.py --root=PHOTOS

Photos are drawn scenes, whose faces are known, and whatever is in --root. Each way has a process of its own; rounds
are in turns. The loop decodes a photo with Pillow, brings it to the size that is searched, and calls
`mtcnn.MTCNN().detect_faces`; `photo_faces` cuts the faces out too, in a thread for each core, as `prepare photos` does.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import contextlib
import dataclasses
import tempfile
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, Callable, Optional

import numpy as np
import pandas as pd
from PIL import Image
from scipy.optimize import linear_sum_assignment

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import map_in_order, spawned_processes
from ddl_tf.common.settings import setting
from ddl_tf.detection import Detector, FaceRules, MTCNNDetector, photo_faces
from ddl_tf.detection.photo import decode_photo, shrink_photo
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.images.pose import LANDMARK_COLUMNS
from ddl_tf.images.template import ARCFACE_TEMPLATE, similarity_transform
from ddl_tf.synthetic.scenes import BOX_COLUMNS, render_scene

# Name, width and height, and how many faces at least and at most, of the drawn photos.
KINDS = (("1280 x 960", (1280, 960), (1, 6)), ("3000 x 2000", (3000, 2000), (2, 12)))
SUFFIXES = (".jpg", ".jpeg", ".png")
# A face is found if the boxes overlap by this much of their union; two detectors agree on a face by the second.
FOUND, AGREED = 0.4, 0.9
SIZES, YAWS = (20, 32, 48, 80, 160, 320), (0, 15, 30, 45, 60, 90)


@dataclasses.dataclass
class Settings:
    """What to measure."""

    root: Optional[str] = setting(None, "A folder of photos to measure the speed on, too, with all that is in it.")
    photos: int = setting(24, "Photos of each kind.")
    rounds: int = setting(5, "Rounds of each way; 0: no speed.")
    scenes: int = setting(150, "Drawn photos to measure the accuracy on, of 1280 x 960 with 6 faces each; 0: none.")
    seed: int = setting(0, "Seed of the people and scenes.")


def write_scenes(folder: Path, settings: Settings) -> Iterator[tuple[str, list[str]]]:
    """Draw the photos of each kind, of an easy face or several; yield the kind and the files."""
    for number, (kind, size, (least, most)) in enumerate(KINDS):
        rng, files = np.random.default_rng([settings.seed, number]), []
        for scene in range(settings.photos):
            people = rng.integers(100_000, size=rng.integers(least, most + 1)).tolist()
            photo = render_scene(people, scene, settings.seed, size, (0.03 * size[1], 0.4 * size[1]))
            path = folder / f"{number}_{scene:03d}.jpg"
            path.write_bytes(encode_jpeg(Image.fromarray(photo.image), 90))
            files.append(str(path))
        yield kind, files


def begin(way: str) -> None:
    """Load the detector of a process, and search once."""
    global _search
    rules = FaceRules()
    if way == "package":
        detector = MTCNNDetector()

        def search(files: list[str], side: int) -> list[np.ndarray]:
            here = dataclasses.replace(rules, photo_side=side)

            def one(file: str) -> np.ndarray:
                return np.array([face.box for face in photo_faces(Path(file).read_bytes(), detector, here)])

            return list(map_in_order(one, files, 1))

    else:
        import mtcnn

        peer = mtcnn.MTCNN()

        def search(files: list[str], side: int) -> list[np.ndarray]:
            return [_plain(peer, file, side) for file in files]

    _search = search


_search: Callable[[list[str], int], list[np.ndarray]]


def _plain(peer: Any, file: str, side: int) -> np.ndarray:
    """The boxes of a photo as a plain loop finds them, in pixels of the photo."""
    photo = shrink_photo(decode_photo(Path(file).read_bytes(), side), side)
    faces = peer.detect_faces(np.asarray(photo.image))
    boxes = np.array([face["box"] for face in faces], float).reshape(-1, 4)
    boxes[:, 2:] += boxes[:, :2]
    return boxes * photo.scale


def timed(files: list[str], side: int) -> tuple[list[np.ndarray], float, float]:
    """Search photos: boxes of each, seconds, and CPU seconds."""
    start, cpu = time.perf_counter(), time.process_time()
    boxes = _search(files, side)
    return boxes, time.perf_counter() - start, time.process_time() - cpu


def peak_mib() -> float:
    """The peak memory of this process; what `resource` gives begins with that of the process that started it."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) / 1024


def overlaps(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Intersection over union of boxes `[n, 4]` and `[m, 4]`: `[n, m]`."""
    first, second = np.reshape(first, (-1, 1, 4)), np.reshape(second, (1, -1, 4))
    common = np.prod(np.clip(np.minimum(first, second)[..., 2:] - np.maximum(first, second)[..., :2], 0, None), -1)
    areas = (np.prod(boxes[..., 2:] - boxes[..., :2], -1) for boxes in (first, second))
    return common / (sum(areas) - common)


def matches(first: np.ndarray, second: np.ndarray, least: float) -> tuple[np.ndarray, np.ndarray]:
    """Assign boxes to each other, each to one at most, that overlap by `least`: positions in both."""
    shares = overlaps(first, second)
    rows, columns = linear_sum_assignment(-shares)
    good = shares[rows, columns] >= least
    return rows[good], columns[good]


def speed(name: str, files: list[str], side: int, pools: dict[str, ProcessPoolExecutor], rounds: int) -> dict[str, Any]:
    """Measure both ways in turns on photos that are searched at `side` pixels: a row of the table."""
    seconds: dict[str, list[float]] = {way: [] for way in pools}
    cpu: dict[str, list[float]] = {way: [] for way in pools}
    boxes: dict[str, list[np.ndarray]] = {}
    for number in range(rounds + 1):
        for way, pool in pools.items():
            boxes[way], wall, used = pool.submit(timed, files, side).result()
            # The first round is not counted: TensorFlow prepares itself.
            if number:
                seconds[way].append(wall)
                cpu[way].append(used)
    agreed = sum(len(matches(*pair, AGREED)[0]) for pair in zip(*boxes.values()))
    counts = [sum(map(len, found)) for found in boxes.values()]
    rates = {way: len(files) / np.median(values) for way, values in seconds.items()}
    used = {way: np.median(values) / len(files) for way, values in cpu.items()}
    return {
        "photos": f"{len(files)} {name}",
        "searched at, px": side,
        "photos/s, ddl_tf": f"{rates['package']:.2f}",
        "loop": f"{rates['loop']:.2f}",
        "times": f"{np.median(np.divide(seconds['loop'], seconds['package'])):.1f}",
        "CPU s a photo, ddl_tf": f"{used['package']:.2f}",
        "loop ": f"{used['loop']:.2f}",
        "times ": f"{used['loop'] / used['package']:.1f}",
        "faces, ddl_tf": counts[0],
        "loop  ": counts[1],
        "the same": f"{agreed / max(1, sum(counts) - agreed):.2%}",
    }


def speeds(settings: Settings) -> None:
    """Print the speed, and the peak memory of each way."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        sets = dict(write_scenes(folder, settings))
        if settings.root:
            files = sorted(str(path) for path in Path(settings.root).rglob("*") if path.suffix.lower() in SUFFIXES)
            if not files:
                raise InputError(f"--root={settings.root}: no photo ({', '.join(SUFFIXES)}) is in it")
            sets["of --root"] = files
        pools = {way: stack.enter_context(spawned_processes(1, begin, way)) for way in ("package", "loop")}
        table = [speed(name, files, FaceRules.photo_side, pools, settings.rounds) for name, files in sets.items()]
        show(pd.DataFrame(table))
        peaks = {way: pool.submit(peak_mib).result() for way, pool in pools.items()}
    print(f"peak memory: ddl_tf {peaks['package']:,.0f} MiB, loop {peaks['loop']:,.0f} MiB\n")


def scene_results(settings: Settings, detector: Detector) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Search drawn scenes.

    Returns:
        A row for each true face: `side`, `yaw`, `found` (by the detector), `usable` (by the default rules) and `error`
        (of the landmarks, px of the aligned face); and for each face found where none is: `usable` and `side`.
    """
    rng = np.random.default_rng([settings.seed, settings.scenes])
    faces, false = [], []
    for scene in range(settings.scenes):
        people = rng.integers(100_000, size=6).tolist()
        bounds = {"sides": (SIZES[0], SIZES[-1]), "yaws": (-YAWS[-1], YAWS[-1])}
        photo = render_scene(people, scene, settings.seed, **bounds)
        found = photo_faces(encode_jpeg(Image.fromarray(photo.image)), detector)
        boxes = photo.faces[list(BOX_COLUMNS)].to_numpy()
        points = photo.faces[list(LANDMARK_COLUMNS)].to_numpy().reshape(-1, 5, 2)
        rows, columns = matches(boxes, np.array([face.box for face in found]), FOUND)
        matched = dict(zip(rows.tolist(), columns.tolist()))
        for number, (box, yaw) in enumerate(zip(boxes, photo.faces["yaw"])):
            row = {"side": np.min(box[2:] - box[:2]), "yaw": abs(yaw), "found": number in matched}
            row |= {"usable": False, "error": np.nan}
            if number in matched:
                face = found[matched[number]]
                scale = np.linalg.norm(similarity_transform(points[number], ARCFACE_TEMPLATE)[:, 0])
                row["error"] = scale * np.linalg.norm(face.landmarks - points[number], axis=1).mean()
                row["usable"] = not face.refused
            faces.append(row)
        for number in set(range(len(found))) - set(matched.values()):
            false.append({"side": found[number].side, "usable": not found[number].refused})
    return pd.DataFrame(faces), pd.DataFrame(false, columns=["side", "usable"])


def accuracy(settings: Settings) -> None:
    """Print what is found of the faces of drawn scenes, by size and by yaw."""
    faces, false = scene_results(settings, MTCNNDetector())
    for name, column, edges, rows in (
        ("side of the face, px", "side", SIZES, faces[faces["yaw"] < YAWS[2]]),
        ("yaw, degrees", "yaw", YAWS, faces[faces["side"] >= SIZES[2]]),
    ):
        bins = pd.cut(rows[column], edges, right=False)
        show(
            pd.DataFrame(
                {
                    name: f"{part.left:.0f} to {part.right:.0f}",
                    "faces": len(group),
                    "found": f"{group['found'].mean():.0%}",
                    "usable": f"{group['usable'].mean():.0%}",
                    "landmarks off, px": f"{group['error'].median():.1f}",
                    "9 of 10 below": f"{group['error'].quantile(0.9):.1f}",
                }
                for part, group in rows.groupby(bins, observed=True)
            )
        )
    counts = f"{faces['found'].sum()} found, {faces['usable'].sum()} usable"
    print(
        f"{len(faces)} faces in {settings.scenes} photos: {counts}; {len(false)} false, {false['usable'].sum()} usable"
    )


def show(table: pd.DataFrame) -> None:
    """Print a table as Markdown."""
    print("|", " | ".join(table.columns), "|\n|" + " --- |" * len(table.columns))
    for row in table.itertuples(index=False):
        print("|", " | ".join(map(str, row)), "|")
    print(flush=True)


def main(settings: Settings) -> None:
    """Print all tables.

    Args:
        settings: the flags.
    """
    if settings.rounds:
        speeds(settings)
    if settings.scenes:
        accuracy(settings)


if __name__ == "__main__":
    command.run(main, Settings)
