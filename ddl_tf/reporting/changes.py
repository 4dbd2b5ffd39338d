"""The section of a report on what changed: the pairs that another model decides otherwise, and for whom."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Optional, Union

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.common.text import figure_text
from ddl_tf.metrics.bootstrap import bootstrapped_targets
from ddl_tf.metrics.changed_decisions import Change, RateThreshold, changed_decisions
from ddl_tf.metrics.pair_people import people_of_pairs
from ddl_tf.metrics.paired_tests import holm
from ddl_tf.metrics.people_rates import ACROSS
from ddl_tf.metrics.roc import FAR_TARGETS
from ddl_tf.protocols.people_groups import group_images
from ddl_tf.reporting.bins import bin_edges, columns_of, more_is_harder, pair_values
from ddl_tf.reporting.comparisons import ALPHA, affordable_replicates, signed
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet, sets_of_kind
from ddl_tf.reporting.layout_table import Strong, TextTable
from ddl_tf.reporting.numbers import far_targets
from ddl_tf.reporting.page import Picture, Section, anchor
from ddl_tf.reporting.pair_pictures import image_reader, pairs_figure
from ddl_tf.reporting.palette import Style

_ALL = "all pairs"
# Model -> part of the set -> what changed among its same and its different pairs.
_Rows = Mapping[str, Mapping[str, tuple[Change, Change]]]
_KINDS = {True: ("one person", "FNMR"), False: ("two people", "FMR")}


class _Decisions(NamedTuple):
    """Two models on the same pairs of a set, at their thresholds for one false match rate; the baseline comes first."""

    target: str
    fmr: float
    same: np.ndarray
    similarities: tuple[np.ndarray, np.ndarray]
    thresholds: tuple[float, float]

    def turned(self, kind: bool, right: bool) -> np.ndarray:
        """Find the pairs of a kind that turned right, or wrong, the most changed first."""
        above = [values - level for values, level in zip(self.similarities, self.thresholds)]
        before, now = ((values >= 0) == self.same for values in above)
        rows = np.flatnonzero((before != now) & (now == right) & (self.same == kind))
        return rows[np.argsort(-np.abs(above[1] - above[0])[rows], kind="stable")]


def _decide(base: EvaluatedSet, compared: EvaluatedSet) -> Optional[_Decisions]:
    """Set both thresholds for the least false match rate that enough pairs can tell; None without one."""
    same = base.similarities.same
    # Those that were asked for may all be too small.
    asked = (bootstrapped_targets(same, rates) for rates in (far_targets(base.result), FAR_TARGETS))
    targets = next(filter(None, asked), None)
    if not targets:
        return None
    target = min(targets, key=lambda name: targets[name])
    similarities = base.similarities.similarity, compared.similarities.similarity
    once = np.ones(len(same))
    levels = [RateThreshold(values, same, targets[target]).at(once) for values in similarities]
    return _Decisions(target, targets[target], same, similarities, (levels[0], levels[1]))


def _groups(evaluated: EvaluatedSet, wanted: Sequence[str]) -> Iterator[tuple[str, np.ndarray]]:
    """Name parts of the pairs by the columns of their images, each with which pairs are in it `[pairs]`."""
    if not evaluated.pairs_of_images:
        return
    images, first, second = evaluated.images, evaluated.scores["first"], evaluated.scores["second"]
    for column in columns_of(images, wanted):
        values = pair_values(images[column].to_numpy(np.float64), first, second, column)
        edges = bin_edges(values)
        rule = f"|{column}|" if more_is_harder(column) else column
        for low, high in zip(edges, edges[1:]) if len(edges) > 2 else ():
            last = high == edges[-1]
            inside = (values >= low) & ((values <= high) if last else (values < high))
            yield f"{rule} {low:.3g} to {high:.3g}", inside
    # A column of texts may be anything; those that somebody named are groups.
    named = dict.fromkeys([*wanted, *evaluated.result.get("groups", ())])
    for column in images.select_dtypes(exclude="number").columns.intersection(list(named)):
        groups = group_images(images, [column])[column]
        known = (groups.group[first] >= 0) & (groups.group[second] >= 0)
        alike = groups.group[first] == groups.group[second]
        for number, name in enumerate(groups.names):
            yield f"{column} {name}", known & alike & (groups.group[first] == number)
        yield f"{column}: {ACROSS}", known & ~alike


def changes(
    models: Sequence[EvaluatedModel],
    wanted: Sequence[str],
    count: int,
    replicates: int,
    seed: int,
    styles: Mapping[str, Style],
) -> Section:
    """Say what each model decides otherwise than the first one, and for whom, and show `count` pairs of each kind."""
    words: list[str] = []
    parts: list[Union[Picture, TextTable]] = []
    for name, sets in sets_of_kind(models, "has_pairs"):
        base = sets.pop(models[0].name, None)
        # So many pairs of templates are compared as a whole alone, among the differences.
        if base is None or not sets or base.result.get("protocol") == "templates":
            continue
        groups = {_ALL: np.ones(len(base.scores["same"]), bool), **dict(_groups(base, wanted))}
        rows, known, turned = {}, {}, []
        for model, evaluated in sets.items():
            decisions = _decide(base, evaluated)
            if decisions is None:
                words.append(
                    f"{name} has too few pairs of two people to set thresholds for a false match rate by them."
                )
                break
            values = decisions.similarities[1], decisions.similarities[0]
            times = affordable_replicates(len(decisions.same), replicates)
            people = people_of_pairs(base.scores)
            rows[model] = changed_decisions(*values, decisions.same, decisions.fmr, groups, times, seed, people)
            title = f"{model} against {models[0].name} on {name}"
            known[model] = title, decisions
            turned += _turned_parts(anchor("turned", name, model), title, decisions, evaluated, count)
        if rows:
            corrected = _corrected(rows)
            for model, (title, decisions) in known.items():
                words.append(f"{title}, {_sentence(decisions, rows[model][_ALL], corrected[model, _ALL, True])}")
            tests = sum(p is not None for (_, group, _), p in corrected.items() if group != _ALL)
            if (needed := int(np.ceil(2 * tests / ALPHA))) > times:
                words.append(
                    f"With {times:,} replicates no part of {name} can be told from chance after the correction for "
                    f"{tests:,} tests: make the report with at least {needed:,}, or name fewer --columns."
                )
            parts += [*_group_parts(name, models[0].name, rows, corrected, styles), *turned]
    return Section("changes", "What changed, and for whom", words, parts)


def _corrected(rows: _Rows) -> dict[tuple[str, str, bool], Optional[float]]:
    """The p-values of a set by model, part and kind; None where there is no test.

    They are corrected by Holm: those of all pairs for each other, and those of the parts for each other.
    """
    found: dict[tuple[str, str, bool], Optional[float]] = {
        (model, group, kind): change.test.p
        for model, groups in rows.items()
        for group, both in groups.items()
        for kind, change in zip(_KINDS, both)
    }
    for of_all in (True, False):
        family = [place for place, p in found.items() if p is not None and (place[1] == _ALL) == of_all]
        found.update(zip(family, holm([found[place] or 0.0 for place in family])))
    return found


def _sentence(decisions: _Decisions, changes_of_all: tuple[Change, Change], p: Optional[float]) -> str:
    base, now = decisions.thresholds
    same, different = changes_of_all
    verdict = "not more than chance"
    if p is not None and p < ALPHA:
        verdict = f"{'better' if same.test.difference < 0 else 'worse'}, and more than chance"
    return (
        f"each at its threshold for FMR {decisions.target} ({now:.3f} and {base:.3f}): of {same.pairs:,} pairs of one "
        f"person {same.right:,} turned right and {same.wrong:,} wrong (FNMR {_difference_text(same)}: {verdict}); of "
        f"{different.pairs:,} pairs of two people {different.right:,} turned right and {different.wrong:,} wrong."
    )


def _difference_text(change: Change) -> str:
    """A difference of error rates with its interval; a dash where there is no pair."""
    if not change.pairs:
        return DASH
    test = change.test
    interval = "" if test.low is None or test.high is None else f" [{signed(test.low)}, {signed(test.high)}]"
    return f"{signed(test.difference)}{interval}"


def _group_parts(
    name: str,
    baseline: str,
    rows: _Rows,
    corrected: Mapping[tuple[str, str, bool], Optional[float]],
    styles: Mapping[str, Style],
) -> list[Union[Picture, TextTable]]:
    """The differences of the error rates of each part of a set, as a figure and as a table."""
    cells, lines = [], []
    for model, groups in rows.items():
        for group, both in groups.items():
            row = [model, group]
            for kind, change in zip(_KINDS, both):
                p = corrected[model, group, kind]
                text = _difference_text(change)
                counts = [f"{number:,}" for number in (change.pairs, change.right, change.wrong)]
                row += [
                    *counts,
                    Strong(text) if p is not None and p < ALPHA else text,
                    DASH if p is None else f"{p:.2g}",
                ]
                about = {"model": model, "part": group, "pairs_of": _KINDS[kind][0], "rate": change.test.number}
                lines.append({**about, **change._asdict(), **change.test._asdict(), "p_corrected": p})
            cells.append(row)
    data = pd.DataFrame(lines).rename(columns={"a": "error", "b": "error_of_baseline"})
    data = data.drop(columns=["number"]).assign(baseline=baseline)
    header = ["model", "part"]
    for pairs, rate in _KINDS.values():
        header += [f"pairs of {pairs}", "turned right", "turned wrong", f"{rate}, difference", "p, corrected"]
    caption = (
        f"{name}: what each model decides otherwise than {baseline}, each at its own threshold for one false match "
        "rate on all pairs. A difference below 0 is fewer errors. p is of the bootstrap, in which the thresholds are "
        f"found anew, corrected by Holm, that of all pairs "
        f"and those of the parts each for themselves; bold: below {ALPHA:g}."
    )
    figure = Figure(figsize=(11, 1.4 + 0.32 * len(cells)), layout="constrained")
    for axes, (kind, (pairs, rate)) in zip(figure.subplots(1, 2, sharey=True), _KINDS.items()):
        labels = list(next(iter(rows.values())))
        for position, (model, groups) in enumerate(rows.items()):
            tested = [both[0 if kind else 1].test for both in groups.values()]
            values = np.array(
                [
                    [np.nan] * 3 if test.low is None or test.high is None else [test.difference, test.low, test.high]
                    for test in tested
                ]
            )
            places = np.arange(len(labels)) + (position - (len(rows) - 1) / 2) * 0.6 / len(rows)
            error = np.abs(values[:, [0, 0]] - values[:, 1:]).T
            look = {"linestyle": "none", "capsize": 3, "markersize": 5}
            axes.errorbar(values[:, 0], places, xerr=error, label=figure_text(model), **look, **styles[model].points)
        axes.axvline(0, color="0.5", linewidth=1)
        axes.set_yticks(range(len(labels)), [figure_text(label) for label in labels], fontsize=8)
        axes.set(xlabel=f"{rate} less that of {figure_text(baseline)}", title=f"pairs of {pairs}")
        axes.grid(alpha=0.3)
        axes.margins(y=0.02)
    axes.invert_yaxis()
    handles, legend = axes.get_legend_handles_labels()
    figure.legend(handles, legend, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    shown = (
        f"{name}: error rates less those of {baseline}; left of 0 is better. Bars: 95% intervals by the bootstrap; a "
        "rate that too few pairs can tell is left out."
    )
    alternative = f"Differences of FNMR and FMR on {name} by parts of the set; the table below has the numbers."
    return [
        Picture(anchor("changes", name), figure, alternative, shown),
        TextTable(anchor("changes", name, "table"), caption, header, cells, heads=2, folded=True, data=data),
    ]


def _turned_parts(
    name: str, title: str, decisions: _Decisions, evaluated: EvaluatedSet, count: int
) -> list[Union[Picture, TextTable]]:
    """The pairs that turned, the most changed first: as pictures where the images are at hand, and by their names."""
    turned = {
        f"{_KINDS[kind][0]}, turned {'right' if right else 'wrong'}": decisions.turned(kind, right)[:count]
        for kind in _KINDS
        for right in (True, False)
    }
    turned = {heading: rows for heading, rows in turned.items() if len(rows)}
    if not turned or not evaluated.pairs_of_images:
        return []
    before, now = (values - level for values, level in zip(decisions.similarities, decisions.thresholds))
    parts: list[Union[Picture, TextTable]] = []
    note = ""
    if "source" in evaluated.result:
        texts = {pair: f"{signed(before[pair])} to {signed(now[pair])}" for rows in turned.values() for pair in rows}
        try:
            read = image_reader(evaluated.result["source"], evaluated.images)
        except InputError as error:
            note = f" There are no pictures: {error}."
        else:
            figure, missing = pairs_figure(read, list(turned.items()), evaluated.scores, texts)
            note = f" {len(missing):,} pictures cannot be shown, such as {missing[0]}." if missing else ""
            caption = (
                f"{title}: pairs that turned right and wrong, the most changed first. Under a pair: how far its "
                f"similarity was above the threshold, and is now; who it is."
            )
            parts.append(
                Picture(name, figure, f"{title}: pairs that turned, as pictures; the table names them.", caption)
            )
    keys = evaluated.images["key"]
    cells = [
        [
            heading,
            *(str(keys[evaluated.scores[side][pair]]) for side in ("first", "second")),
            signed(before[pair]),
            signed(now[pair]),
        ]
        for heading, rows in turned.items()
        for pair in rows.tolist()
    ]
    caption = (
        f"{title}: pairs that turned, by the names of their images, with their similarity above the thresholds.{note}"
    )
    header = ["pair of", "first", "second", "before", "now"]
    parts.append(TextTable(f"{name}-table", caption, header, cells, heads=3, folded=True))
    return parts
