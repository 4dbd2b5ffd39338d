"""The embeddings of photos, of which some may be bad, by whatever holds a model."""

import dataclasses
from collections.abc import Sequence
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.evaluation.embed import add_views, predict_embeddings
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.model import is_exported, load_embedding_model, model_file
from ddl_tf.gallery.model_record import ModelRecord
from ddl_tf.gallery.photos import Photo, face_bytes
from ddl_tf.importers.source import Problem
from ddl_tf.models.image_size import image_size

# Encoded photos that are in memory at a time.
_CHUNK = 512
_REFERENCE_IMAGES = 4


@dataclasses.dataclass(frozen=True)
class Embedded:
    """The photos that could be embedded, `[photos, dim]` float32 of unit norm, and the problems of the others."""

    photos: list[Photo]
    embeddings: np.ndarray
    problems: list[Problem]


class PhotoEmbedder:
    """A model for photos.

    Args:
        model: a `.keras` checkpoint, the folder of a training run, or the version folder of an exported model.
        flip: whether to add the embedding of the mirrored image; by default yes, but not for exported models, which do
            it or not by themselves.
        batch_size: images a step.

    Raises:
        InputError: if there is no model, or `flip` is given for an exported one.
    """

    def __init__(self, model: str, flip: Optional[bool] = None, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise InputError(f"--batch_size={batch_size}: must be at least 1")
        file = model_file(model)
        if is_exported(file) and flip:
            raise InputError(f"{model}: an exported model adds the mirrored image or not by itself; leave out --flip")
        flip = not is_exported(file) if flip is None else flip
        self._model, self._batch_size = load_embedding_model(model), batch_size
        self._size = image_size(self._model)
        dim = int(self._model.output_shape[-1])
        self.record = ModelRecord(str(file.resolve()), fingerprint(file), dim, flip, self._reference(flip))

    def _reference(self, flip: bool) -> np.ndarray:
        # NumPy promises this generator's numbers to stay as they are.
        noise = np.random.RandomState(0).randint(0, 256, [_REFERENCE_IMAGES, *self._size, 3])
        views = [noise, noise[:, :, ::-1]] if flip else [noise]
        return add_views(np.stack([self._model(view.astype(np.float32)).numpy() for view in views], axis=1))

    def embed(self, photos: Sequence[Photo], name: str = "embed") -> Embedded:
        """Embed photos; `name` is for the progress."""
        kept: list[Photo] = []
        blocks = [np.empty([0, self.record.dim], np.float32)]
        problems: list[Problem] = []
        with Progress(name, len(photos)) as progress:
            for start in range(0, len(photos), _CHUNK):
                chunk = photos[start : start + _CHUNK]
                good: list[Photo] = []
                encoded: list[bytes] = []
                for photo, read in zip(chunk, map_in_order(lambda photo: face_bytes(photo, self._size), chunk)):
                    if isinstance(read, Problem):
                        problems.append(read)
                        progress.advance()
                    else:
                        good.append(photo)
                        encoded.append(read)
                views = predict_embeddings(self._model, encoded, self.record.flip, self._batch_size, progress)
                with np.errstate(invalid="ignore", over="ignore"):
                    rows = add_views(views)
                usable = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
                kept += [photo for photo, fine in zip(good, usable) if fine]
                problems += [
                    Problem("no embedding", photo.path, "the model's embedding is zero or not finite")
                    for photo, fine in zip(good, usable)
                    if not fine
                ]
                blocks.append(rows[usable])
        return Embedded(kept, np.concatenate(blocks), problems)
