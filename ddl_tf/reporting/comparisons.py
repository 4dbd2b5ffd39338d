"""Models against the first one, on the same pairs and probes: differences, and whether they are more than chance."""

import dataclasses
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.metrics.bootstrap import MIN_FALSE_ACCEPTS
from ddl_tf.metrics.gaps import compare_gaps
from ddl_tf.metrics.paired_tests import compare_scores, holm
from ddl_tf.reporting import numbers
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet, set_names
from ddl_tf.reporting.layout_table import Strong, TextTable

ALPHA = 0.05
# What papers quote.
_QUOTED = (*numbers.PARTS, "accuracy", "auc", "rank1", "tar", "tpir", "tpir20", "map", "mean")
_MANY_PAIRS, _LEAST_REPLICATES = 200_000, 200


@dataclasses.dataclass(frozen=True)
class Difference:
    """A number of a model (as in `numbers_of`, or "gap") against that of the baseline.

    The 95% interval and `p` are None where there is no valid test. `p_corrected` is by Holm, over all sets and models;
    `least_p` is the least one that the replicates could show.
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
        return (self.difference < 0) == numbers.lower_is_better(self.number) and self.difference != 0


def affordable_replicates(pairs: int, replicates: int) -> int:
    """Lower the number of replicates in proportion to very many pairs, of which each takes seconds; not below 200."""
    return max(min(replicates, _LEAST_REPLICATES), min(replicates, replicates * _MANY_PAIRS // max(1, pairs)))


def compare_models(
    models: Sequence[EvaluatedModel], replicates: int, seed: int, easy: Optional[str] = None, hard: Optional[str] = None
) -> list[Difference]:
    """Compare each model with the first one, on every set that both have, and the gaps of `easy` and `hard`."""
    if not models:
        return []
    baseline, rows = models[0], []
    for name in set_names(models):
        for model in models[1:]:
            if name not in baseline.sets or name not in model.sets:
                continue
            compared, base = model.sets[name], baseline.sets[name]
            if not (compared.has_pairs or compared.has_ranks):
                continue
            _check_people(model, compared)
            _check_people(baseline, base)
            # The bootstrap over templates costs little for each replicate, however many pairs there are.
            few = compared.result.get("protocol") == "templates"
            times = replicates if few else affordable_replicates(len(compared.scores.get("same", ())), replicates)
            targets = numbers.far_targets(compared.result)
            tests = compare_scores(compared.scores, base.scores, replicates=times, seed=seed, far_targets=targets)
            values, base_values = numbers.numbers_of(compared.result), numbers.numbers_of(base.result)
            for test in tests:
                number = numbers.number_of_test(str(test["number"]), compared.result)
                if number in values and number in base_values:
                    a, b = values[number], base_values[number]
                    row = {"number": number, "a": a, "b": b, "difference": a - b, "replicates": times}
                    rows.append((name, model.name, {**test, **row}))
    if easy and hard:
        for model in models[1:]:
            if not all(name in side.sets for side in (model, baseline) for name in (easy, hard)):
                continue
            sides = [side.sets[name].scores for side in (model, baseline) for name in (easy, hard)]
            times = affordable_replicates(len(sides[0]["same"]) + len(sides[1]["same"]), replicates)
            gap = compare_gaps(sides[0], sides[1], sides[2], sides[3], times, seed)
            rows.append((f"{easy} and {hard}", model.name, {**gap._asdict(), "replicates": times}))
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
    families: dict[str, list[dict[str, Any]]] = {}
    for _, _, row in rows:
        row.update(p_corrected=None, least_p=None)
        if row["p"] is not None:
            families.setdefault(_family(row["number"]), []).append(row)
    for family in families.values():
        for row, p in zip(family, holm([row["p"] for row in family])):
            row["p_corrected"] = p
            if "bootstrap" in row["test"]:
                least_p = row["least_p"] = min(1.0, len(family) * 2 / (row["replicates"] + 1))
                if least_p >= ALPHA:
                    row["test"] += f"; so few replicates show no corrected p below {least_p:.2g}"
    same = ("number", "difference", "low", "high", "p", "p_corrected", "test", "least_p")
    return [
        Difference(
            set_name=name, model=model, value=row["a"], baseline=row["b"], **{column: row[column] for column in same}
        )
        for name, model, row in rows
    ]


def replicates_needed(differences: Sequence[Difference], replicates: int) -> Optional[int]:
    """Return how many replicates the tests by the bootstrap take to come out; None if they are enough."""
    counts = Counter(_family(test.number) for test in differences if test.p is not None and "bootstrap" in test.test)
    needed = int(np.ceil(2 * max(counts.values(), default=0) / ALPHA))
    # Fewer may have been drawn of very many pairs.
    lacking = max((test.least_p / ALPHA for test in differences if test.least_p is not None), default=0.0)
    if lacking >= 1:
        needed = max(needed, int(np.ceil(lacking * replicates)) + 1)
    return needed if needed > replicates else None


def signed(value: float) -> str:
    """Write a difference with its sign, to three digits, with a true minus."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def interval_text(test: Difference) -> str:
    """Write a difference with its interval, if it has one."""
    if test.low is None or test.high is None:
        return signed(test.difference)
    return f"{signed(test.difference)} [{signed(test.low)}, {signed(test.high)}]"


