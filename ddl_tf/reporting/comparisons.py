"""Models against the first one, on the same pairs and probes: differences, and whether they are more than chance."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import MIN_FALSE_ACCEPTS
from ddl_tf.metrics.gaps import compare_gaps
from ddl_tf.metrics.paired_tests import compare_scores, holm
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet, set_names
from ddl_tf.reporting.layout_table import DASH, Cell, TextTable
from ddl_tf.reporting.numbers import (
    PARTS,
    far_targets,
    interval_of,
    is_countable,
    lower_is_better,
    meanings_of,
    number_of_test,
    numbers_of,
    title_of,
)

ALPHA = 0.05
_MANY_PAIRS, _LEAST_REPLICATES = 200_000, 200


@dataclasses.dataclass(frozen=True)
class Difference:
    """A number of a model against that of the baseline.

    Attributes:
        set_name: of the set.
        number: as in `numbers_of`, or "gap".
        model: that is compared.
        value: of the model.
        baseline: the number of the baseline.
        difference: the model's less the baseline's.
        low: lower end of its 95% interval; None where there is no valid test.
        high: upper end.
        p: of the paired test, uncorrected.
        p_corrected: by Holm, over the tests of this number on all sets and models.
        test: which one.
        least_p: the least corrected p-value that the replicates could show; None without a test by replicates.
    """

    set_name: str
    number: str
    model: str
    value: float
    baseline: float
    difference: float
    low: Optional[float]
    high: Optional[float]
    p: Optional[float]
    p_corrected: Optional[float]
    test: str
    least_p: Optional[float] = None

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_corrected is not None and self.p_corrected < ALPHA

    @property
    def better(self) -> bool:
        """Whether the model is better than the baseline on these pairs, be it by chance."""
        return (self.difference < 0) == lower_is_better(self.number) and self.difference != 0


def affordable_replicates(pairs: int, replicates: int) -> int:
    """Lower the number of replicates for very many pairs, of which each replicate takes seconds.

    Up to 200,000 pairs it stays; beyond, it falls in proportion, but not below 200.
    """
    return max(min(replicates, _LEAST_REPLICATES), min(replicates, replicates * _MANY_PAIRS // max(1, pairs)))


def gap_name(easy: str, hard: str) -> str:
    """Name the two sets that a gap is between, where a set is named."""
    return f"{easy} and {hard}"


def compare_models(
    models: Sequence[EvaluatedModel],
    replicates: int,
    seed: int,
    easy: Optional[str] = None,
    hard: Optional[str] = None,
) -> list[Difference]:
    """Compare each model with the first one, on every set that both have, and the gaps of `easy` and `hard`.

    Returns:
        The differences, set by set, model by model. The p-values of a number are corrected for all sets and models.
    """
    if not models:
        return []
    baseline, rows = models[0], []
    for name in set_names(models):
        for model in models[1:]:
            if name not in baseline.sets or name not in model.sets:
                continue
            one, base = model.sets[name], baseline.sets[name]
            if not (one.has_pairs or one.has_ranks):
                continue
            _check_people(model, one)
            _check_people(baseline, base)
            # The bootstrap over templates costs little for each replicate, however many pairs there are.
            few = one.result.get("protocol") == "templates"
            times = replicates if few else affordable_replicates(len(one.scores.get("same", ())), replicates)
            targets = far_targets(one.result)
            found = compare_scores(one.scores, base.scores, replicates=times, seed=seed, far_targets=targets)
            of_one, of_base = numbers_of(one.result), numbers_of(base.result)
            for row in found:
                number = number_of_test(str(row["number"]), one.result)
                if number in of_one and number in of_base:
                    a, b = of_one[number], of_base[number]
                    values = {"number": number, "a": a, "b": b, "difference": a - b, "replicates": times}
                    rows.append((name, model.name, {**row, **values}))
    if easy and hard:
        sides = {model.name: [model.sets[one].scores for one in (easy, hard) if one in model.sets] for model in models}
        first = sides.pop(baseline.name)
        for name, own in sides.items():
            if len(own) == len(first) == 2:
                times = affordable_replicates(sum(len(one["same"]) for one in own), replicates)
                gap = compare_gaps(own[0], own[1], first[0], first[1], times, seed)
                rows.append((gap_name(easy, hard), name, {**gap._asdict(), "replicates": times}))
    return _corrected(rows)


def _check_people(model: EvaluatedModel, evaluated: EvaluatedSet) -> None:
    """Refuse an evaluation that was stored before it said whom templates show."""
    pairs = evaluated.has_pairs and evaluated.result.get("protocol") == "templates"
    if pairs and "template_person" not in evaluated.scores:
        raise InputError(
            f"{model.folder}/{evaluated.name}: stored without whom its templates show, which a test of two models "
            "needs; evaluate the set again with --store"
        )


def _family(number: str) -> str:
    """Which tests are corrected together: those of one number, a rank in all conditions."""
    if number == "identification@rank@1":
        return "rank1"
    return number.split("@")[0] if number.startswith("rank") else number


def _corrected(rows: Sequence[tuple[str, str, dict[str, Any]]]) -> list[Difference]:
    corrected: list[Optional[float]] = [None] * len(rows)
    least: list[Optional[float]] = [None] * len(rows)
    families: dict[str, list[int]] = {}
    for place, (_, _, row) in enumerate(rows):
        if row["p"] is not None:
            families.setdefault(_family(row["number"]), []).append(place)
    for places in families.values():
        for place, p in zip(places, holm([rows[place][2]["p"] for place in places])):
            corrected[place] = p
            if "bootstrap" in rows[place][2]["test"]:
                least[place] = min(1.0, len(places) * 2 / (rows[place][2]["replicates"] + 1))
    return [
        Difference(
            name,
            row["number"],
            model,
            row["a"],
            row["b"],
            row["difference"],
            row["low"],
            row["high"],
            row["p"],
            p,
            _test_text(row["test"], least_p),
            least_p,
        )
        for (name, model, row), p, least_p in zip(rows, corrected, least)
    ]


def _test_text(test: str, least_p: Optional[float]) -> str:
    """Name the test, and say how small its corrected p-value could be, where that is too large to tell anything."""
    if least_p is None or least_p < ALPHA:
        return test
    return f"{test}; so few replicates show no corrected p below {least_p:.2g}"


def replicates_needed(differences: Sequence[Difference], replicates: int) -> Optional[int]:
    """Return how many replicates the tests by the bootstrap take to come out; None if they are enough.

    The smallest p-value of a bootstrap is 2 / (replicates + 1).
    """
    counts = Counter(_family(one.number) for one in differences if one.p is not None and "bootstrap" in one.test)
    needed = int(np.ceil(2 * max(counts.values(), default=0) / ALPHA))
    # Fewer may have been drawn of very many pairs.
    lacking = max((one.least_p / ALPHA for one in differences if one.least_p is not None), default=0.0)
    if lacking >= 1:
        needed = max(needed, int(np.ceil(lacking * replicates)) + 1)
    return needed if needed > replicates else None


def signed(value: float) -> str:
    """Write a difference with its sign, to three digits, with a true minus."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def p_text(p: float) -> str:
    """Write a p-value: `p = 0.012`, or `p < 0.001`, so that no line breaks in it."""
    return ("p < 0.001" if p < 0.001 else f"p = {p:.3f}").replace(" ", "\N{NO-BREAK SPACE}")


