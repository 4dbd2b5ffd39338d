"""Convert a trained model for other runtimes: ONNX, OpenVINO for fast CPUs, and TensorFlow Lite for phones.

    python -m ddl_tf.convert --model=runs/ddl --output=converted/ddl --formats=onnx,openvino_int8 --calibration=faces

writes model.onnx and model_int8.xml with its weights, and measures in a table and in conversion.json how far the
embeddings of each are from the model's.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import contextlib
import dataclasses
import json
import sys
from importlib import metadata
from pathlib import Path
from typing import Optional

import ddl_tf
from ddl_tf import evaluation, models, serving
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.provenance import command_line, utc_now
from ddl_tf.common.settings import required, setting
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.models.model_choice import find_checkpoint
from ddl_tf.protocols.pair_sets import read_stored
from ddl_tf.runtimes.formats import CALIBRATED, FORMATS, USUAL_FORMATS
from ddl_tf.synthetic.faces import synthetic_images

RECORD = "conversion.json"


@dataclasses.dataclass
class ConvertSettings:
    """What to convert, and to what."""

    model: str = setting("", "A .keras checkpoint, or the folder of a training run (its best checkpoint); required.")
    output: str = setting("", "The folder for the files; required.")
    formats: list[str] = setting(USUAL_FORMATS, f"What to write, of {', '.join(FORMATS)}.")
    calibration: Optional[str] = setting(
        None,
        "A stored set (`python -m ddl_tf.prepare`) of images like those that will be embedded: they set the ranges of "
        "int8 formats, and others of them are compared on; default: synthetic faces to compare on.",
    )
    calibration_images: int = setting(200, "Images of --calibration that set the ranges.")
    compared_images: int = setting(100, "Further images on which every file is compared with the model.")
    evaluate_pairs: Optional[str] = setting(
        None, "A stored verification set, to measure what each format loses of the accuracy."
    )
    flip: bool = setting(False, "Add the embedding of the mirrored image, at twice the cost.")
    threads: Optional[int] = setting(None, "Threads of every runtime; default: all cores.")
    seed: int = setting(0, "Seed of the draw of images.")


def main(settings: ConvertSettings) -> None:
    """Convert a model, and measure the files."""
    required(settings, "model", "output", "formats")
    for name in settings.formats:
        if name not in FORMATS:
            raise InputError(f"--formats={name}: use some of {', '.join(FORMATS)}")
        if name in CALIBRATED and not settings.calibration:
            raise InputError(f"--formats={name} needs --calibration: images set the ranges of its activations")
    for name in ("calibration_images", "compared_images", "threads"):
        value = getattr(settings, name)
        if value is not None and value < 1:
            raise InputError(f"--{name}={value}: must be at least 1")
    pairs = read_stored(settings.evaluate_pairs) if settings.evaluate_pairs else None
    model = evaluation.model.load_checkpoint_embedding(settings.model)
    size, calibration = models.recognizer.image_size(model), None
    if settings.calibration:
        counts = (settings.calibration_images, settings.compared_images)
        calibration, images = serving.conversion.draw_images(settings.calibration, counts, size, settings.seed)
    else:
        images = synthetic_images(settings.compared_images, size, settings.seed)
    folder = Path(settings.output)
    keras, reference = serving.conversion.measure_model(model, images, pairs, settings.flip)
    measured, files = [keras], {}
    # A record of before would speak of files that are replaced now.
    (folder / RECORD).unlink(missing_ok=True)
    for name in dict.fromkeys(settings.formats):
        path = serving.formats.write_format(model, folder, name, calibration, settings.flip)
        measured.append(serving.conversion.measure_file(path, name, images, reference, pairs, settings.threads))
        shape = ["batch", *size, 3] if path.suffix == ".tflite" else ["batch", 3, *size]
        files[name] = {
            "file": path.name,
            "sha256": fingerprint(path),
            "computes": serving.formats.KINDS[name].computes,
            "input": {"name": "image", "dtype": "float32", "shape": shape, "values": "RGB, 0..255"},
            "output": {"name": "embedding", "dtype": "float32", "shape": ["batch", model.output_shape[1]], "norm": 1},
        }
        print(path, file=sys.stderr)
    checkpoint, versions = find_checkpoint(settings.model), {"ddl_tf": ddl_tf.__version__}
    for package in ("tensorflow", "tf2onnx", "onnx", "onnxruntime", "openvino", "nncf"):
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    record = {
        "model": str(checkpoint.resolve()),
        "sha256": fingerprint(checkpoint),
        "input_size": list(size),
        "flip": settings.flip,
        "compared_on": settings.calibration or "synthetic faces",
        "settings": dataclasses.asdict(settings),
        "command": command_line(),
        "created": utc_now(),
        "versions": versions,
        "files": files,
        "measured": [dataclasses.asdict(form) for form in measured],
    }
    with write_aside(folder / RECORD) as aside:
        aside.write_text(json.dumps(record, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    print(serving.conversion.table(measured))


if __name__ == "__main__":
    command.run(main, ConvertSettings)
