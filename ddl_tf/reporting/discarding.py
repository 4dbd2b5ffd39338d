"""The section of a report on quality: how the FNMR falls when the pairs of lowest quality are discarded."""

from collections.abc import Mapping, Sequence
from typing import Optional, Union

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.common.text import figure_text
from ddl_tf.metrics.bootstrap import bootstrapped_targets
from ddl_tf.metrics.discard_curves import (
    LIMIT,
    Benefit,
    FalseMatchRate,
    FalseNonMatchRate,
    discard_benefits,
    ideal_fnmr,
)
from ddl_tf.metrics.pair_people import people_of_pairs
from ddl_tf.reporting.bins import columns_of, more_is_harder, pair_values
from ddl_tf.reporting.comparisons import affordable_replicates
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet, sets_of_kind
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.page import Picture, Section, anchor
from ddl_tf.reporting.palette import GREY, styles_of

NORM = "embedding_norm"
# That of papers on quality, and for smaller sets greater ones.
_USUAL_RATES = {"1e-3": 1e-3, "1e-2": 1e-2, "1e-1": 1e-1}
# Lengths of unit embeddings differ by rounding.
_ROUNDING = 1e-5
# The curves are drawn and written in steps of 1%, up to half of the pairs, and read off in the table at some.
_SHARES = np.arange(51) / 100
_READ = (0, 5, 10, 20, 50)
_ACROSS, _MOST_CURVES = 3, 10

Start = Union[FalseMatchRate, FalseNonMatchRate]


def start_rate(fmr: Optional[float], fnmr: Optional[float]) -> Optional[Start]:
    """Check the rates that a user may give to set thresholds for; None if there is none."""
    if fmr is not None and fnmr is not None:
        raise InputError(f"--discard_fmr={fmr} and --discard_fnmr={fnmr} together: give one of them")
    for name, rate in (("fmr", fmr), ("fnmr", fnmr)):
        if rate is not None and not 0 < rate < 1:
            raise InputError(f"--discard_{name}={rate}: must be above 0 and below 1, such as 1e-3")
    if fnmr is not None:
        return FalseNonMatchRate(fnmr)
    return None if fmr is None else FalseMatchRate(fmr)


def _start(name: str, same: np.ndarray, wanted: Optional[Start]) -> Union[Start, str]:
    """The rate that the thresholds on a set are set for, or why there is none."""
    if isinstance(wanted, FalseNonMatchRate):
        return wanted
    rates = _USUAL_RATES if wanted is None else {f"{wanted.rate:g}": wanted.rate}
    measured = bootstrapped_targets(same, rates)
    if measured:
        return FalseMatchRate(min(measured.values()))
    few = f"{np.sum(~same):,} pairs of two people are too few for a threshold at FMR {max(rates.values()):g}"
    return f"{name}: {few}; give a greater --discard_fmr, or --discard_fnmr."


def _qualities(evaluated: EvaluatedSet, columns: Sequence[str]) -> dict[str, np.ndarray]:
    """Name -> the quality of each pair, higher is better: of columns of the images, and of their embeddings' length."""
    first, second = evaluated.scores["first"], evaluated.scores["second"]
    images = {name: evaluated.images[name].to_numpy(np.float64) for name in columns}
    if evaluated.embeddings is not None and NORM not in images:
        lengths = np.linalg.norm(np.asarray(evaluated.embeddings, np.float64), axis=2).mean(axis=1)
        if np.ptp(lengths) > _ROUNDING * lengths.max():
            images[NORM] = lengths
    qualities = {}
    for name, values in images.items():
        worse = pair_values(values, first, second, name)
        qualities[name] = -worse if more_is_harder(name) else worse
    # Of a column that only pairs of two people have nothing follows.
    return {name: values for name, values in qualities.items() if np.isfinite(values[evaluated.scores["same"]]).any()}


