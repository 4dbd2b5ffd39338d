"""One face image on its way into storage, whatever it comes from."""

import dataclasses
from collections.abc import Mapping
from typing import Union

# Losses and samplers keep something for each group up to the largest.
MAX_GROUP = 1000

Value = Union[int, float, str]


@dataclasses.dataclass(frozen=True)
class Sample:
    """One encoded face image with what is known of it.

    Importers yield samples in a fixed order, so that an interrupted import can go on after the last one stored.

    Attributes:
        image: the encoded image (JPEG or PNG).
        identity: whose face it is; any key, numbered 0, 1, ... in order of appearance when stored.
        source: where it came from, for messages: a file, with the record or line number if it holds many.
        group: 0 = teacher (easy), 1..K = students (hard; at most `MAX_GROUP`), -1 = takes no part in the distillation.
        columns: further columns of the index (yaw, source, fold, ...); every sample of a set has the same ones.
    """

    image: bytes
    identity: Union[int, str]
    source: str
    group: int = -1
    columns: Mapping[str, Value] = dataclasses.field(default_factory=dict)
