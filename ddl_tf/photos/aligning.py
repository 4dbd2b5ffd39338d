"""The faces of all images below a folder, aligned, under the same names: for sets whose release is not aligned."""

import csv
import dataclasses
import json
from collections import Counter
from pathlib import Path
from typing import Optional

from PIL import Image

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder, walk_files, write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.common.settings import required, setting
from ddl_tf.common.text import visible, visible_if_needed
from ddl_tf.detection import DetectionSettings, Detector, FaceRules
from ddl_tf.detection.choice import CHOICES, choose_face
from ddl_tf.detection.usable import usable_faces
from ddl_tf.images.pillow_images import encode_jpeg, encode_png
from ddl_tf.images.template import TEMPLATE_SIZE
from ddl_tf.importers.image_files import read_sample
from ddl_tf.importers.source import Problem

# What was left out, and what the files of the folder follow from.
PROBLEMS, RECORD = "left_out.csv", ".aligned.json"


@dataclasses.dataclass
class AlignSettings(DetectionSettings):
    """Which images, and where the aligned faces go."""

    root: Optional[str] = setting(None, "The folder of images, in folders of any depth; required.")
    output: Optional[str] = setting(None, "The folder for the aligned faces, under the same names; required.")
    face: str = setting("largest", "Which face of several: the largest, or the nearest to the centre.", choices=CHOICES)


def align_folder(settings: AlignSettings, detector: Optional[Detector] = None) -> dict[str, int]:
    """Write the face of each image below a folder, aligned, under the same name into another folder.

    JPEG files become JPEG of quality 95, all others PNG. An interrupted call, made again, goes on with what is not yet
    there. Images without a usable face are listed in `left_out.csv` of the output.

    Args:
        settings: which images, and where the faces go.
        detector: another detector than MTCNN of the settings.

    Returns:
        How many images were left out, by kind of problem; "written": the number of files that are there now.

    Raises:
        InputError: if there are no images, or the output holds what is not of this command.
    """
    required(settings, "root", "output")
    root, output = Path(str(settings.root)), Path(str(settings.output))
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; give one that holds images")
    if root.resolve() in (output.resolve(), *output.resolve().parents):
        raise InputError(f"--output={output} is in --root={root}: choose a folder beside it")
    files, rules = walk_files(root), settings.rules()
    if not files:
        raise InputError(f"{root}: there are no files in it; give a folder of images")
    detector = detector or settings.detector()
    output.mkdir(parents=True, exist_ok=True)
    with lock_folder(output, ".lock"):
        _claim(output, [str(root.resolve()), detector.name, dataclasses.astuple(rules), settings.face])

        def align(path: Path) -> Optional[Problem]:
            target = output / path.relative_to(root)
            return None if target.exists() else _align(path, target, detector, rules, settings.face)

        problems = []
        with Progress("align", len(files)) as progress:
            # Of one each: a file may have tens of megabytes.
            for problem in map_in_order(align, files, 1):
                if problem:
                    progress.write(f"left out: {visible(str(problem))}")
                    problems.append(problem)
                progress.advance()
        with write_aside(output / PROBLEMS) as aside, aside.open("w", newline="", encoding="utf-8") as file:
            rows = [tuple(map(visible_if_needed, dataclasses.astuple(problem))) for problem in problems]
            csv.writer(file).writerows([("kind", "source", "reason"), *rows])
    return {**Counter(problem.kind for problem in problems), "written": len(files) - len(problems)}


def _claim(output: Path, made_by: list[object]) -> None:
    """Take a folder that is empty, or was made by the same call."""
    record = {"ddl_tf": ddl_tf.__version__, "made_by": json.loads(json.dumps(made_by))}
    file = output / RECORD
    if file.is_file():
        if json.loads(file.read_text(encoding="utf-8")) != record:
            raise InputError(f"{output} holds faces of other images or settings: choose another --output")
        return
    if any(entry.name != ".lock" for entry in output.iterdir()):
        raise InputError(f"{output} holds what is not of this command: choose another --output")
    with write_aside(file) as aside:
        aside.write_text(json.dumps(record), encoding="utf-8")


def _align(path: Path, target: Path, detector: Detector, rules: FaceRules, choice: str) -> Optional[Problem]:
    """Write the face of an image, or say why there is none."""
    sample = read_sample(path, str(path), "", str(path))
    if isinstance(sample, Problem):
        return sample
    faces, _, kind, reason = usable_faces(sample.image, detector, rules, TEMPLATE_SIZE)
    number = choose_face(faces, choice)
    if number is None:
        return Problem(kind, str(path), reason)
    is_jpeg = target.suffix.lower() in (".jpg", ".jpeg")
    with write_aside(target) as aside:
        face = Image.fromarray(faces[number].crop)
        aside.write_bytes(encode_jpeg(face) if is_jpeg else encode_png(face))
    return None
