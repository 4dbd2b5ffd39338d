"""Reading a stored set again, all of it, to see whether it is whole."""

from collections.abc import Iterator
from pathlib import Path
from typing import Union

import pandas as pd
import tensorflow as tf

from ddl_tf.common.progress import Progress
from ddl_tf.data.example import read_example
from ddl_tf.data.layout import FOOTER_BYTES, HEADER_BYTES, read_description
from ddl_tf.data.mending import own_places
from ddl_tf.data.shards import check_samples
from ddl_tf.data.store import Faces
from ddl_tf.importers.source import Problem, Sample

# Each step of a dataset costs as much as a dozen records.
_RECORDS = 256


def find_faults(path: str) -> Iterator[Problem]:
    """Read all of a stored set, and yield what is wrong: checksums, index, description, images with a stand-in."""
    faces = Faces([path])
    description = read_description(Path(path))
    identities = faces.index["identity"].nunique()
    for name, number in (("images", len(faces)), ("identities", identities)):
        if description[name] != number:
            yield Problem("wrong count", path, f"{description[name]} {name} described, {number} in the index")
    # Groups that were made after the import are other ones in the records than in the index.
    mined = any("group" in step["columns"] for step in description.get("mined", []))
    with Progress("verify", len(faces)) as progress:
        for item in check_samples(_records(faces, mined)):
            if isinstance(item, Problem):
                progress.write(str(item))
                yield item
            progress.advance()


def _records(faces: Faces, mined: bool) -> Iterator[Union[Sample, Problem]]:
    index = own_places(Path(faces.paths[0]), faces.index)
    for number, shard in enumerate(faces.shards):
        rows = index[index["shard"] == number]
        try:
            yield from _shard_records(shard, rows, mined)
        except tf.errors.OpError as error:
            # TensorFlow puts the names of its operations around what happened.
            reason = error.message.split("}} ")[-1].split(" [Op:")[0]
            yield Problem("damaged shard", shard, f"{reason}; the records after that are not read")


def _shard_records(shard: str, rows: pd.DataFrame, mined: bool) -> Iterator[Union[Sample, Problem]]:
    # As plain numbers: rows of an array would cost as much as decoding the images.
    indexed = list(zip(*(rows[name].tolist() for name in ("offset", "length", "identity", "group"))))
    place = count = 0
    for record in _whole_records(shard):
        source = f"{shard}, record {count}"
        try:
            image, identity, group = read_example(record)
        except ValueError as error:
            yield Problem("damaged record", source, str(error))
        else:
            if mined and count < len(indexed):
                group = indexed[count][-1]
            actual = (place + HEADER_BYTES, len(record), identity, group)
            expected = indexed[count] if count < len(indexed) else "nothing"
            if expected != actual:
                reason = f"(offset, length, identity, group) is {actual}, indexed is {expected}"
                yield Problem("wrong index", source, reason)
            yield Sample(image, identity, source, group)
        place += HEADER_BYTES + len(record) + FOOTER_BYTES
        count += 1
    if count < len(indexed):
        yield Problem("wrong index", shard, f"{count} records, {len(indexed)} are indexed")


def _whole_records(shard: str) -> Iterator[bytes]:
    """The records of a shard, many at a time; where that fails, one by one up to the damage, where it fails again."""
    dataset, count = tf.data.TFRecordDataset(shard), 0
    try:
        for records in dataset.batch(_RECORDS).as_numpy_iterator():
            yield from records.tolist()
            count += len(records)
    except tf.errors.OpError:
        yield from dataset.skip(count).as_numpy_iterator()
