"""What an importer gives to the writer: a sequence of samples that can be read from any position on."""

import dataclasses
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Callable, Optional, TypeVar, Union

Value = Union[int, float, str]
_Item = TypeVar("_Item")


@dataclasses.dataclass(frozen=True)
class Sample:
    """One encoded face image with what is known of it.

    Attributes:
        image: the encoded image (JPEG or PNG).
        identity: whose face it is; any key, numbered 0, 1, ... in order of appearance when stored.
        source: where it came from, for messages: a file, with the record or line number if it holds many.
        group: 0 = teacher (easy), 1..K = students (hard; at most `MAX_GROUP`), -1 = takes no part in the distillation.
        columns: further columns of the index (yaw, fold, ...); every sample of a set has the same ones.
        file: the file that the image is, if it is one.
    """

    image: bytes
    identity: Union[int, str]
    source: str
    group: int = -1
    columns: Mapping[str, Value] = dataclasses.field(default_factory=dict)
    file: str = ""


@dataclasses.dataclass(frozen=True)
class Problem:
    """Something in a data set that cannot be stored, in the place of the sample that it should have been.

    Attributes:
        kind: one of a few words that problems are counted by, such as "corrupt image".
        source: the file, with the record or line number if it holds many.
        reason: what is wrong, in words.
    """

    kind: str
    source: str
    reason: str

    def __str__(self) -> str:
        return f"{self.source}: {self.kind}: {self.reason}"


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set that can be imported.

    Attributes:
        kind: what it is: "recordio", "folder", ...
        name: where it is, for messages and the description of the stored set.
        count: the number of items that `read(0)` gives.
        read: position -> the items from there on, always in the same order: an interrupted import goes on with it.
        identities: the keys of all identities of the set, if known; one without a stored image is reported.
        skippable: whether the set is still of use with an item missing.
        files: lists those that the items are read from, if each is one of its own.
    """

    kind: str
    name: str
    count: int
    read: Callable[[int], Iterator[Union[Sample, Problem]]]
    identities: Optional[Iterable[Union[int, str]]] = None
    skippable: bool = True
    files: Callable[[], Iterable[Path]] = tuple


def listed_source(
    kind: str,
    name: str,
    items: Sequence[_Item],
    sample: Callable[[_Item], Union[Sample, Problem]],
    keys: list[str],
    files: Callable[[], Iterable[Path]] = tuple,
) -> Source:
    """Make the source whose items are those of a list, each read by `sample` when it is asked for."""
    return Source(kind, name, len(items), lambda start: map(sample, items[start:]), keys, files=files)


# Losses and samplers keep something for each group up to the largest.
MAX_GROUP = 1000
