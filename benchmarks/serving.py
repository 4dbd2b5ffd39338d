"""Embeddings a second and latency of one network in every form that it is served in, and by InsightFace's runtime path.

    python benchmarks/serving.py --insightface=CLONE [--backbone=iresnet18] [--model=runs/ddl]

prints the tables of docs/results/speed.md. The peer is InsightFace's `ArcFaceONNX`, taken at run time from a clone of
deepinsight/insightface, on the same ONNX file. All take turns, call by call, so that whatever else runs on the machine
slows all alike; all have the same number of threads. Needs tf2onnx, onnxruntime and opencv-python-headless.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import os
import platform
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf
from peers.insightface_onnx import arcface_onnx
from PIL import Image

from ddl_tf.common.settings import required, setting
from ddl_tf.evaluation.model import load_checkpoint_embedding
from ddl_tf.images.pillow_images import decode_image, encode_jpeg
from ddl_tf.models import build_embedding_model
from ddl_tf.models.recognizer import image_size
from ddl_tf.serving import OnnxEmbedder, TfliteEmbedder, export_model, write_onnx, write_tflite
from ddl_tf.synthetic.faces import synthetic_images

CALIBRATION = 32
PEER = "InsightFace ArcFaceONNX"
# The forms that compute what the model does; the others are close to it.
EXACT_DISTANCE, INT8_DISTANCE = 1e-5, 0.1


@dataclasses.dataclass
class Settings:
    """What to measure."""

    insightface: str = setting("", "A clone of deepinsight/insightface, bare or not; required.")
    model: Optional[str] = setting(None, "A checkpoint or run folder; default: --backbone with random weights.")
    backbone: str = setting("iresnet18", "The network without --model.")
    image_size: int = setting(112, "Side of the images without --model, in pixels.")
    batch_sizes: list[int] = setting([1, 4, 16, 64], "Images a call.")
    seconds: float = setting(20.0, "Time for each batch size of each table, of all forms together.")
    threads: int = setting(1, "Threads of every runtime.")
    int8: bool = setting(True, "Also measure int8, whose conversion takes the longest.")


@dataclasses.dataclass(frozen=True)
class Timed:
    """The seconds of each call of one form.

    Attributes:
        rate: images a second.
        percentiles: milliseconds of a call: 50, 95 and 99 of 100 calls take no longer.
        calls: how many.
    """

    rate: float
    percentiles: tuple[float, float, float]
    calls: int


def measure(forms: dict[str, Callable[[Any], Any]], inputs: Sequence[Any], seconds: float) -> dict[str, Timed]:
    """Time forms that take turns.

    Args:
        forms: name -> what is called with an input.
        inputs: batches; every form gets one after the other, the next ones at each turn.
        seconds: how long in all.

    Returns:
        What was measured, by the form's name.
    """
    taken: dict[str, list[float]] = {name: [] for name in forms}
    for call in forms.values():
        # The first call of a new batch size makes room for it.
        call(inputs[0])
    names, end, turn = list(forms), time.perf_counter() + seconds, 0
    while turn < 3 or time.perf_counter() < end:
        # Who is first changes, so that none always runs after the same one.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            batch = inputs[turn % len(inputs)]
            began = time.perf_counter()
            forms[name](batch)
            taken[name].append(time.perf_counter() - began)
        turn += 1
    size = len(inputs[0])
    return {
        name: Timed(size * len(seconds) / sum(seconds), tuple(1e3 * np.percentile(seconds, [50, 95, 99])), len(seconds))
        for name, seconds in taken.items()
    }


def show(measured: dict[int, dict[str, Timed]]) -> None:
    """Print a Markdown table: a line for each batch size and form; the ratio is of median times, above 1 is faster."""
    print("| images a call | form | embeddings/s | p50, ms | p95, ms | p99, ms | calls | speed against the peer |")
    print("|" + " --- |" * 8)
    for size, forms in measured.items():
        peer = next(timed for name, timed in forms.items() if name.startswith(PEER))
        for name, timed in forms.items():
            cells = [str(size), name, f"{timed.rate:,.1f}", *(f"{value:,.2f}" for value in timed.percentiles)]
            ratio = f"{peer.percentiles[0] / timed.percentiles[0]:.2f}"
            print("|", " | ".join([*cells, f"{timed.calls:,}", ratio]), "|")
    print()


def check(forms: dict[str, Callable[[Any], Any]], batch: Any) -> None:
    """Print how far the forms' embeddings are from those of the first.

    Args:
        forms: name -> what embeds a batch, not always to unit norm.
        batch: images.
    """
    rows = {name: np.asarray(call(batch), np.float64) for name, call in forms.items()}
    unit = {name: row / np.linalg.norm(row, axis=1, keepdims=True) for name, row in rows.items()}
    first = next(iter(unit.values()))
    for name, row in unit.items():
        distance = float(np.max(np.sum((row - first) ** 2, axis=1) / 2))
        print(f"{name}: largest cosine distance {distance:.1e}", file=sys.stderr)
        if not distance < (INT8_DISTANCE if "int8" in name else EXACT_DISTANCE):
            raise AssertionError(f"{name} computes something else: the largest cosine distance is {distance}")


def pixel_forms(settings: Settings, model: tf.keras.Model, folder: Path) -> tuple[dict[str, Any], Any]:
    """Write the model in every form.

    Args:
        settings: the flags.
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        folder: where to.

    Returns:
        Name -> from uint8 RGB images to embeddings; and the SavedModel.
    """
    threads, size = settings.threads, image_size(model)
    served = tf.saved_model.load(str(export_model(model, "model", str(folder))))
    write_onnx(model, folder / "model.onnx")
    write_tflite(model, folder / "float32.tflite")
    onnx, float32 = OnnxEmbedder(str(folder / "model.onnx"), threads=threads), _tflite(folder, "float32", threads)
    # Every form gets the whole batch at once.
    onnx.batch_size = max(settings.batch_sizes)
    peer = arcface_onnx(settings.insightface, str(folder / "model.onnx"), threads)
    from_images = served.signatures["serving_default"]
    forms = {
        "SavedModel": lambda images: from_images(image=tf.constant(images))["embedding"].numpy(),
        "ONNX": onnx.embed,
        "TFLite float32": float32.embed,
    }
    float32.batch_size = onnx.batch_size
    if settings.int8:
        write_tflite(model, folder / "int8.tflite", "int8", synthetic_images(CALIBRATION, size, seed=1))
        int8 = _tflite(folder, "int8", threads)
        int8.batch_size = onnx.batch_size
        forms["TFLite int8"] = int8.embed
    # It takes a list of BGR images, as OpenCV reads them.
    forms[PEER] = lambda images: peer.get_feat([image[:, :, ::-1] for image in images])
    return forms, (served, onnx, peer)


def _tflite(folder: Path, precision: str, threads: int) -> TfliteEmbedder:
    return TfliteEmbedder(str(folder / f"{precision}.tflite"), threads)


def bytes_forms(served: Any, onnx: OnnxEmbedder, peer: Any) -> dict[str, Any]:
    """Make the forms that decode JPEGs too.

    Args:
        served: the SavedModel.
        onnx: our ONNX embedder.
        peer: InsightFace's.

    Returns:
        Name -> from a list of encoded images of the network's size to embeddings.
    """
    import cv2

    def by_opencv(encoded: Sequence[bytes]) -> np.ndarray:
        return peer.get_feat([cv2.imdecode(np.frombuffer(image, np.uint8), cv2.IMREAD_COLOR) for image in encoded])

    return {
        "SavedModel serving_bytes": lambda encoded: served.signatures["serving_bytes"](
            image_bytes=tf.constant(encoded)
        )["embedding"].numpy(),
        "Pillow + ONNX": lambda encoded: onnx.embed(np.stack([decode_image(image) for image in encoded])),
        f"{PEER}, cv2.imdecode": by_opencv,
    }


def main(settings: Settings) -> None:
    """Measure all forms, and print the tables.

    Args:
        settings: the flags.
    """
    required(settings, "insightface", "batch_sizes")
    tf.config.threading.set_intra_op_parallelism_threads(settings.threads)
    tf.config.threading.set_inter_op_parallelism_threads(settings.threads)
    tf.keras.utils.set_random_seed(0)
    shape = (settings.image_size, settings.image_size, 3)
    model = (
        load_checkpoint_embedding(settings.model)
        if settings.model
        else build_embedding_model(settings.backbone, 512, shape)
    )
    images = synthetic_images(max(settings.batch_sizes), image_size(model))
    encoded = [encode_jpeg(Image.fromarray(image)) for image in images]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        forms, parts = pixel_forms(settings, model, Path(folder))
        check(forms, images[:4])
        with_decoding = bytes_forms(*parts)
        for named, source in ((forms, images), (with_decoding, encoded)):
            measured = {}
            for size in settings.batch_sizes:
                batches = [source[start : start + size] for start in range(0, len(source) - size + 1, size)]
                measured[size] = measure(named, batches, settings.seconds)
            show(measured)
    print(
        f"{settings.model or settings.backbone}, {'x'.join(map(str, image_size(model)))} px, {settings.threads} "
        f"thread(s), {os.cpu_count()} cores ({platform.machine()}), load average {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after, TensorFlow {tf.__version__}."
    )


if __name__ == "__main__":
    command.run(main, Settings)