def discarding(
    models: Sequence[EvaluatedModel], wanted: Sequence[str], start: Optional[Start], replicates: int, seed: int
) -> Section:
    """Draw the FNMR over the share of pairs discarded by each quality: columns of the images, length of embeddings."""
    words: list[str] = []
    parts: list[Union[Picture, TextTable]] = []
    for name, sets in sets_of_kind(models, "pairs_of_images"):
        images, same = next((evaluated.images, evaluated.similarities.same) for evaluated in sets.values())
        columns = columns_of(images, wanted)
        useless = [column for column in wanted if column in images and column not in columns]
        words += [f"{name}: the column {column} is no quality: {_why_useless(images[column])}." for column in useless]
        qualities = {model: _qualities(evaluated, columns) for model, evaluated in sets.items()}
        qualities = {model: values for model, values in qualities.items() if values}
        if not qualities:
            continue
        rate = _start(name, same, start)
        if isinstance(rate, str):
            words.append(rate)
            continue
        times = affordable_replicates(len(same), replicates)
        benefits = {}
        for model, values in qualities.items():
            similarity, people = sets[model].similarities.similarity, people_of_pairs(sets[model].scores)
            found = discard_benefits(similarity, same, values, rate, _SHARES, times, seed, people)
            # The best comes first.
            benefits[model] = dict(sorted(found.items(), key=lambda item: item[1].ratio))
        sentences = [_sentence(model, name, rows) for model, rows in benefits.items()]
        words += sentences
        parts += _parts(name, int(same.sum()), rate, benefits, sentences)
    return Section("quality", "Quality: errors when the worst pairs are discarded", words, parts)


def _why_useless(values: pd.Series) -> str:
    if not values.notna().any():
        return "no image has a value"
    return "it is constant" if values.nunique() == 1 else "its values are no numbers"


def _sentence(model: str, name: str, benefits: Mapping[str, Benefit]) -> str:
    best, benefit = next(iter(benefits.items()))
    begin = f"{model} on {name}: {benefit.rejected:,} of {benefit.pairs:,} pairs of one person are rejected"
    if not benefit.rejected:
        return f"{begin}: nothing that a quality could reduce."
    sure = benefit.ratio_interval is not None and benefit.ratio_interval[1] < 1
    verdict = "better than chance" if sure else "not better than chance"
    fall = f"from {benefit.fnmr[0]:.3f} to {benefit.fnmr[round(100 * LIMIT)]:.3f}"
    return (
        f"{begin}. By {best}, the best quality, discarding {LIMIT:.0%} of the pairs lowers the FNMR {fall}; the area "
        f"is {_ratio_text(benefit)} of that of no quality: {verdict}."
    )


def _ratio_text(benefit: Benefit) -> str:
    if np.isnan(benefit.ratio):
        return DASH
    interval = "" if benefit.ratio_interval is None else " [{:.2f}, {:.2f}]".format(*benefit.ratio_interval)
    return f"{benefit.ratio:.2f}{interval}"


def _parts(
    name: str, total: int, rate: Start, benefits: Mapping[str, Mapping[str, Benefit]], sentences: Sequence[str]
) -> tuple[Picture, TextTable]:
    kind = "FMR" if isinstance(rate, FalseMatchRate) else "FNMR"
    header = ["model", "quality", "pairs", "left out", "rejected", *(f"FNMR, {share}% discarded" for share in _READ)]
    header += [f"pAUC to {LIMIT:.0%}", "pAUC / no quality", "ideal / no quality"]
    cells, lines = [], []
    for model, rows in benefits.items():
        for quality, benefit in rows.items():
            counts = [f"{count:,}" for count in (benefit.pairs, total - benefit.pairs, benefit.rejected)]
            rates = [f"{benefit.fnmr[share]:.4f}" for share in _READ]
            area = "{:.5f} [{:.5f}, {:.5f}]".format(benefit.area, *benefit.area_interval)
            ideal = DASH if np.isnan(benefit.ideal) else f"{benefit.ideal:.2f}"
            cells.append([model, quality, *counts, *rates, area, _ratio_text(benefit), ideal])
            curve = {"discarded": _SHARES, "fnmr": benefit.fnmr, "low": benefit.low, "high": benefit.high}
            facts = {"model": model, "quality": quality, "pairs": benefit.pairs, "pauc": benefit.area}
            facts["pauc_of_no_quality"], facts["pauc_ideal"] = (
                LIMIT * benefit.fnmr[0] * factor for factor in (1, benefit.ideal)
            )
            lines.append(pd.DataFrame({**facts, **curve}))
    caption = (
        f"{name}: FNMR of what is left when pairs of lowest quality are discarded (EDC), at the threshold for {kind} "
        f"{rate.rate:g} on all pairs. A pair has the quality of its worse image. pAUC: the area under the curve up to "
        f"{LIMIT:.0%}; over that of no quality, where the FNMR stays: 1 is chance, and nothing is below the ideal. "
        "In brackets: 95% intervals, in which the thresholds are found anew. Pairs: of one person; those without a "
        "quality are left out."
    )
    shown = (
        f"{name}: FNMR of the pairs of one person that are left, over the share discarded; lower is better. Dashed "
        "grey: the ideal, which discards exactly the rejected pairs first; dotted grey: no quality. Vertical line: the "
        f"end of the areas, {LIMIT:.0%}. Last panel: the areas over that of no quality, with 95% intervals; the CSV "
        "file of the table has the intervals of the curves."
    )
    data = pd.concat(lines, ignore_index=True)
    table = TextTable(anchor("discarding", name, "table"), caption, header, cells, heads=2, folded=True, data=data)
    return Picture(anchor("discarding", name), _figure(name, benefits), " ".join(sentences), shown), table


