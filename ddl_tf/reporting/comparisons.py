"""Models against the first one, on the same pairs and probes: differences, and whether they are more than chance."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Optional

import pandas as pd

from ddl_tf.reporting.evaluations import EvaluatedModel, set_names
from ddl_tf.reporting.layout_table import DASH, Cell, TextTable
from ddl_tf.reporting.numbers import interval_of, lower_is_better, meanings_of, numbers_of, title_of

ALPHA = 0.05


@dataclasses.dataclass(frozen=True)
class Difference:
    """A number of a model against that of the baseline.

    Attributes:
        set_name: of the set.
        number: as in `numbers_of`.
        model: that is compared.
        value: of the model.
        baseline: the number of the baseline.
        difference: the model's less the baseline's.
        low: lower end of its 95% interval.
        high: upper end.
        p: of the paired test, uncorrected.
        p_corrected: by Holm, over all tests of the report.
        test: which one.
    """

    set_name: str
    number: str
    model: str
    value: float
    baseline: float
    difference: float
    low: float
    high: float
    p: float
    p_corrected: float
    test: str

    @property
    def significant(self) -> bool:
        """Whether the difference is more than chance."""
        return self.p_corrected < ALPHA

    @property
    def better(self) -> bool:
        """Whether the model is better than the baseline on these pairs, be it by chance."""
        return (self.difference < 0) == lower_is_better(self.number) and self.difference != 0


def signed(value: float) -> str:
    """Write a difference with its sign, to three digits, with a true minus."""
    return f"{value:+.3f}".replace("-", "\N{MINUS SIGN}")


def p_text(p: float) -> str:
    """Write a p-value: `p = 0.012`, or `p < 0.001`."""
    return "p < 0.001" if p < 0.001 else f"p = {p:.3f}"


def difference_text(one: Difference) -> str:
    """Write a difference as `AUC +0.012 [+0.004, +0.020], p = 0.003`; the p-value is the corrected one."""
    interval = f"[{signed(one.low)}, {signed(one.high)}]"
    return f"{title_of(one.number)} {signed(one.difference)} {interval}, {p_text(one.p_corrected)}"


def value_text(value: float, interval: Optional[tuple[float, float]]) -> str:
    """Write a number to three digits, with its interval if there is one."""
    return f"{value:.3f}" + (f" [{interval[0]:.3f}, {interval[1]:.3f}]" if interval else "")


def _strong(name: str, number: str, values: dict[str, float], differences: Sequence[Difference], baseline: str) -> str:
    """The model to set in bold: the best one, if the tests against the baseline say that it is more than chance."""
    sign = -1 if lower_is_better(number) else 1
    best = max(values, key=lambda model: sign * values[model])
    tests = [one for one in differences if one.set_name == name and one.number == number]
    if best == baseline:
        sure = bool(tests) and len(tests) == len(values) - 1 and all(one.significant for one in tests)
    else:
        sure = any(one.significant for one in tests if one.model == best)
    return best if sure else ""


def comparison_table(models: Sequence[EvaluatedModel], differences: Sequence[Difference]) -> TextTable:
    """Lay the numbers of all models on all sets side by side.

    Args:
        models: of the report, the baseline first.
        differences: of `compare_models`.

    Returns:
        A row for each set and number; its CSV has a line for each set, number and model, at full precision.
    """
    rows, lines, shown = [], [], []
    found = {(one.set_name, one.number, one.model): one for one in differences}
    for name in set_names(models):
        by_model = {model.name: numbers_of(model.sets[name].result) for model in models if name in model.sets}
        for number in dict.fromkeys(number for numbers in by_model.values() for number in numbers):
            values = {model: numbers[number] for model, numbers in by_model.items() if number in numbers}
            strong = _strong(name, number, values, differences, models[0].name)
            cells = []
            for model in models:
                if model.name not in values:
                    cells.append(Cell(DASH))
                    continue
                interval = interval_of(model.sets[name].result, number)
                difference = found.get((name, number, model.name))
                mark = "*" if difference and difference.significant else ""
                text = value_text(values[model.name], interval) + mark
                cells.append(Cell(text, strong=model.name == strong))
                lines.append(_line(name, number, model.name, values[model.name], interval, difference))
            rows.append([Cell(name), Cell(title_of(number)), *cells])
            shown.append(number)
    caption = (
        "Numbers with their 95% intervals. "
        f"{meanings_of(shown)}. An asterisk: differs from {models[0].name} (paired test, Holm-corrected p < {ALPHA:g}). "
        "Bold: the best of its row, where that is more than chance by these tests. "
        f"{DASH}: not evaluated."
    )
    header = ["set", "number", *(model.name for model in models)]
    return TextTable("comparison", caption, header, rows, heads=2, data=pd.DataFrame(lines))


def _line(
    name: str,
    number: str,
    model: str,
    value: float,
    interval: Optional[tuple[float, float]],
    difference: Optional[Difference],
) -> dict[str, Any]:
    low, high = interval or (None, None)
    line: dict[str, Any] = {"set": name, "number": number, "model": model, "value": value, "low": low, "high": high}
    for column in ("difference", "low", "high", "p", "p_corrected", "test"):
        key = f"difference_{column}" if column in ("low", "high") else column
        line[key] = getattr(difference, column) if difference else None
    return line


def differences_table(differences: Sequence[Difference], baseline: str) -> TextTable:
    """Lay out the paired tests against the baseline.

    Args:
        differences: of `compare_models`, at least one.
        baseline: name of the model that the others are compared with.

    Returns:
        A row for each set, number and model.
    """
    rows = [
        [
            Cell(one.set_name),
            Cell(title_of(one.number)),
            Cell(one.model),
            Cell(f"{signed(one.difference)} [{signed(one.low)}, {signed(one.high)}]", strong=one.significant),
            Cell(f"{one.p:.2g}"),
            Cell(f"{one.p_corrected:.2g}"),
            Cell(one.test),
        ]
        for one in differences
    ]
    caption = (
        f"Each model less {baseline}, on the same pairs or probes, with the 95% interval of the difference; p of the "
        f"paired test, and corrected by Holm over all {len(differences)} tests of this page. Bold: corrected p < {ALPHA:g}."
    )
    header = ["set", "number", "model", "difference", "p", "p, corrected", "test"]
    return TextTable("differences", caption, header, rows, heads=3, data=pd.DataFrame(map(dataclasses.asdict, differences)))