def interval_text(one: Difference) -> str:
    """Write a difference with its interval, if it has one."""
    if one.low is None or one.high is None:
        return signed(one.difference)
    return f"{signed(one.difference)} [{signed(one.low)}, {signed(one.high)}]"


def difference_text(one: Difference) -> str:
    """Write a difference as `AUC +0.012 [+0.004, +0.020], p = 0.003`; the p-value is the corrected one."""
    p = "no valid test" if one.p_corrected is None else p_text(one.p_corrected)
    return f"{title_of(one.number)} {interval_text(one)}, {p}"


def value_text(value: float, interval: Optional[tuple[float, float]]) -> str:
    """Write a number to three digits, with its interval if there is one."""
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


Tests = Mapping[tuple[str, str, str], Difference]


def _strong(name: str, number: str, values: Mapping[str, float], tests: Tests, baseline: str) -> str:
    """The model to set in bold: the best one, if the tests against the baseline say that it is more than chance."""
    sign = -1 if lower_is_better(number) else 1
    best = max(values, key=lambda model: sign * values[model])
    rivals = [model for model in values if model != baseline] if best == baseline else [best]
    found = [tests.get((name, number, model)) for model in rivals]
    return best if found and all(one is not None and one.significant for one in found) else ""


def _is_headline(number: str) -> bool:
    words = number.split("@")
    quoted = (*PARTS, "accuracy", "auc", "rank1", "tar", "tpir", "map", "mean")
    return words[0] in quoted and "galleries" not in words


