"""Embeddings a second and latency of one network in every form that it is served in, and by InsightFace's runtime path.

    python benchmarks/serving.py --insightface=CLONE [--backbone=iresnet18] [--model=runs/ddl]

prints the tables of docs/results/speed.md. The peer is InsightFace's `ArcFaceONNX`, taken at run time from a clone of
deepinsight/insightface, on the same ONNX file, and on that network as PyTorch exports it: with PRelu in one operation.
All take turns, call by call, so that whatever else runs on the machine slows all alike; all have the same number of
threads. Wall time and CPU time are medians. Needs tf2onnx, onnxruntime, openvino, nncf and opencv-python-headless.
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
import onnx as onnx_package
import tensorflow as tf
from peers.insightface_onnx import arcface_onnx
from PIL import Image

from ddl_tf.common.keras_version import all_layers
from ddl_tf.common.settings import required, setting
from ddl_tf.evaluation.model import load_checkpoint_embedding
from ddl_tf.images.pillow_images import decode_image, encode_jpeg
from ddl_tf.models import build_embedding_model
from ddl_tf.models.recognizer import image_size
from ddl_tf.runtimes.onnx import merge_prelus
from ddl_tf.serving import OnnxEmbedder, export_model
from ddl_tf.serving.formats import KINDS, write_format
from ddl_tf.synthetic.faces import synthetic_images

CALIBRATION = 32
PEER = "InsightFace ArcFaceONNX"
# The forms that compute what the model does; the others are close to it.
EXACT_DISTANCE, CLOSE_DISTANCE = 1e-5, 0.3
# Seconds between calls: threads of the runtime before wait for more work for a while, and keep the cores busy with it.
PAUSE = 0.05
CPU_FEATURES = ("avx2", "avx512f", "avx512_vnni", "avx_vnni", "avx512_bf16", "amx_bf16", "amx_int8")


@dataclasses.dataclass
class Settings:
    """What to measure."""

    insightface: str = setting("", "A clone of deepinsight/insightface, bare or not; required.")
    model: Optional[str] = setting(None, "A checkpoint or run folder; default: --backbone with random weights.")
    backbone: str = setting("iresnet18", "The network without --model.")
    image_size: int = setting(112, "Side of the images without --model, in pixels.")
    batch_sizes: list[int] = setting([1, 4, 16, 64], "Images a call.")
    rounds: int = setting(11, "Calls of each form, batch size and table.")
    threads: int = setting(1, "Threads of every runtime.")
    forms: list[str] = setting([], "Measure these alone, of the names in the table, beside the peer; default: all.")
    files: Optional[str] = setting(
        None, "Keep the files in this folder, and use those of an earlier call with the same."
    )
    decoding: bool = setting(True, "Also measure from JPEG bytes.")


@dataclasses.dataclass(frozen=True)
class Timed:
    """The seconds of each call of one form.

    Attributes:
        rate: images a second, at the median.
        percentiles: milliseconds of a call: 50 and 95 of 100 calls take no longer.
        cpu: milliseconds of CPU time of all threads, the median.
    """

    rate: float
    percentiles: tuple[float, float]
    cpu: float


def random_model(backbone: str, side: int) -> tf.keras.Model:
    """Make a network of random weights whose normalisations know their images: else the values of deep ones overflow.

    Args:
        backbone: its name.
        side: of the images, in pixels.

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, 512]`.
    """
    model = build_embedding_model(backbone, 512, (side, side, 3))
    for layer in all_layers(model):
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.momentum = 0.0
    model(synthetic_images(16, (side, side), seed=2).astype(np.float32), training=True)
    return model


def measure(forms: dict[str, Callable[[Any], Any]], inputs: Sequence[Any], rounds: int) -> dict[str, Timed]:
    """Time forms that take turns.

    Args:
        forms: name -> what is called with an input.
        inputs: batches; every form gets one after the other, the next ones at each turn.
        rounds: how many turns.

    Returns:
        What was measured, by the form's name.
    """
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in forms}
    for call in forms.values():
        # The first call of a new batch size makes room for it.
        call(inputs[0])
    names = list(forms)
    for turn in range(rounds):
        # Who is first changes, so that none always runs after the same one.
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            batch = inputs[turn % len(inputs)]
            time.sleep(PAUSE)
            # As in a stream of calls: its weights are in the CPU's memory again.
            forms[name](batch)
            began, cpu = time.perf_counter(), time.process_time()
            forms[name](batch)
            taken[name].append((time.perf_counter() - began, time.process_time() - cpu))
    size, measured = len(inputs[0]), {}
    for name, pairs in taken.items():
        wall, cpu_time = 1e3 * np.array(pairs).T
        measured[name] = Timed(1e3 * size / np.median(wall), tuple(np.percentile(wall, [50, 95])), np.median(cpu_time))
    return measured


def show(measured: dict[int, dict[str, Timed]]) -> None:
    """Print a Markdown table: a line for each batch size and form; ratios are of medians, above 1 is faster."""
    names = (
        "images a call",
        "form",
        "embeddings/s",
        "p50, ms",
        "p95, ms",
        "CPU, ms",
        "speed against the peer",
        "by CPU",
    )
    print("|", " | ".join(names), "|")
    print("|" + " --- |" * len(names))
    for size, forms in measured.items():
        peer = next(timed for name, timed in forms.items() if name.startswith(PEER))
        for name, timed in forms.items():
            numbers = (*timed.percentiles, timed.cpu)
            ratios = peer.percentiles[0] / timed.percentiles[0], peer.cpu / timed.cpu
            cells = [str(size), name, f"{timed.rate:,.1f}", *(f"{value:,.2f}" for value in (*numbers, *ratios))]
            print("|", " | ".join(cells), "|")
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
        if not distance < (CLOSE_DISTANCE if "int8" in name or "bfloat16" in name else EXACT_DISTANCE):
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
    calibration = synthetic_images(CALIBRATION, image_size(model), seed=1)
    version = folder / "model/1"
    served = tf.saved_model.load(str(version if version.exists() else export_model(model, "model", str(folder))))
    from_images = served.signatures["serving_default"]
    forms = {"SavedModel": lambda images: from_images(image=tf.constant(images))["embedding"].numpy()}
    cpu_has_bfloat16 = "avx512_bf16" in cpu_flags() or "amx_bf16" in cpu_flags()
    for name, kind in KINDS.items():
        is_wanted = name in settings.forms if settings.forms else name not in ("tflite_float16", "tflite_dynamic")
        if name != "onnx" and (not is_wanted or (name == "openvino_bfloat16" and not cpu_has_bfloat16)):
            continue
        if not (folder / kind.file).exists():
            write_format(model, folder, name, calibration)
        embedder = kind.embedder(str(folder / kind.file), threads=settings.threads)
        # Every form gets the whole batch at once.
        embedder.batch_size = max(settings.batch_sizes)
        forms[name] = embedder.embed
        if name == "onnx":
            onnx = embedder
    network = onnx_package.load(folder / "model.onnx")
    merge_prelus(network)
    onnx_package.save(network, folder / "prelu.onnx")
    for name, file in ((PEER, "model.onnx"), (f"{PEER}, PRelu", "prelu.onnx")):
        peer = arcface_onnx(settings.insightface, str(folder / file), settings.threads)
        # It takes a list of BGR images, as OpenCV reads them.
        forms[name] = lambda images, peer=peer: peer.get_feat([image[:, :, ::-1] for image in images])
    if settings.forms:
        forms = {name: call for name, call in forms.items() if name in settings.forms or name.startswith(PEER)}
    return forms, (served, onnx, peer)


def cpu_flags() -> set[str]:
    """The instructions that this CPU has, by Linux's names."""
    info = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    return {flag for line in info.splitlines() if line.startswith("flags") for flag in line.split(":")[1].split()}


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
    if settings.model:
        model = load_checkpoint_embedding(settings.model)
    else:
        model = random_model(settings.backbone, settings.image_size)
    images = synthetic_images(max(settings.batch_sizes), image_size(model))
    encoded = [encode_jpeg(Image.fromarray(image)) for image in images]
    load = os.getloadavg()[0]
    with tempfile.TemporaryDirectory() as folder:
        forms, parts = pixel_forms(settings, model, Path(settings.files or folder))
        check(forms, images[:4])
        with_decoding = bytes_forms(*parts)
        for named, source in ((forms, images), (with_decoding, encoded))[: 1 + settings.decoding]:
            measured = {}
            for size in settings.batch_sizes:
                batches = [source[start : start + size] for start in range(0, len(source) - size + 1, size)]
                measured[size] = measure(named, batches, settings.rounds)
            show(measured)
    features = [name for name in CPU_FEATURES if name in cpu_flags()]
    print(
        f"{settings.model or settings.backbone}, {'x'.join(map(str, image_size(model)))} px, {settings.threads} "
        f"thread(s), medians of {settings.rounds} rounds, {os.cpu_count()} cores ({platform.machine()} with "
        f"{', '.join(features) or 'none of the usual features'}), load average {load:.1f} before and "
        f"{os.getloadavg()[0]:.1f} after, TensorFlow {tf.__version__}."
    )


if __name__ == "__main__":
    command.run(main, Settings)
