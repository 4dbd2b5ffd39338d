"""The embeddings of stored faces: made once, used by every command that mines with one model."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.data.pipeline import check_rows
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embed import UndecodableError
from ddl_tf.evaluation.embedding_file import Embeddings, embed_to_file


class StoredFaces(Sequence[bytes]):
    """Some encoded images of stored faces, read one by one as they are asked for.

    Args:
        faces: the stored faces.
        rows: which: positions in their index.
    """

    def __init__(self, faces: Faces, rows: Sequence[int]) -> None:
        self._faces, self._rows = faces, rows

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, position: Any) -> Any:
        if not 0 <= position < len(self):
            # By which iterating over a sequence ends.
            raise IndexError(f"image {position} of {len(self)}")
        return self._faces.read(np.array([self._rows[position]]))[0]


def embed_faces(
    model: tf.keras.Model, faces: Faces, folder: Path, record: Mapping[str, Any], batch_size: int = 256
) -> Embeddings:
    """Embed stored faces into a file, or take up what is there already.

    An interrupted call, made again, goes on after the last whole chunk. What is there of another record is replaced.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        faces: the stored faces.
        folder: where `embeddings.npy` is, or shall be.
        record: all that the embeddings follow from, as JSON takes it.
        batch_size: images a step.

    Returns:
        The embeddings of all images, in the order of the index.

    Raises:
        InputError: if an image cannot be decoded, an embedding is not finite, or another process is at work there.
    """
    try:
        return embed_to_file(model, StoredFaces(faces, range(len(faces))), False, folder, record, batch_size)
    except UndecodableError as error:
        check_rows(faces, np.array([error.position]))
        raise


def sets_record(faces: Faces) -> list[dict[str, Optional[Any]]]:
    """Describe which images stored faces are, for the record of what was made of them.

    Args:
        faces: the stored faces.

    Returns:
        For each set its folder and its number of images and bytes.
    """
    length = faces.index["length"].to_numpy(np.int64)
    return [
        {"set": str(Path(path).resolve()), "images": end - start, "bytes": int(length[start:end].sum())}
        for path, (start, end) in zip(faces.paths, faces.spans)
    ]
