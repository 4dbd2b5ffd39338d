"""What the name of a head and the path of a model stand for; nothing here needs TensorFlow."""

from pathlib import Path

from ddl_tf.common.errors import InputError

# Name -> class in `ddl_tf.layers`.
HEAD_CLASSES = {
    "arcface": "ArcFace",
    "cosface": "CosFace",
    "curricularface": "CurricularFace",
    "adaface": "AdaFace",
    "magface": "MagFace",
    "subcenter_arcface": "SubCenterArcFace",
}
# For networks that are not ours.
OTHER_NETWORKS = (
    "; of another network take the ONNX (.onnx) or TensorFlow Lite (.tflite) file, its embeddings (--embeddings), or "
    "for InsightFace's state dicts `python -m ddl_tf.prepare weights`"
)


def is_exported(path: Path) -> bool:
    """Whether a path is the version folder of an exported model."""
    return (path / "saved_model.pb").is_file()


def find_checkpoint(path: str) -> Path:
    """Find the `.keras` file of a path: itself, or of a training run the best checkpoint, else the last one."""
    place = Path(path)
    if place.is_file():
        return place
    if not place.exists():
        raise InputError(f"no model at {path}: give a .keras checkpoint or the folder of a training run")
    if is_exported(place):
        raise InputError(f"{path} is an exported model, not a checkpoint: give the .keras file or run it came from")
    for checkpoint in (place / "checkpoints/best.keras", place / "checkpoints/last.keras"):
        if checkpoint.is_file():
            return checkpoint
    raise InputError(
        f"no checkpoint in {path}: a training run has checkpoints/best.keras or checkpoints/last.keras, "
        f"an exported model saved_model.pb (give its version folder){OTHER_NETWORKS}"
    )


def model_file(path: str) -> Path:
    """Find the file, or the version folder of an exported model, whose content identifies a model."""
    return Path(path) if is_exported(Path(path)) else find_checkpoint(path)
