"""Embeddings on disk: made once, and used again by every command that needs those of the same model and images."""

import hashlib
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from ddl_tf import evaluation
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import add_content, lock_folder, write_aside
from ddl_tf.common.progress import Progress
from ddl_tf.protocols.feature_files import Embeddings
from ddl_tf.runtimes.views import check_finite

if TYPE_CHECKING:
    import tensorflow as tf

# Rows that are checked at a time, and embedded between two points that an interrupted command goes on from; of long
# ones fewer, so that those of a chunk fit into the memory.
CHUNK, _CHUNK_BYTES = 16_384, 2**28
EMBEDDINGS, _RECORD = "embeddings.npy", "embeddings.json"


def fingerprint(path: Path) -> str:
    """Identify a model by the SHA-256 of its content, whatever its name and place.

    That of a folder is of the text that `find -L . -type f | LC_ALL=C sort | xargs sha256sum` prints in it; that of an
    OpenVINO network of the `.xml` and the `.bin` file, one after the other.
    """
    digest = hashlib.sha256()
    if path.is_dir():
        files = [file for file in path.rglob("*") if file.is_file()]
        for name, file in sorted((os.fsencode(file.relative_to(path)), file) for file in files):
            digest.update(f"{fingerprint(file)}  ./".encode() + name + b"\n")
    else:
        for file in (path, *([path.with_suffix(".bin")] if path.suffix.lower() == ".xml" else [])):
            add_content(digest, file)
    return digest.hexdigest()


def is_fingerprint(recorded: Any, path: Path) -> bool:
    """Whether a recorded digest is that of a model; records up to 0.1.0 digested the files' names too."""
    return recorded in (fingerprint(path), _with_names(path))


def recorded_fingerprint(folder: Path, path: Path) -> str:
    """The digest of a model in the record of its embeddings, also an old one (`is_fingerprint`); else `fingerprint`."""
    recorded, digest = _read_record(folder)[1].get("model"), fingerprint(path)
    return str(recorded) if recorded not in (None, digest) and recorded == _with_names(path) else digest


def _read_record(folder: Path) -> tuple[int, dict[str, Any]]:
    """How many images are embedded, and their record; 0 and nothing if there is none: they are embedded anew."""
    try:
        content = json.loads((folder / _RECORD).read_text())
        return int(content["done"]), dict(content["of"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, {}


def _with_names(path: Path) -> str:
    """The digest of a model in old records: of the names of files and their content."""
    digest = hashlib.sha256()
    for file in sorted(path.rglob("*")) if path.is_dir() else [path]:
        if file.is_file():
            digest.update(file.name.encode(errors="surrogateescape"))
            add_content(digest, file)
    return digest.hexdigest()


def embed_to_file(
    model: "tf.keras.Model",
    images: Sequence[bytes],
    flip: bool,
    folder: Path,
    record: Mapping[str, Any],
    batch_size: int,
    name: str = "embed",
) -> Embeddings:
    """Embed images into a folder, `[images, views, dim]`, after the last whole chunk that is there of this `record`.

    The record is all that embeddings follow from, as JSON takes it.
    """
    shape = (len(images), 2 if flip else 1, int(model.output_shape[-1]))
    wanted = {**json.loads(json.dumps(record)), "shape": list(shape)}
    file, done_file = folder / EMBEDDINGS, folder / _RECORD
    with lock_folder(folder, ".lock"):
        done, stored = _read_record(folder)
        if stored != wanted or not file.exists():
            done = 0
        if not done:
            done_file.unlink(missing_ok=True)
            np.lib.format.open_memmap(file, mode="w+", dtype=np.float32, shape=shape).flush()
        offset = np.load(file, mmap_mode="r").offset
        if done < len(images):
            with Progress(name, len(images), done) as progress, file.open("r+b") as out:
                chunk = min(CHUNK, max(1, _CHUNK_BYTES // (shape[1] * shape[2] * 4)))
                for start in range(done, len(images), chunk):
                    places = range(start, min(start + chunk, len(images)))
                    rows = evaluation.embed.predict_embeddings(model, images, flip, batch_size, progress, places)
                    check_finite(rows, name, start)
                    out.seek(offset + start * shape[1] * shape[2] * 4)
                    out.write(np.ascontiguousarray(rows, "<f4").tobytes())
                    out.flush()
                    os.fsync(out.fileno())
                    with write_aside(done_file) as aside:
                        aside.write_text(json.dumps({"done": places.stop, "of": wanted}))
    return Embeddings(file)


def stored_views(folder: Path, record: Mapping[str, Any]) -> int:
    """How many views of each image a folder has embeddings of: 1 or 2; 0 if there are none of this record."""
    stored = _read_record(folder)[1]
    shape = stored.pop("shape", None)
    fits = isinstance(shape, list) and shape[1:2] in ([1], [2]) and stored == json.loads(json.dumps(record))
    return shape[1] if fits else 0


# Far beyond these bounds, where no norm is, the squares leave the range of float64, and every similarity would be 0.
_SMALLEST, _LARGEST = 1e-100, 1e100
_NAMED = 5


def row_list(rows: np.ndarray) -> str:
    """Name `[n]` rows for a message: "rows 0, 1, 2, 3, 4 and 2 more (counted from 0)"."""
    more = f" and {len(rows) - _NAMED:,} more" if len(rows) > _NAMED else ""
    return f"row{'s' * (len(rows) > 1)} {', '.join(map(str, rows[:_NAMED].tolist()))}{more} (counted from 0)"


def check_given(views: np.ndarray, path: str) -> None:
    """Refuse embeddings `[images, views, dim]` of a file that cannot be brought to unit norm; zero rows are right."""
    not_finite, out_of_range, worst = [], [], 0.0
    for start in range(0, len(views), CHUNK):
        block = np.asarray(views[start : start + CHUNK], np.float64)
        finite = np.isfinite(block).all(axis=(1, 2))
        not_finite += (start + np.flatnonzero(~finite)).tolist()
        # The largest value and not the norm, which may overflow.
        size = np.abs(np.where(finite[:, np.newaxis, np.newaxis], block, 0)).max(axis=2, initial=0)
        wrong = ((size > _LARGEST) | ((size > 0) & (size < _SMALLEST))).any(axis=1)
        out_of_range += (start + np.flatnonzero(wrong)).tolist()
        if wrong.any() and not worst:
            worst = float(size[wrong].max())
    for rows, what in (
        (not_finite, "are not finite (NaN or infinity)"),
        (out_of_range, f"have values such as {worst:.3g}, which no embedding has and whose squares are lost"),
    ):
        if rows:
            raise InputError(
                f"{path}: {len(rows):,} of {len(views):,} rows {what}: {row_list(np.array(rows))}; make these "
                "embeddings again, or put rows of zeros where no face was found"
            )


def zero_rows(views: np.ndarray) -> np.ndarray:
    """Find the images `[images, views, dim]` whose embedding is zero: by convention, no face was found in them."""
    rows = [
        start + np.flatnonzero(~np.asarray(views[start : start + CHUNK]).sum(axis=1, dtype=np.float64).any(axis=1))
        for start in range(0, len(views), CHUNK)
    ]
    return np.concatenate([np.empty(0, np.int64), *rows])