def comparison_table(
    models: Sequence[EvaluatedModel], differences: Sequence[Difference], headlines: bool = False
) -> TextTable:
    """Lay the numbers of all models on all sets side by side; with `headlines` those that papers quote.

    Returns:
        A row for each set and number; its CSV has a line for each set, number and model, at full precision.
    """
    rows, lines, shown = [], [], []
    tests = {(one.set_name, one.number, one.model): one for one in differences}
    for name in set_names(models):
        results = {model.name: model.sets[name].result for model in models if name in model.sets}
        by_model = {model: numbers_of(result) for model, result in results.items()}
        for number in dict.fromkeys(number for numbers in by_model.values() for number in numbers):
            values = {model: numbers[number] for model, numbers in by_model.items() if number in numbers}
            for model, value in values.items():
                interval, test = interval_of(results[model], number), tests.get((name, number, model))
                lines.append(_line(name, number, model, value, interval, test))
            quoted = not headlines or _is_headline(number)
            if not quoted or not all(is_countable(results[model], number) for model in values):
                continue
            strong = _strong(name, number, values, tests, models[0].name)
            cells = []
            for model in (one.name for one in models):
                test = tests.get((name, number, model))
                mark = "*" if test and test.significant else ""
                text = DASH
                if model in values:
                    text = value_text(values[model], interval_of(results[model], number)) + mark
                cells.append(Cell(text, strong=model == strong))
            rows.append([Cell(name), Cell(title_of(number)), *cells])
            shown.append(number)
    tested = (
        f" An asterisk: differs from {models[0].name} (paired test, Holm-corrected p < {ALPHA:g}). Bold: the best of "
        "its "
        f"row, where that is more than chance by these tests. {DASH}: not evaluated."
    )
    caption = (
        f"Numbers with their 95% intervals. {meanings_of(shown)}. A TAR at fewer than {MIN_FALSE_ACCEPTS} false "
        "accepts is "
        f"left out.{tested if len(models) > 1 else ''}"
    )
    header = ["set", "number", *(model.name for model in models)]
    name = "headlines" if headlines else "comparison"
    return TextTable(name, caption, header, rows, heads=2, data=pd.DataFrame(lines))


def _line(
    name: str,
    number: str,
    model: str,
    value: float,
    interval: Optional[tuple[float, float]],
    test: Optional[Difference],
) -> dict[str, Any]:
    low, high = interval or (None, None)
    line: dict[str, Any] = {"set": name, "number": number, "model": model, "value": value, "low": low, "high": high}
    for column in ("difference", "low", "high", "p", "p_corrected", "test"):
        key = f"difference_{column}" if column in ("low", "high") else column
        line[key] = getattr(test, column) if test else None
    return line


def differences_table(differences: Sequence[Difference], baseline: str) -> TextTable:
    """Lay out the paired tests against the baseline, a row for each set, number and model."""
    rows = [
        [
            Cell(one.set_name),
            Cell(title_of(one.number)),
            Cell(one.model),
            Cell(interval_text(one), strong=one.significant),
            Cell(DASH if one.p is None else f"{one.p:.2g}"),
            Cell(DASH if one.p_corrected is None else f"{one.p_corrected:.2g}"),
            Cell(one.test),
        ]
        for one in differences
    ]
    caption = (
        f"Each model less {baseline}, on the same pairs or probes, with the 95% interval of the difference; p of the "
        "paired "
        "test, and corrected by Holm for the tests of one number on all sets and models. Bold: corrected p < "
        f"{ALPHA:g}."
    )
    header = ["set", "number", "model", "difference", "p", "p, corrected", "test"]
    data = pd.DataFrame(map(dataclasses.asdict, differences))
    return TextTable("differences", caption, header, rows, heads=3, data=data)