def difference_text(test: Difference) -> str:
    """Write a difference as `AUC +0.012 [+0.004, +0.020], p = 0.003`; the p-value is the corrected one."""
    value = test.p_corrected
    p = "no valid test" if value is None else "p < 0.001" if value < 0.001 else f"p = {value:.3f}"
    if value is not None:
        # No line breaks in it.
        p = p.replace(" ", "\N{NO-BREAK SPACE}")
    return f"{numbers.title_of(test.number)} {interval_text(test)}, {p}"


Tests = Mapping[tuple[str, str, str], Difference]


def _strong(name: str, number: str, values: Mapping[str, float], tests: Tests, baseline: str) -> str:
    """The model to set in bold: the best one, if the tests against the baseline say that it is more than chance."""
    sign = -1 if numbers.lower_is_better(number) else 1
    best = max(values, key=lambda model: sign * values[model])
    rivals = [model for model in values if model != baseline] if best == baseline else [best]
    rival_tests = [tests.get((name, number, model)) for model in rivals]
    return best if rival_tests and all(test is not None and test.significant for test in rival_tests) else ""


def comparison_table(
    models: Sequence[EvaluatedModel], differences: Sequence[Difference], headlines: bool = False
) -> TextTable:
    """Lay the numbers of all models on all sets side by side; with `headlines` those that papers quote."""
    rows, lines, shown = [], [], []
    tests = {(test.set_name, test.number, test.model): test for test in differences}
    for name in set_names(models):
        results = {model.name: model.sets[name].result for model in models if name in model.sets}
        by_model = {model: numbers.numbers_of(result) for model, result in results.items()}
        for number in dict.fromkeys(number for values in by_model.values() for number in values):
            values = {model: known[number] for model, known in by_model.items() if number in known}
            for model, value in values.items():
                low, high = numbers.interval_of(results[model], number) or (None, None)
                line = {"set": name, "number": number, "model": model, "value": value, "low": low, "high": high}
                test = tests.get((name, number, model))
                for column in ("difference", "low", "high", "p", "p_corrected", "test"):
                    key = f"difference_{column}" if column in ("low", "high") else column
                    line[key] = getattr(test, column) if test else None
                lines.append({**line, "few_false_accepts": not numbers.is_countable(results[model], number)})
            words = number.split("@")
            quoted = words[0] in _QUOTED and "galleries" not in words
            if (headlines and not quoted) or not all(numbers.is_countable(results[model], number) for model in values):
                continue
            strong = _strong(name, number, values, tests, models[0].name)
            cells = dict.fromkeys((model.name for model in models), DASH)
            for model, value in values.items():
                interval, test = numbers.interval_of(results[model], number), tests.get((name, number, model))
                text = f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")
                text += "*" if test and test.significant else ""
                cells[model] = Strong(text) if model == strong else text
            rows.append([name, numbers.title_of(number), *cells.values()])
            shown.append(number)
    tested = (
        f" An asterisk: differs from {models[0].name} (paired test, Holm-corrected p < {ALPHA:g}). Bold: the best of "
        f"its row, where that is more than chance by these tests. {DASH}: not evaluated."
    )
    caption = (
        f"Numbers with their 95% intervals. {numbers.meanings_of(shown)}. A rate at fewer than {MIN_FALSE_ACCEPTS} "
        f"false accepts is left out.{tested if len(models) > 1 else ''}{_poolings(models)}"
    )
    header = ["set", "number", *(model.name for model in models)]
    name = "headlines" if headlines else "comparison"
    return TextTable(name, caption, header, rows, heads=2, data=pd.DataFrame(lines))


def _poolings(models: Sequence[EvaluatedModel]) -> str:
    """Say how the images of templates were pooled, in every set that has some."""
    said = []
    for name in set_names(models):
        known = {model.name: model.sets[name].result.get("pooling") for model in models if name in model.sets}
        if len(set(known.values())) == 1:
            known = {"": next(iter(known.values()))}
        said += [f"{name}{model and f' of {model}'} by {pooling}" for model, pooling in known.items() if pooling]
    return f" Templates are pooled: {'; '.join(said)}." if said else ""


def differences_table(differences: Sequence[Difference], baseline: str) -> TextTable:
    """Lay out the paired tests against the baseline, a row for each set, number and model."""
    rows = [
        [
            test.set_name,
            numbers.title_of(test.number),
            test.model,
            Strong(interval_text(test)) if test.significant else interval_text(test),
            DASH if test.p is None else f"{test.p:.2g}",
            DASH if test.p_corrected is None else f"{test.p_corrected:.2g}",
            test.test,
        ]
        for test in differences
    ]
    caption = (
        f"Each model less {baseline}, on the same pairs or probes, with the 95% interval of the difference; p of the "
        "paired test, and corrected by Holm for the tests of one number on all sets and models. Bold: corrected p < "
        f"{ALPHA:g}."
    )
    header = ["set", "number", "model", "difference", "p", "p, corrected", "test"]
    data = pd.DataFrame(map(dataclasses.asdict, differences))
    return TextTable("differences", caption, header, rows, heads=3, data=data)
