"""Small inputs for the tests of importers: encoded pictures, and a writer of RecordIO after dmlc-core's description."""

import contextlib
import io
import os
import struct
import tracemalloc

import numpy as np
import pandas as pd
from PIL import Image

from ddl_tf.data.shards import ShardedImport
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.importers.source import Sample, Source

MAGIC = struct.pack("<I", 0xCED7230A)


def picture(number, size=16, image_format="JPEG"):
    """An encoded image that is another one for each number."""
    pixels = np.random.default_rng(number).integers(0, 256, [4, 4, 3]).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(pixels).resize((size, size)).save(encoded, image_format, quality=90)
    return encoded.getvalue()


def noise_face(identity, image, seed=0, size=112, hard=False):
    """In the place of `ddl_tf.synthetic.render`, which takes long."""
    coarse = np.random.default_rng([identity, image, seed, hard]).integers(0, 256, [4, 4, 3]).astype(np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((size, size))), {}


def list_source(items, identities=None, name="a list"):
    return Source("list", name, len(items), lambda start: iter(items[start:]), identities)


def samples(count, images_per_identity=3, **columns):
    return [
        Sample(picture(n), f"person {n // images_per_identity}", f"item {n}", n % 2, {"number": n, **columns})
        for n in range(count)
    ]


def store_source(source, output, on_error="refuse", **settings):
    """Store what a source yields; returns the description of the set."""
    return write_set(source, StoreSettings(output=str(output), **settings), on_error)


def store(items, output, on_error="refuse", identities=None, **settings):
    """Store a list of samples; returns the description of the set."""
    return store_source(list_source(items, identities), output, on_error, **settings)


def stored_faces(items, output):
    """Store a list of samples, and open the set."""
    store(items, output)
    return Faces([str(output)])


def damage_image(folder, row):
    """Make an image of a stored set of one shard one that cannot be decoded; the framing of its record stays."""
    (shard,) = folder.glob("*.tfrecord")
    content = bytearray(shard.read_bytes())
    offset = pd.read_parquet(folder / "index.parquet")["offset"][row]
    start = min(place for mark in (b"\xff\xd8\xff", b"\x89PNG") if (place := content.find(mark, offset)) >= 0)
    content[start : start + 8] = b"no image"
    shard.write_bytes(content)


def small_shards(source, folder, _, *rest, **more):
    """`ShardedImport` with shards of a few images, which no flag gives."""
    return ShardedImport(source, folder, 2500, *rest, **more)


@contextlib.contextmanager
def assert_memory(peak, held=float("inf")):
    """The block takes at most so many bytes, and leaves so many held at its end."""
    tracemalloc.start()
    try:
        yield
        now, most = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert now <= held
    assert most <= peak


def pipe(path):
    """Put a pipe, which nobody writes to, in the place of a file."""
    path.unlink(missing_ok=True)
    os.mkfifo(path)
    return path


def framed(content):
    """One record; cut wherever the magic number stands at a multiple of 4 bytes, which is left out there."""
    parts, begin = [], 0
    for position in range(0, len(content) - 3, 4):
        if content[position : position + 4] == MAGIC:
            parts.append(content[begin:position])
            begin = position + 4
    parts.append(content[begin:])
    out = b""
    for number, part in enumerate(parts):
        flag = 0 if len(parts) == 1 else 1 if number == 0 else 3 if number == len(parts) - 1 else 2
        out += MAGIC + struct.pack("<I", flag << 29 | len(part)) + part + b"\0" * (-len(part) % 4)
    return out


def header(labels, number=0):
    """The header of an image record; one number is a plain label, a list an array of labels."""
    if isinstance(labels, list):
        return struct.pack("<IfQQ", len(labels), 0.0, number, 0) + struct.pack(f"<{len(labels)}f", *labels)
    return struct.pack("<IfQQ", 0, labels, number, 0)


def write_recordio(folder, images, record_zero=True, num_identities=None, with_idx=True):
    """Write train.rec, train.idx and property; `images` is a list of (label, encoded)."""
    folder.mkdir(parents=True, exist_ok=True)
    people = sorted({label if not isinstance(label, list) else label[0] for label, _ in images})
    num_identities = len(people) if num_identities is None else num_identities
    contents = [header(label, n) + encoded for n, (label, encoded) in enumerate(images, 1)]
    if record_zero:
        end = len(images) + 1
        contents.insert(0, header([end, end + num_identities]))
        contents += [header([1, 2]) for _ in range(num_identities)]
    offsets, rec = [], b""
    for content in contents:
        offsets.append(len(rec))
        rec += framed(content)
    (folder / "train.rec").write_bytes(rec)
    (folder / "property").write_text(f"{num_identities},16,16")
    if with_idx:
        (folder / "train.idx").write_text("".join(f"{n}\t{offset}\n" for n, offset in enumerate(offsets)))
    return folder / "train.rec"
