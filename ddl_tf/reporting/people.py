"""The sections of a report on sets of people: thresholds in words, search with strangers, groups, the worst pairs."""

from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import figure_text, visible
from ddl_tf.evaluation.people_text import rate_text, sentences
from ddl_tf.metrics.templates import NEVER
from ddl_tf.reporting.bins import draw_shares
from ddl_tf.reporting.comparisons import affordable_replicates
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet, sets_of_kind
from ddl_tf.reporting.figures_pairs import RocBand, draw_det, roc_band
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.page import Picture, Section, anchor
from ddl_tf.reporting.pair_pictures import image_reader, pairs_figure, worst_pairs
from ddl_tf.reporting.palette import Style

_NAN = (np.nan, np.nan, np.nan)


def people(models: Sequence[EvaluatedModel], styles: Mapping[str, Style], replicates: int, seed: int) -> Section:
    """Say what the thresholds do, and draw the search with strangers and the rates of groups."""
    words: list[str] = []
    parts: list[Union[Picture, TextTable]] = []
    for name, sets in sets_of_kind(models, "of_people"):
        for model, evaluated in sets.items():
            words += [
                f"{model} on {name}: {text}" for text in [*sentences(evaluated.result), *evaluated.result["notes"]]
            ]
        searched = {model: evaluated for model, evaluated in sets.items() if evaluated.result["open_set"]}
        if searched:
            parts.append(_search_picture(name, searched, styles, replicates, seed))
        columns = dict.fromkeys(column for evaluated in sets.values() for column in evaluated.result["groups"])
        for column in columns:
            with_groups = {
                model: evaluated for model, evaluated in sets.items() if column in evaluated.result["groups"]
            }
            parts += _group_parts(name, column, with_groups, styles)
    return Section("people", "People of your own", words, parts)


def search_band(evaluated: EvaluatedSet, replicates: int, seed: int) -> RocBand:
    """Compute TPIR over FPIR with a band: a ROC of searches, that of an enrolled person is "same"."""
    scores = evaluated.scores
    # Whoever is not found first is not found at any threshold.
    mates = np.where(scores["rank"] == 1, scores["mate_similarity"], NEVER)
    similarity = np.concatenate([mates, np.maximum(scores["stranger_similarity"], NEVER)])
    person = np.concatenate([scores["person"], scores["stranger_person"]])
    same = np.arange(len(similarity)) < len(mates)
    return roc_band(similarity, same, affordable_replicates(len(same), replicates), seed, person, person)


def _search_picture(
    name: str, sets: Mapping[str, EvaluatedSet], styles: Mapping[str, Style], replicates: int, seed: int
) -> Picture:
    figure = Figure(figsize=(6.5, 4.4), layout="constrained")
    axes = figure.subplots()
    bands = {model: search_band(evaluated, replicates, seed) for model, evaluated in sets.items()}
    draw_det(axes, bands, min(len(evaluated.scores["rank"]) for evaluated in sets.values()), styles)
    for model, evaluated in sets.items():
        for target, value in evaluated.result["open_set"]["fnir"].items():
            if value:
                axes.plot([float(target)], [value], linestyle="none", **styles[model].points)
    axes.set(xlabel="FPIR: searches of strangers that find somebody", ylabel="FNIR: searches of enrolled that fail")
    axes.set_title(f"{figure_text(name)}: search with strangers, DET")
    axes.legend(fontsize=8)
    first = next(iter(sets.values())).result
    gallery, search = first["identification"]["gallery"], first["open_set"]
    rates = "; ".join(
        f"{model}: FNIR {rate_text(value)} at FPIR {target}"
        for model, evaluated in sets.items()
        for target, value in evaluated.result["open_set"]["fnir"].items()
        if value is not None
    )
    caption = (
        f"{name}, 1:N: {gallery:,} people are enrolled and {search['strangers']:,} are not, drawn {search['splits']} "
        f"times; {search['mated']:,} searches of enrolled people and {search['non_mated']:,} of strangers, at one "
        "threshold for all. A search fails if the right person is not found first, or is below the threshold. Both "
        "axes are in probits. Points: the thresholds in words above. Bands: pointwise 95% intervals by resampling "
        "people, each time with new thresholds, from three false alarms on."
    )
    return Picture(anchor("strangers", name), figure, f"Search with strangers on {name}. {rates}.", caption)


