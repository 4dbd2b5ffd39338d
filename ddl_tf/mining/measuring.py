"""The measured quality of all images of stored sets, in parts that an interrupted command goes on from."""

import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.partial_folder import open_partial
from ddl_tf.common.progress import Progress
from ddl_tf.data.layout import INDEX_COLUMNS
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.images.pose import LANDMARK_COLUMNS, eye_distance_px, pose_from_landmarks
from ddl_tf.mining.columns import sets_record
from ddl_tf.mining.quality import QUALITY_COLUMNS, measure_many
from ddl_tf.runtimes.quality import OnnxQuality

# Images that are measured between two points that an interrupted command goes on from, and their files.
PART, PART_NAMES = 16_384, r"part-\d{5,}\.npy"
POSE_COLUMNS = ("measured_yaw", "measured_pitch", "measured_roll", "measured_eye_distance_px")


def measure_faces(faces: Faces, folder: Path) -> dict[str, np.ndarray]:
    """Measure the quality of every image, and the pose where the index has five landmarks.

    Args:
        faces: the images.
        folder: for the parts; whoever uses the result removes them by `discard`.

    Returns:
        Columns `[images]` float32: those of `QUALITY_COLUMNS`, NaN where an image cannot be decoded; with the columns
        `LANDMARK_COLUMNS` in the index those of `POSE_COLUMNS` too.

    Raises:
        InputError: if the folder holds parts of something else, or another process is at work in it.
    """
    record = {"measure": "quality", "ddl_tf": ddl_tf.__version__, "sets": sets_record(faces)}
    values = _in_parts(faces, folder, record, "measure", lambda *place: _measure_part(faces, *place))
    columns = dict(zip(QUALITY_COLUMNS, values.T))
    if all(name in faces.index for name in LANDMARK_COLUMNS):
        landmarks = faces.index[list(LANDMARK_COLUMNS)].to_numpy(np.float64).reshape(-1, 5, 2)
        pose = pose_from_landmarks(landmarks)
        measured = (pose.yaw, pose.pitch, pose.roll, eye_distance_px(landmarks))
        columns.update({name: values.astype(np.float32) for name, values in zip(POSE_COLUMNS, measured)})
    return columns


def measure_learned(faces: Faces, folder: Path, network: OnnxQuality) -> dict[str, np.ndarray]:
    """Measure the quality of every image by a network, as `measure_faces` does; the column is the network's."""
    if network.column in (*INDEX_COLUMNS, *QUALITY_COLUMNS, *POSE_COLUMNS):
        raise InputError(f"--quality_column={network.column}: that column has another meaning; choose another name")
    facts = {"network": fingerprint(Path(network.path)), "input": network.input_text}
    record = {"measure": "learned quality", **facts, "sets": sets_record(faces)}
    values = _in_parts(faces, folder, record, network.column, lambda *place: _learned_part(faces, network, *place))
    if unknown := int(np.isnan(values).sum()):
        where = int(np.argmax(np.isnan(values)))
        print(
            f"{network.column}: {unknown:,} of {len(values):,} images have none, such as image {where}: they cannot be "
            "decoded, or the network's number is not finite",
            file=sys.stderr,
        )
    return {network.column: values}


def _in_parts(
    faces: Faces,
    folder: Path,
    record: Mapping[str, Any],
    title: str,
    measure_part: Callable[[int, int, Progress], np.ndarray],
) -> np.ndarray:
    """Measure all images, part by part from a start to an end, each kept in the folder; see `measure_faces`."""
    starts = range(0, len(faces), PART)
    with open_partial(folder, dict(record), PART_NAMES):
        files = [folder / f"part-{number:05d}.npy" for number in range(len(starts))]
        done = sum(min(PART, len(faces) - start) for file, start in zip(files, starts) if file.exists())
        with Progress(title, len(faces), done) as progress:
            for file, start in zip(files, starts):
                if not file.exists():
                    part = measure_part(start, min(start + PART, len(faces)), progress)
                    with write_aside(file) as aside:
                        np.save(aside, part)
        return np.concatenate([np.load(file) for file in files])


def _learned_part(faces: Faces, network: OnnxQuality, start: int, end: int, progress: Progress) -> np.ndarray:
    """`[images]` float32 of a range of the images."""
    part = np.empty(end - start, np.float32)
    for position, value in enumerate(network.measure(iter(faces.images(range(start, end))))):
        part[position] = value
        progress.advance()
    return part


def _measure_part(faces: Faces, start: int, end: int, progress: Progress) -> np.ndarray:
    """`[images, columns]` float32 of a range of the images."""

    def report(position: int, reason: str) -> None:
        print(f"image {start + position} cannot be decoded ({reason}): it has no measures", file=sys.stderr)

    part = np.empty([end - start, len(QUALITY_COLUMNS)], np.float32)
    for position, measured in enumerate(measure_many(iter(faces.images(range(start, end))), report)):
        part[position] = [measured[name] for name in QUALITY_COLUMNS]
        progress.advance()
    return part
