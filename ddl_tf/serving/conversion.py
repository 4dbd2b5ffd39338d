"""A model as files for other runtimes, and what each is worth: size, speed, and how far its embeddings are off."""

import dataclasses
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH, markdown_table
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import as_embedding_model
from ddl_tf.evaluation.pairs import verify
from ddl_tf.images.decoding import decode_image, resize_images, why_undecodable
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.runtimes.views import unit
from ddl_tf.serving.formats import KINDS, file_size

# How far the norm of an embedding may be from 1: bfloat16 rounds each number by at most 0.4%.
_NORM_TOLERANCE = 0.01


def draw_images(path: str, counts: Sequence[int], size: tuple[int, int], seed: int = 0) -> list[np.ndarray]:
    """Draw images of a stored set at random, none twice: uint8 `[count, height, width, 3]` RGB for each count."""
    faces = Faces([path])
    if sum(counts) > len(faces):
        wanted = " + ".join(map(str, counts))
        raise InputError(f"{path}: {len(faces):,} images, where {wanted} are to be drawn; draw fewer")
    rows = np.random.default_rng(seed).permutation(len(faces))[: sum(counts)]
    images = []
    for row, encoded in zip(rows.tolist(), faces.read(rows)):
        reason = why_undecodable(encoded)
        if reason is not None:
            raise InputError(f"{path}: image {row} cannot be decoded ({reason}); prepare the set again")
        images.append(np.rint(resize_images(decode_image(encoded), size)).astype(np.uint8))
    return np.split(np.stack(images), np.cumsum(counts)[:-1])


@dataclasses.dataclass(frozen=True)
class Measured:
    """What a file, or the model itself ("keras"), is worth; `size` is in bytes, `verification` is of `verify`.

    The distances are 1 - cosine to the model's embedding of an image; `ms` is the median of images embedded alone.
    """

    format: str
    size: int
    largest_distance: float
    mean_distance: float
    ms: float
    verification: Optional[dict[str, Any]]


def measure_model(
    model: tf.keras.Model, images: np.ndarray, pairs: Optional[PairSet] = None, flip: bool = False
) -> tuple[Measured, np.ndarray]:
    """Measure the model that files are compared with; return its unit embeddings `[n, dim]` of the images too."""
    call = tf.function(lambda image: model(image, training=False))

    def embed(batch: np.ndarray) -> np.ndarray:
        views = [batch, batch[:, :, ::-1]] if flip else [batch]
        return unit(sum(call(view.astype(np.float32)).numpy().astype(np.float32) for view in views))

    rows, ms = _one_by_one(embed, images)
    verification = verify(pairs, embed_images(model, pairs.images, pairs.name, flip)) if pairs else None
    size = sum(int(np.prod(weight.shape)) * tf.as_dtype(weight.dtype).size for weight in model.weights)
    return Measured("keras", size, 0.0, 0.0, ms, verification), rows


def measure_file(
    path: Path,
    format: str,
    images: np.ndarray,
    reference: np.ndarray,
    pairs: Optional[PairSet] = None,
    threads: Optional[int] = None,
) -> Measured:
    """Measure a converted model; `reference` are the model's unit embeddings `[n, dim]` of the images.

    A file that gives an embedding without unit norm is an InputError, also if it does for a black or white image alone.
    """
    embedder = KINDS[format].embedder(str(path), threads=threads)
    rows, ms = _one_by_one(embedder.embed, images)
    plain = np.stack([np.full_like(images[0], value) for value in (0, 255)])
    norms = np.linalg.norm(embedder.run(np.concatenate([images, plain])).astype(np.float64), axis=1)
    wrong = norms[~(np.abs(norms - 1) < _NORM_TOLERANCE)]
    if len(wrong):
        raise InputError(
            f"{path}: {len(wrong):,} of {len(norms):,} embeddings have no norm of 1 but such as {wrong[0]:.3g}; "
            "calibrate on images like those that will be embedded, or use another format"
        )
    # In float64, and by the difference: 1 - cosine in float32 is noise where the two are nearly the same.
    distance = np.sum((unit(rows.astype(np.float64)) - unit(reference.astype(np.float64))) ** 2, axis=1) / 2
    verification = None
    if pairs:
        # A file that was written with `flip` mirrors images itself.
        embeddings = embed_images(as_embedding_model(embedder, format), pairs.images, pairs.name, flip=False)
        verification = verify(pairs, embeddings)
    return Measured(format, file_size(path), float(distance.max()), float(distance.mean()), ms, verification)


def _one_by_one(embed: Any, images: np.ndarray) -> tuple[np.ndarray, float]:
    for _ in range(3):  # the first ones wait for memory
        embed(images[:1])
    rows, seconds = [], []
    for image in images:
        began = time.perf_counter()
        rows.append(embed(image[np.newaxis]))
        seconds.append(time.perf_counter() - began)
    return np.concatenate(rows), 1e3 * float(np.median(seconds))


def table(measured: Sequence[Measured]) -> str:
    """Write what files are worth as a Markdown table; accuracy and so on only where a set was verified."""
    rows = []
    for form in measured:
        row = {"format": form.format, "size, MB": f"{form.size / 1e6:.2f}"}
        row |= {"largest distance": f"{form.largest_distance:.1e}", "mean distance": f"{form.mean_distance:.1e}"}
        row |= {"ms per image": f"{form.ms:.1f}"}
        if form.verification:
            rates = {"accuracy": form.verification["accuracy"], "AUC": form.verification["auc"]}
            rates.update({f"TAR at {far}": rate for far, rate in form.verification["tar"].items()})
            row.update({name: DASH if rate is None else f"{rate:.4f}" for name, rate in rates.items()})
        rows.append(row)
    return markdown_table(pd.DataFrame(rows))
