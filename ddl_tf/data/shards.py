"""The shards of a set, written one after the other so that an interrupted import can go on.

When a shard is whole, its rows of the index are put beside it and then a small JSON file, the part, which commits both:
whatever no part tells of is written again.
"""

import contextlib
import dataclasses
import errno
import json
import os
import sys
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import as_os_errors, write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.common.text import is_unicode, visible, visible_if_needed
from ddl_tf.data.example import make_example
from ddl_tf.data.layout import FOOTER_BYTES, HEADER_BYTES, INDEX_COLUMNS, read_table, shard_name
from ddl_tf.images.pillow_images import STORED_FORMATS, load_image, shrink_image, upright_bytes
from ddl_tf.importers.source import MAX_GROUP, Problem, Sample, Source

PART_NAME = r"part-\d{5,}\.(json|parquet)"


class Checked(NamedTuple):
    """A sample whose image was decoded: the upright encoded image to store, and its `(height, width)`."""

    sample: Sample
    encoded: bytes
    size: tuple[int, int]


def check_sample(item: Union[Sample, Problem], image_size: Optional[int] = None) -> Union[Checked, Problem]:
    """Decode the image of a sample, and shrink it if its longer side has more than `image_size` pixels."""
    if isinstance(item, Problem):
        return item
    try:
        image = load_image(item.image)
    except ValueError as error:
        return Problem("corrupt image", item.source, str(error))
    encoded = upright_bytes(item.image)
    if image_size is not None and max(image.size) > image_size:
        image, encoded = shrink_image(image, image_size)
    elif image.format not in STORED_FORMATS:
        return Problem("image format", item.source, f"{image.format}, where only JPEG and PNG are stored; convert it")
    return Checked(item, encoded, (image.height, image.width))


def check_samples(
    items: Iterator[Union[Sample, Problem]], image_size: Optional[int] = None
) -> Generator[Union[Checked, Problem], None, None]:
    """Apply `check_sample` to many, in parallel and in order."""
    return map_in_order(lambda item: check_sample(item, image_size), items)


@dataclasses.dataclass
class Part:
    """What one committed step of an import did; `images` and `bytes` are 0 in the part that ends the import."""

    # Items of the source until then.
    done: int
    images: int
    bytes: int
    # The smallest and the largest `[height, width]`.
    sizes: list[list[int]]
    problems: list[list[str]]
    finished: bool


def part_path(folder: Path, number: int, suffix: str) -> Path:
    """Name a file of a part: its JSON file, or the Parquet table with its rows of the index."""
    return folder / f"part-{number:05d}{suffix}"


def read_parts(folder: Path) -> list[Part]:
    """Read what was committed in a partial folder, in order."""
    parts: list[Part] = []
    while (file := part_path(folder, len(parts), ".json")).exists():
        parts.append(Part(**json.loads(file.read_text())))
    return parts


class _Shard:
    """A shard that is being written, and the rows of the index for it."""

    def __init__(self, path: Path, number: int) -> None:
        # TensorFlow takes seconds to import: not before there is something to write.
        import tensorflow as tf

        self._path, self._number = path, number
        self.rows: list[tuple[Any, ...]] = []
        self.sizes: list[tuple[int, int]] = []
        self.bytes = 0
        with as_os_errors(path):
            self._writer = tf.io.TFRecordWriter(str(path))

    def write(self, checked: Checked, identity: int) -> None:
        sample = checked.sample
        example = make_example(checked.encoded, identity, sample.group)
        with as_os_errors(self._path):
            self._writer.write(example)
        # In the order of INDEX_COLUMNS.
        place = (self._number, self.bytes + HEADER_BYTES, len(example))
        self.rows.append((*place, identity, sample.group, str(sample.identity), *sample.columns.values()))
        self.sizes.append(checked.size)
        self.bytes += HEADER_BYTES + len(example) + FOOTER_BYTES

    def close(self) -> None:
        with as_os_errors(self._path):
            self._writer.close()
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
            size = os.fstat(file.fileno()).st_size
        if size != self.bytes:
            # TensorFlow does not tell of every write that failed.
            raise OSError(errno.ENOSPC, f"{size:,} bytes were written of {self.bytes:,}", str(self._path))


def _name_problem(sample: Sample) -> Optional[Problem]:
    """What the table of the shard could not hold, found before hours of work are lost to it."""
    for text in (sample.identity, *sample.columns.values()):
        if isinstance(text, str) and not is_unicode(text):
            return Problem("file name", visible(sample.source), f"{visible(text)} is not UTF-8; rename it")
    return None


