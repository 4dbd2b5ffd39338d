"""The embeddings of stored faces: made once, used by every command that mines with one model."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.data.pipeline import check_rows
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embed import UndecodableError
from ddl_tf.evaluation.embedding_file import Embeddings, embed_to_file


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


def sets_record(faces: Faces) -> list[dict[str, Optional[Any]]]:
    """Describe stored faces for the record of what was made of them: folder, number of images and bytes of each set."""
    length = faces.index["length"].to_numpy(np.int64)
    return [
        {"set": str(Path(path).resolve()), "images": end - start, "bytes": int(length[start:end].sum())}
        for path, (start, end) in zip(faces.paths, faces.spans)
    ]
