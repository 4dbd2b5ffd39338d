"""Easy and hard groups from rules over the columns of an index."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.data.pools import NO_GROUP, Members
from ddl_tf.mining.rules import Rule


@dataclasses.dataclass(frozen=True)
class GroupRules:
    """Which images are easy, hard, or likely label noise.

    The order of the rules is noise, easy, hard: the first that fits an image decides.

    Attributes:
        easy: the rule of group 0, the teacher.
        hard: the rules of the groups 1..K, the students.
        noise: the rule of images whose label is likely wrong: neither easy nor hard.
    """

    easy: Rule
    hard: Sequence[Rule]
    noise: Optional[Rule] = None

    @property
    def rules(self) -> list[Rule]:
        """All rules: easy, hard, and noise if there is one."""
        return [self.easy, *self.hard, *([self.noise] if self.noise else [])]

    @property
    def columns(self) -> list[str]:
        """The columns that the rules name, in order of appearance."""
        return list(dict.fromkeys(column for rule in self.rules for column in rule.columns))

    def thresholds(self, index: pd.DataFrame) -> dict[str, list[float]]:
        """Find the numbers that the columns are compared with: column -> those of all rules; see `Rule.thresholds`."""
        numbers: dict[str, list[float]] = {}
        for rule in self.rules:
            for column, values in rule.thresholds(index).items():
                numbers.setdefault(column, []).extend(values)
        return numbers


class Groups(NamedTuple):
    """What the rules made of a set: `group` `[images]` int64, `noise` bool, and how many images `several` rules fit."""

    group: np.ndarray
    noise: np.ndarray
    several: int


def assign_groups(index: pd.DataFrame, rules: GroupRules) -> Groups:
    """Put every image into the group of the first rule that fits it.

    Raises:
        InputError: if a rule cannot be used, or fits no image that no earlier rule took.

    Example:
        >>> import pandas as pd
        >>> index = pd.DataFrame({"yaw": [3.0, 80.0, 30.0]})
        >>> assign_groups(index, GroupRules(Rule("yaw < 15"), [Rule("yaw > 45")])).group
        array([ 0,  1, -1])
    """
    group = np.full(len(index), NO_GROUP, np.int64)
    noise = rules.noise.select(index) if rules.noise else np.zeros(len(index), bool)
    fits = noise.astype(np.int64)
    for number, rule in enumerate([rules.easy, *rules.hard]):
        chosen = rule.select(index)
        fits += chosen
        free = chosen & (fits == 1)
        if not free.any():
            ranges = "; ".join(_describe(index, column) for column in rule.columns)
            taken = " that no rule before it took" if chosen.any() else ""
            raise InputError(f"the rule of group {number}, {rule.text!r}, fits no image{taken}; {ranges}")
        group[free] = number
    return Groups(group, noise, int(np.sum(fits > 1)))


def _describe(index: pd.DataFrame, column: str) -> str:
    values = index[column].dropna()
    if not pd.api.types.is_numeric_dtype(values):
        common = values.value_counts().index[:5]
        return f"{column} is one of {', '.join(map(str, common))}" + (", ..." if values.nunique() > 5 else "")
    if not len(values):
        return f"{column} has no values"
    # As floats: truth values have no number format.
    return f"{column} goes from {float(values.min()):g} to {float(values.max()):g}"


def groups_table(
    index: pd.DataFrame, group: np.ndarray, noise: np.ndarray, rules: Optional[GroupRules] = None
) -> pd.DataFrame:
    """Count what each group, likely noise and the rest have: images, identities, those with pairs within and across.

    With rules also these and the medians of their columns. `group` is `[images]` int, `noise` `[images]` bool.
    """
    identity = index["identity"].to_numpy(np.int64)
    teacher = np.unique(identity[group == 0])
    texts = [rules.easy.text, *(rule.text for rule in rules.hard)] if rules else []
    columns = [name for name in (rules.columns if rules else []) if pd.api.types.is_numeric_dtype(index[name])]
    rows: list[dict[str, Any]] = []

    def add(name: str, rule: str, chosen: np.ndarray, kind: Optional[int]) -> None:
        members = Members(identity, chosen, 1)
        across = np.isin(members.identities, teacher, assume_unique=True).sum()
        row: dict[str, Any] = {"group": name, **({"rule": rule} if rules else {}), "images": int(chosen.sum())}
        row.update({"share": f"{chosen.mean():.1%}", "identities": len(members.identities)})
        row["with a pair within"] = "" if kind is None else int(np.sum(members.counts >= 2))
        row["with a pair across"] = int(across) if kind else ""
        for column in columns:
            values = index[column].to_numpy(float)[chosen]
            values = values[~np.isnan(values)]
            row[f"median {column}"] = f"{np.median(values):.4g}" if len(values) else ""
        rows.append(row)

    for number in range(int(group.max(initial=0)) + 1):
        text = texts[number] if number < len(texts) else ""
        add("0 (easy)" if number == 0 else f"{number} (hard)", text, group == number, number)
    if noise.any():
        add("-1 (likely noise)", rules.noise.text if rules and rules.noise else "", noise, None)
    rest = (group == NO_GROUP) & ~noise
    if rest.any():
        add("-1 (neither)", "", rest, None)
    return pd.DataFrame(rows)