def _group_parts(
    name: str, column: str, sets: Mapping[str, EvaluatedSet], styles: Mapping[str, Style]
) -> list[Union[Picture, TextTable]]:
    """A figure and a table for the first threshold that all models have."""
    thresholds = [evaluated.result["verification"]["threshold"] for evaluated in sets.values()]
    shared = [target for target in thresholds[0] if all(known.get(target) is not None for known in thresholds)]
    if not shared:
        return []
    target = shared[0]
    groups = next(iter(sets.values())).result["groups"][column]
    titles = {"fnmr": "FNMR: pairs of one person that fail", "fmr": "FMR: pairs of two people that pass"}
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    for axes, (kind, title) in zip(figure.subplots(1, 2), titles.items()):
        rates = {
            model: np.array([_with_interval(evaluated.result, column, group, kind, target) for group in groups])
            for model, evaluated in sets.items()
        }
        draw_shares(axes, rates, [figure_text(group).replace(" to ", "\nto ") for group in groups], title, styles)
        axes.set_xlabel(figure_text(column))
        axes.tick_params(axis="x", labelrotation=30 if len(groups) > 5 else 0)
    handles, labels = figure.axes[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    header = [column, "people", "same pairs", "different"]
    rows = [
        [group, *(f"{counts[count]:,}" for count in ("people", "same", "different"))]
        for group, counts in groups.items()
    ]
    for model, evaluated in sets.items():
        header += [f"{model}, FNMR", f"{model}, FMR"]
        for row, group in zip(rows, groups):
            for kind in titles:
                value = evaluated.result["groups"][column][group][kind][target]
                interval = evaluated.result.get("intervals", {}).get(f"groups@{column}@{group}@{kind}@{target}")
                row.append(rate_text(value, interval))
    caption = (
        f"{name} by {visible(column)}: pairs of which both images are in the group, and those of two groups, at each "
        f"model's one threshold for FMR {target} on all pairs. Bars: 95% intervals by resampling people of the group; "
        "a rate that too few pairs or people can tell is left out."
    )
    alternative = f"FNMR and FMR on {name} by {visible(column)}, of {', '.join(groups)}."
    return [
        Picture(anchor("groups", name, column), figure, alternative, caption),
        TextTable(
            anchor("groups", name, column, "table"), f"{name} by {column}, in numbers", header, rows, folded=True
        ),
    ]


def _with_interval(result: Mapping[str, Any], column: str, group: str, kind: str, target: str) -> tuple[float, ...]:
    """A rate and the ends of its interval; without one, bars of no length."""
    value = result["groups"][column][group][kind][target]
    if value is None:
        return _NAN
    return (value, *result.get("intervals", {}).get(f"groups@{column}@{group}@{kind}@{target}", (value, value)))


def worst(models: Sequence[EvaluatedModel], count: int) -> Section:
    """Show the `count` worst pairs of each kind as pictures, and name them in a table; 0: none."""
    words: list[str] = []
    parts: list[Union[Picture, TextTable]] = []
    for name, sets in sets_of_kind(models, "of_people") if count else ():
        for model, evaluated in sets.items():
            scores = evaluated.scores
            same, different = worst_pairs(scores, count)
            try:
                read = image_reader(evaluated.result["source"], evaluated.images)
            except InputError as error:
                words.append(f"There are no pictures of {name}: {error}.")
            else:
                rows = [
                    ("two people, most similar first", different),
                    ("one person, least similar first", same),
                ]
                figure, missing = pairs_figure(read, rows, scores)
                if missing:
                    words.append(f"{len(missing):,} of the pictures of {name} cannot be shown, such as {missing[0]}.")
                caption = (
                    f"{model} on {name}. Above: pairs of two people that look most alike to the model, one of each two "
                    "people. Below: pairs of one person that look least alike to it, one of each person. Under a pair: "
                    "its similarity, and who it is."
                )
                alternative = f"The worst pairs of {model} on {name}, as pictures; the table below names them."
                parts.append(Picture(anchor("worst", name, model), figure, alternative, caption))
            parts.append(_worst_table(name, model, evaluated, np.concatenate([different, same])))
    if parts:
        words.insert(0, "The pictures are in this page and its folder: keep it where the photos themselves may be.")
        words.append(
            "Look here for wrong labels first: one person under two names counts as a false match, two people under "
            "one name as a miss. The pairs are of those that were drawn, not of all that there are."
        )
    return Section("worst", "The worst pairs", words, parts)


def _worst_table(name: str, model: str, evaluated: EvaluatedSet, pairs: np.ndarray) -> TextTable:
    scores, keys = evaluated.scores, evaluated.images["key"]
    rows = [
        [
            "one person" if scores["same"][pair] else "two people",
            str(keys[scores["first"][pair]]),
            str(keys[scores["second"][pair]]),
            f"{scores['similarity'][pair]:.3f}",
        ]
        for pair in pairs.tolist()
    ]
    header = ["pair of", "first", "second", "similarity"]
    caption = f"The worst pairs of {model} on {name}, by the names of their images"
    return TextTable(anchor("worst", name, model, "table"), caption, header, rows, heads=3, folded=True)
