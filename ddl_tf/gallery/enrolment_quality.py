"""Which photos are good enough to enrol: a rule over their measured quality, and who fails to be enrolled by it."""

import dataclasses
import math
import re
from collections.abc import Sequence
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.gallery.photos import Photo
from ddl_tf.importers.source import Problem
from ddl_tf.metrics.bootstrap import rate_interval
from ddl_tf.mining.quality import QUALITY_COLUMNS, measure_many
from ddl_tf.mining.rules import Rule
from ddl_tf.runtimes.quality import OnnxQuality

POOR = "poor quality"


class EnrolmentQuality:
    """A rule that the face of a photo must fulfil, such as `measured_resolution_px >= 30 and learned_quality > 1.8`.

    Args:
        text: the rule, over `QUALITY_COLUMNS` and the column of the network.
        network: what gives a learned quality.

    Raises:
        InputError: if it is no rule, names another column, or has a quantile, which would be of the photos of a call.
    """

    def __init__(self, text: str, network: Optional[OnnxQuality] = None) -> None:
        self.rule, self._network = Rule(text), network
        known = [*QUALITY_COLUMNS, *([network.column] if network else [])]
        unknown = [column for column in self.rule.columns if column not in known]
        if unknown:
            more = "" if network else "; a learned one takes --quality_model"
            raise InputError(f"--quality_rule: there is no column {unknown[0]!r}, but {', '.join(known)}{more}")
        if re.search(r"\bquantile\b", text):
            raise InputError(
                f"--quality_rule={text}: a quantile depends on the other photos of the call; give a fixed value"
            )
        # What is wrong with the rest of the rule is said before the work.
        self.rule.select(pd.DataFrame(1.0, index=[0], columns=self.rule.columns))

    def measure(self, photos: Sequence[Photo], faces: Sequence[bytes]) -> list[Photo]:
        """Note in photos the quality of their encoded faces, in the order of the columns of the rule."""
        # What can be decoded was looked at before.
        measured = pd.DataFrame(measure_many(faces, lambda position, reason: None), columns=list(QUALITY_COLUMNS))
        if self._network:
            measured[self._network.column] = list(self._network.measure(faces))
        rows = measured[self.rule.columns].itertuples(index=False)
        return [dataclasses.replace(photo, quality=tuple(map(float, row))) for photo, row in zip(photos, rows)]

    def refuse_poor(self, photos: Sequence[Photo]) -> tuple[np.ndarray, list[Problem]]:
        """Choose the photos that fulfil the rule, `[photos]` bool, and say why the others are refused."""
        qualities = pd.DataFrame([photo.quality for photo in photos], columns=self.rule.columns, dtype=np.float64)
        good = self.rule.select(qualities)
        problems = []
        for photo, fine in zip(photos, good):
            if not fine:
                values = [
                    f"{name} {'is not known' if math.isnan(value) else format(value, '.4g')}"
                    for name, value in zip(self.rule.columns, photo.quality)
                ]
                problems.append(Problem(POOR, photo.name, f"{', '.join(values)}, where {self.rule.text} is asked for"))
        return good, problems


def failures_text(wanted: Sequence[str], enrolled: Sequence[str], problems: Sequence[Problem]) -> str:
    """Say how many of the wanted people failed to be enrolled, and how many of their photos were refused as poor.

    Args:
        wanted: the person of each photo, at least one.
        enrolled: people who are enrolled, now or before.
        problems: of the photos.

    References:
        ISO/IEC 19795-1:2021, 3.23: failure-to-enrol rate
    """
    people = set(wanted)
    failed, poor = len(people - set(enrolled)), sum(problem.kind == POOR for problem in problems)
    low, high = rate_interval(failed, len(people))
    text = (
        f"failure to enrol: {failed:,} of {len(people):,} people ({failed / len(people):.1%} [{low:.1%}, {high:.1%}])"
    )
    return f"{text}; refused for poor quality: {poor:,} of {len(wanted):,} photos ({poor / len(wanted):.1%})"
