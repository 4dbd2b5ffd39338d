"""Photos, or the faces that are found in them, embedded by a model: a few at a time are in memory."""

import contextlib
import functools
from collections.abc import Iterator, Sequence
from typing import NamedTuple, Optional

import numpy as np

from ddl_tf import evaluation, images, models
from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.gallery.enrolment_quality import EnrolmentQuality
from ddl_tf.gallery.faces import Cut, FaceFinder
from ddl_tf.gallery.photos import Photo, face_bytes
from ddl_tf.gallery.store import ModelRecord
from ddl_tf.images import pillow_images
from ddl_tf.importers.source import Problem
from ddl_tf.models.model_choice import is_exported, model_file
from ddl_tf.runtimes.embedders import RUNTIMES, open_embedder
from ddl_tf.runtimes.encoded import embed_encoded
from ddl_tf.runtimes.views import add_views

# Encoded photos that are in memory at a time; of photos that are searched, their faces.
_CHUNK, _SEARCHED_CHUNK = 512, 64


class Embedded(NamedTuple):
    """What became of photos.

    Attributes:
        photos: those that could be embedded; of photos in which faces were looked for one for each face.
        embeddings: `[photos, dim]` float32 of unit norm.
        problems: those of the others.
        refused: faces that are not usable, beside usable ones.
    """

    photos: list[Photo]
    embeddings: np.ndarray
    problems: list[Problem]
    refused: list[Photo]


class _Runtime:
    """A network in a file of another runtime, for which TensorFlow is not imported: that takes longer than a search."""

    def __init__(self, model: str) -> None:
        embedder = open_embedder(model)
        self.image_size, self.run = embedder.image_size, embedder.run
        self.predict = functools.partial(embed_encoded, embedder)
        self.why_undecodable = pillow_images.why_undecodable


class _Keras:
    """A checkpoint, run or exported model."""

    def __init__(self, model: str) -> None:
        loaded = evaluation.load_embedding_model(model)
        self.image_size = models.recognizer.image_size(loaded)
        self.run = lambda batch: loaded(batch).numpy()
        self.predict = functools.partial(evaluation.embed.predict_embeddings, loaded)
        self.why_undecodable = images.decoding.why_undecodable


class PhotoEmbedder:
    """An embedding model for photos; `flip` is by default on for all but exported models."""

    def __init__(self, model: str, flip: Optional[bool] = None, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise InputError(f"--batch_size={batch_size}: must be at least 1")
        file = model_file(model)
        if is_exported(file) and flip:
            raise InputError(f"{model}: an exported model adds the mirrored image or not by itself; leave out --flip")
        flip = not is_exported(file) if flip is None else flip
        self._network = (_Runtime if file.suffix.lower() in RUNTIMES else _Keras)(model)
        self._batch_size = batch_size
        self._size = self._network.image_size
        # NumPy promises this generator's numbers to stay as they are.
        noise = np.random.RandomState(0).randint(0, 256, [4, *self._size, 3])
        views = [noise, noise[:, :, ::-1]] if flip else [noise]
        reference = add_views(np.stack([self._network.run(view.astype(np.float32)) for view in views], axis=1))
        self.record = ModelRecord(str(file.resolve()), fingerprint(file), reference.shape[1], flip, reference)

    def embed(
        self,
        photos: Sequence[Photo],
        name: str,
        finder: Optional[FaceFinder] = None,
        quality: Optional[EnrolmentQuality] = None,
    ) -> Embedded:
        """Embed photos, or the faces that a finder finds in them.

        Args:
            photos: of aligned faces, or with landmarks; with a finder plain ones.
            name: of the work, for its progress.
            finder: finds the faces.
            quality: what to measure of the faces, noted in the photos.
        """
        kept: list[Photo] = []
        refused: list[Photo] = []
        blocks = [np.empty([0, self.record.dim], np.float32)]
        problems: list[Problem] = []
        with Progress(name, len(photos), unit="photo" if finder else "image") as progress:
            for cuts in self._chunks(photos, finder, progress):
                problems += [cut for cut in cuts if isinstance(cut, Problem)]
                faces = [face for cut in cuts if not isinstance(cut, Problem) for face in cut]
                good = [photo for photo, content in faces if content is not None]
                encoded = [content for _, content in faces if content is not None]
                refused += [photo for photo, content in faces if content is None]
                if quality is not None:
                    good = quality.measure(good, encoded)
                if finder is None:
                    progress.advance(len(cuts) - len(good))
                counted = progress if finder is None else None
                views = self._network.predict(encoded, self.record.flip, self._batch_size, counted)
                with np.errstate(invalid="ignore", over="ignore"):
                    rows = add_views(views)
                usable = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
                kept += [photo for photo, fine in zip(good, usable) if fine]
                unusable = [photo.name for photo, fine in zip(good, usable) if not fine]
                reason = "the model's embedding is zero or not finite"
                problems += [Problem("no embedding", face, reason) for face in unusable]
                blocks.append(rows[usable])
        return Embedded(kept, np.concatenate(blocks), problems, refused)

    def _chunks(self, photos: Sequence[Photo], finder: Optional[FaceFinder], progress: Progress) -> Iterator[list[Cut]]:
        """Yield what is cut out of some photos at a time; with a finder, finding is the work that is counted."""
        if finder is None:
            for start in range(0, len(photos), _CHUNK):
                yield list(map_in_order(self._whole, photos[start : start + _CHUNK]))
            return
        cuts: list[Cut] = []
        # A photo is much work: tasks of one each keep all cores busy.
        with contextlib.closing(map_in_order(lambda photo: finder.cut(photo, self._size), photos, 1)) as stream:
            for cut in stream:
                progress.advance()
                cuts.append(cut)
                if len(cuts) == _SEARCHED_CHUNK:
                    yield cuts
                    cuts = []
        yield cuts

    def _whole(self, photo: Photo) -> Cut:
        content = face_bytes(photo, self._size, self._network.why_undecodable)
        return content if isinstance(content, Problem) else [(photo, content)]
