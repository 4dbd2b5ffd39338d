"""What a protocol gives: the numbers that people quote, and the scores that they follow from."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one protocol on one set.

    Attributes:
        result: what `json.dumps` takes: `set`, `protocol`, counts, rates 0..1, `intervals` (95%) by number.
        scores: what reports and paired tests of two models need. Of pairs: `similarity` `[pairs]`, `same` `[pairs]`
            bool, and where known `first`, `second`, `fold` `[pairs]` int, and `people` `[images]` text, whom those of
            the pairs show; of templates `template` and `template_person` `[templates]`, their numbers and whom they
            show. Of probes: `rank` `[probes]` int, from 1, of the mate (0 = never found), `condition`
            `[probes]` text, and where known `average_precision` and `person` `[probes]`, whom each shows.
    """

    result: dict[str, Any]
    scores: dict[str, np.ndarray]
