"""A trained model's own view of every image: how near it is to its class center, and to others."""

import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.data.pipeline import check_rows
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import Embeddings, embed_to_file, recorded_fingerprint
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.layers import MarginHead
from ddl_tf.mining.columns import sets_record
from ddl_tf.mining.labels import mean_sums
from ddl_tf.models import embedding_model, load_checkpoint
from ddl_tf.models.model_choice import find_checkpoint, is_exported
from ddl_tf.runtimes.views import UndecodableError, unit

VIEW_COLUMNS = ("feature_norm", "center_similarity", "other_similarity", "center_margin", "target_logit")

# Similarities that are in memory at a time.
_BLOCK_ELEMENTS = 2**24


def measure_view(
    embeddings: Embeddings,
    identity: np.ndarray,
    num_identities: int,
    head: Optional[MarginHead] = None,
    other_centers: bool = True,
) -> dict[str, np.ndarray]:
    """Measure how a model sees every image, by its embedding: `VIEW_COLUMNS`, `[images]` float32.

    Class centers are the head's, or without one the mean embeddings of the identities: then an image is compared with
    the mean of the other images of its identity (NaN for the only one). Without `other_centers` the similarity to the
    nearest center of another identity, the margin to it and the head's logit under its margin are left out.
    """
    counts = np.bincount(identity, minlength=num_identities)
    if head is None:
        sums = mean_sums(embeddings, identity, num_identities)
        centers = unit(sums)
    else:
        centers = head.normalized_centers().numpy()
    columns = {name: np.full(len(identity), np.nan, np.float32) for name in ("feature_norm", "center_similarity")}
    if other_centers:
        names = ["other_similarity", "center_margin"] + (["target_logit"] if head is not None else [])
        columns.update({name: np.full(len(identity), np.nan, np.float32) for name in names})
    block = max(1, _BLOCK_ELEMENTS // max(num_identities, embeddings.shape[1])) if other_centers else 2**14
    on_device = tf.constant(centers, tf.float32)
    with Progress("compare", len(identity)) as progress:
        for start, rows in embeddings.chunks(min(block, 2**14)):
            span = slice(start, start + len(rows))
            people, normal = identity[span], unit(rows)
            columns["feature_norm"][span] = np.linalg.norm(rows, axis=1)
            if head is None:
                rest = sums[people] - normal
                with np.errstate(invalid="ignore", divide="ignore"):
                    near = np.sum(normal * rest, axis=1) / np.linalg.norm(rest, axis=1)
                near = np.where(counts[people] > 1, near, np.nan)
            else:
                near = np.sum(normal * centers[people], axis=1)
            columns["center_similarity"][span] = near
            if other_centers and len(centers) > 1:
                far = _similarities_to_others(tf.constant(normal), on_device, tf.constant(people)).numpy()
                columns["other_similarity"][span] = far
                columns["center_margin"][span] = near - far
            if other_centers and head is not None:
                logits = head(tf.constant(rows), tf.constant(people))
                # Of compact logits the first column is the target's.
                target = logits[:, 0] if head.compact else tf.gather(logits, people, batch_dims=1)
                columns["target_logit"][span] = target.numpy()
            progress.advance(len(rows))
    if lonely := int(np.isnan(columns["center_similarity"]).sum()):
        print(f"{lonely:,} images are the only one of their identity: no center to compare with", file=sys.stderr)
    return columns


@tf.function(reduce_retracing=True)
def _similarities_to_others(rows: tf.Tensor, centers: tf.Tensor, people: tf.Tensor) -> tf.Tensor:
    similarity = tf.matmul(rows, centers, transpose_b=True)
    positions = tf.stack([tf.range(tf.shape(people)[0], dtype=people.dtype), people], axis=1)
    # -2 is below every cosine.
    return tf.reduce_max(tf.tensor_scatter_nd_update(similarity, positions, tf.fill(tf.shape(people), -2.0)), axis=1)


def embed_faces(
    model: tf.keras.Model, faces: Faces, folder: Path, record: Mapping[str, Any], batch_size: int = 256
) -> Embeddings:
    """Embed stored faces into `folder/embeddings.npy`, or take up what is there already.

    An interrupted call, made again, goes on after the last whole chunk. Embeddings of another record (all that they
    follow from, as JSON takes it) are replaced.
    """
    try:
        return embed_to_file(model, faces.images(), False, folder, record, batch_size)
    except UndecodableError as error:
        check_rows(faces, np.array([error.position]))
        raise


class Viewer:
    """A model that mines: from the path that a user gives to embeddings and the columns of its view.

    Args:
        path: a `.keras` checkpoint, the folder of a training run, or of an exported model's version.
        batch_size: images a step.

    Raises:
        InputError: if there is no such model, or it cannot be loaded.
    """

    def __init__(self, path: Optional[str], batch_size: int = 256) -> None:
        if not path:
            raise InputError("no model is given: name a .keras checkpoint or the folder of a training run")
        if batch_size < 1:
            raise InputError(f"the batch size must be at least 1, got {batch_size}")
        self._path, self._batch_size = path, batch_size
        self._file = Path(path) if is_exported(Path(path)) else find_checkpoint(path)
        exported = is_exported(self._file)
        self._model = load_embedding_model(path) if exported else load_checkpoint(self._file)
        self._embedder = embedding_model(self._model)

    def head(self, faces: Faces) -> MarginHead:
        """Return the margin head; an `InputError` if there is none, or it has another number of identities."""
        heads = [layer for layer in self._model.layers if isinstance(layer, MarginHead)]
        if not heads:
            raise InputError(f"{self._file} has no head: use --centers=mean")
        if heads[0].num_classes != faces.num_identities:
            raise InputError(
                f"the head of {self._file} has {heads[0].num_classes} identities, the sets {faces.num_identities}: "
                "give the sets that it was trained on, in that order, or use --centers=mean"
            )
        return heads[0]

    def embed(self, faces: Faces, folder: Path) -> Embeddings:
        """Embed the faces, `[images, dim]`, or take up the embeddings that are in `folder`."""
        record = {"model": recorded_fingerprint(folder, self._file), "sets": sets_record(faces)}
        return embed_faces(self._embedder, faces, folder, record, self._batch_size)

    def measure(
        self, faces: Faces, folder: Path, head: Optional[MarginHead], other_centers: bool
    ) -> dict[str, np.ndarray]:
        """Measure how the model sees every image; see `measure_view`. The embeddings are kept in `folder`."""
        identity = faces.index["identity"].to_numpy(np.int64)
        return measure_view(self.embed(faces, folder), identity, faces.num_identities, head, other_centers)