class ShardedImport:
    """Stores the samples of a source in shards below `shard_bytes`, from the last committed part to the end.

    With `skip`, problems are reported; without it, the first one ends the import.
    """

    def __init__(self, source: Source, folder: Path, shard_bytes: int, image_size: Optional[int], skip: bool) -> None:
        self._source, self._folder, self._skip = source, folder, skip
        self._shard_bytes, self._image_size = shard_bytes, image_size
        self._identities: dict[str, int] = {}
        self._columns: Optional[list[str]] = None
        self._problems: list[Problem] = []
        self._shard: Optional[_Shard] = None
        self._parts = self._done = 0

    def run(self) -> None:
        """Import to the end."""
        if self._resume():
            return
        items = check_samples(self._source.read(self._done), self._image_size)
        with Progress("import", self._source.count, self._done) as progress, contextlib.closing(items):
            for item in items:
                problem = item if isinstance(item, Problem) else _name_problem(item.sample)
                if problem:
                    self._report(problem, progress)
                elif isinstance(item, Checked):
                    self._store(item)
                self._done += 1
                progress.advance()
            if self._shard:
                self._commit()
            for identity in self._source.identities or ():
                if str(identity) not in self._identities:
                    place = f"{self._source.name}, identity {identity}"
                    self._report(Problem("empty identity", place, "it has no usable image"), progress)
        if not self._identities:
            raise InputError(f"{self._source.name}: there is no image to store")
        self._commit(finished=True)

    def _resume(self) -> bool:
        """Take up what was committed; whether that is all."""
        parts = read_parts(self._folder)
        for number, part in enumerate(parts):
            for problem in part.problems if not self._skip else ():
                self._refuse(Problem(*problem))
            if part.images:
                rows = read_table(part_path(self._folder, number, ".parquet"))
                first = rows.drop_duplicates("identity")
                self._identities.update(zip(first["identity_key"], first["identity"].tolist()))
                self._columns = [str(name) for name in rows if name not in INDEX_COLUMNS]
        if parts:
            self._parts, self._done = len(parts), parts[-1].done
            print(f"import: going on after {self._done:,} of {self._source.count:,}", file=sys.stderr)
        return bool(parts) and parts[-1].finished

    def _refuse(self, problem: Problem) -> None:
        advice = ", or skip what cannot be stored with --on_error=skip" if self._source.skippable else ""
        raise InputError(f"{problem}; mend or remove it{advice}")

    def _report(self, problem: Problem, progress: Progress) -> None:
        if not self._skip:
            self._refuse(problem)
        shown = Problem(problem.kind, visible_if_needed(problem.source), visible_if_needed(problem.reason))
        progress.write(f"skipped: {visible(str(shown))}")
        self._problems.append(shown)

    def _store(self, checked: Checked) -> None:
        columns = list(checked.sample.columns)
        if self._columns is None:
            if taken := [name for name in columns if name in INDEX_COLUMNS]:
                raise InputError(f"{checked.sample.source}: a column must not be named {taken[0]!r}; rename it")
            self._columns = columns
        elif columns != self._columns:
            raise InputError(f"{checked.sample.source}: has the columns {columns}, others have {self._columns}")
        group = checked.sample.group
        if not -1 <= group <= MAX_GROUP:
            place = checked.sample.source
            raise InputError(f"{place}: group {group}: use -1 (none), 0 (easy) or 1 to {MAX_GROUP} (hard)")
        # The record is larger than the image by a few dozen bytes.
        if self._shard and self._shard.bytes + len(checked.encoded) > self._shard_bytes:
            self._commit()
        if not self._shard:
            self._shard = _Shard(self._folder / shard_name(self._parts), self._parts)
        key = str(checked.sample.identity)
        self._shard.write(checked, self._identities.setdefault(key, len(self._identities)))

    def _commit(self, finished: bool = False) -> None:
        part = Part(self._done, 0, 0, [], [list(dataclasses.astuple(problem)) for problem in self._problems], finished)
        if self._shard:
            self._shard.close()
            with write_aside(part_path(self._folder, self._parts, ".parquet")) as aside:
                names = [*INDEX_COLUMNS, *(self._columns or ())]
                pd.DataFrame(self._shard.rows, columns=names).to_parquet(aside, index=False)
            part.images, part.bytes = len(self._shard.rows), self._shard.bytes
            sizes = np.array(self._shard.sizes)
            part.sizes = [sizes.min(axis=0).tolist(), sizes.max(axis=0).tolist()]
        with write_aside(part_path(self._folder, self._parts, ".json")) as aside:
            aside.write_text(json.dumps(dataclasses.asdict(part)))
        self._shard, self._problems, self._parts = None, [], self._parts + 1