def _figure(name: str, benefits: Mapping[str, Mapping[str, Benefit]]) -> Figure:
    across = min(_ACROSS, len(benefits) + 1)
    down = -(-(len(benefits) + 1) // across)
    figure = Figure(figsize=(4.6 * across, 0.5 + 3.8 * down), layout="constrained")
    *panels, last = figure.subplots(down, across, squeeze=False).ravel()[: len(benefits) + 1]
    for axes in figure.axes[len(benefits) + 1 :]:
        axes.set_visible(False)
    # In the order of the first model, whose best come first.
    names = list(dict.fromkeys(quality for rows in benefits.values() for quality in rows))[:_MOST_CURVES]
    styles = styles_of(names)
    for axes, (model, rows) in zip(panels, benefits.items()):
        drawn = {quality: rows[quality] for quality in names if quality in rows}
        for quality, benefit in drawn.items():
            axes.step(_SHARES, benefit.fnmr, where="post", label=figure_text(quality), **styles[quality].line)
        # Qualities that few pairs have begin elsewhere.
        begin = max(benefit.fnmr[0] for benefit in drawn.values())
        axes.plot(_SHARES, ideal_fnmr(begin, _SHARES), color=GREY, linestyle="--", linewidth=1, label="ideal")
        axes.axhline(begin, color=GREY, linestyle=":", linewidth=1, label="no quality")
        axes.axvline(LIMIT, color=GREY, linewidth=0.8)
        axes.set(xlabel="share of pairs discarded", ylabel="FNMR", xlim=(0, _SHARES[-1]))
        axes.set_ylim(bottom=0)
        axes.set_title(f"{figure_text(name)}: {figure_text(model)}", fontsize=10)
        axes.grid(alpha=0.3)
    models = styles_of(benefits)
    for position, (model, rows) in enumerate(benefits.items()):
        values = np.full([len(names), 3], np.nan)
        for row, quality in enumerate(names):
            if quality in rows:
                values[row] = [rows[quality].ratio, *(rows[quality].ratio_interval or (np.nan, np.nan))]
        places = np.arange(len(names)) + (position - (len(benefits) - 1) / 2) * 0.6 / len(benefits)
        error = np.abs(values[:, [0, 0]] - values[:, 1:]).T
        look = {"linestyle": "none", "capsize": 3, "markersize": 5}
        last.errorbar(values[:, 0], places, xerr=error, label=figure_text(model), **look, **models[model].points)
    last.axvline(1, color=GREY, linestyle=":", linewidth=1)
    last.set_yticks(range(len(names)), [figure_text(quality) for quality in names], fontsize=8)
    last.set(xlabel=f"pAUC to {LIMIT:.0%} over that of no quality", ylim=(len(names) - 0.5, -0.5))
    last.grid(alpha=0.3)
    last.legend(fontsize=8)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=8)
    return figure
