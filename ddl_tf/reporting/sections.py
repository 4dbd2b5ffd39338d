"""The sections of a report on evaluations: which figures and tables there are, and what they say in words."""

import hashlib
import re
from collections.abc import Mapping, Sequence
from typing import Union

import numpy as np
import pandas as pd

from ddl_tf.evaluation.comparison import comparison_figure
from ddl_tf.metrics.k_fold import best_threshold
from ddl_tf.reporting import bins
from ddl_tf.reporting.comparisons import (
    Difference,
    affordable_replicates,
    comparison_table,
    difference_text,
    differences_table,
    replicates_needed,
)
from ddl_tf.reporting.embedding_map import choose_images, embedding_map_figure, map_embeddings, unit_embeddings
from ddl_tf.reporting.evaluations import EvaluatedModel, EvaluatedSet, missing_sets, set_names
from ddl_tf.reporting.figures_pairs import distributions_figure, roc_band, roc_det_figure
from ddl_tf.reporting.identification import identification_figure, rank1_table
from ddl_tf.reporting.layout_table import Cell, TextTable
from ddl_tf.reporting.page import Picture, Section
from ddl_tf.reporting.palette import Style
from ddl_tf.reporting.race import RACE_SETS, race_figure

# name of a model -> how it is drawn.
Styles = Mapping[str, Style]
# File systems take names of 255 bytes, with an ending and what writing aside puts before it.
_LONGEST = 150
# The number that a set is summed up by: the first of these that was tested.
_MAIN = ("auc", "verification@auc", "gap")


def anchor(*words: str) -> str:
    """Make a name for files and anchors of any words; other words make another name.

    Example:
        >>> anchor("roc", "my set/1")
        'roc-my.20.set.2f.1'
    """
    # What stands between the words and around a number is in none of them.
    name = "-".join(re.sub("[^A-Za-z0-9_]", lambda found: f".{ord(found[0]):x}.", word) for word in words)
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}..{hashlib.sha256(name.encode()).hexdigest()[:16]}"


def with_set(models: Sequence[EvaluatedModel], name: str) -> dict[str, EvaluatedSet]:
    """Return model -> what it did on a set, of those that were evaluated on it."""
    return {model.name: model.sets[name] for model in models if name in model.sets}


def findings(models: Sequence[EvaluatedModel], differences: Sequence[Difference], replicates: int) -> Section:
    """Say in sentences what the differences are."""
    sentences = []
    names = dict.fromkeys(one.set_name for one in differences)
    # The gap between two sets comes first.
    for name in sorted(names, key=lambda name: name in set_names(models)):
        for model in models[1:]:
            tests = {one.number: one for one in differences if one.set_name == name and one.model == model.name}
            sentences += [_finding(tests[number], models[0].name) for number in _main_numbers(list(tests))]
    needed = replicates_needed(differences, replicates)
    if needed:
        sentences.append(
            f"With {replicates:,} replicates the bootstrap cannot tell any of so many differences from chance, after "
            "the "
            f"correction: make the report with at least {needed:,}."
        )
    return Section("findings", "Findings", [*sentences, *missing_sets(models)])


def _main_numbers(tested: list[str]) -> list[str]:
    """The numbers that a set is summed up by: one of its pairs, and rank-1 in each condition."""
    ranks = [number for number in tested if number.split("@")[0] == "rank1" or number == "identification@rank@1"]
    return [number for number in _MAIN if number in tested][:1] + ranks or tested[:1]


def _finding(one: Difference, baseline: str) -> str:
    if one.number == "gap":
        # It is better only where the margin of the hard set is not smaller too.
        place, verdict = f"between {one.set_name}", "smaller" if one.difference < 0 else "larger"
    else:
        place, verdict = f"on {one.set_name}", "better" if one.better else "worse"
    verdict = f"{verdict}, and more than chance" if one.significant else "not more than chance"
    return (
        f"{one.model} against {baseline} {place}: {difference_text(one)}, from {one.baseline:.3f} to {one.value:.3f}: "
        f"{verdict}."
    )


def headlines(models: Sequence[EvaluatedModel], differences: Sequence[Difference]) -> Section:
    """Lay the numbers that papers quote side by side."""
    return Section("headlines", "Comparison", parts=[comparison_table(models, differences, headlines=True)])


def everything(models: Sequence[EvaluatedModel], differences: Sequence[Difference]) -> Section:
    """Lay all numbers side by side, and the tests."""
    parts = [comparison_table(models, differences)]
    if differences:
        parts.append(differences_table(differences, models[0].name))
    return Section("all", "All numbers and tests", parts=parts)


def gap(models: Sequence[EvaluatedModel], easy: str, hard: str) -> Section:
    """Draw the paper's figure 1, of models that have both sets."""
    arms = {model.name: (model.sets[easy].similarities, model.sets[hard].similarities) for model in models}
    sentences = []
    for name, pairs in arms.items():
        margins = [float(one.similarity[one.same].mean() - one.similarity[~one.same].mean()) for one in pairs]
        sentences.append(
            f"{name}: expectation margin {margins[0]:.3f} on {easy}, {margins[1]:.3f} on {hard}; the gap between "
            "them is "
            f"{margins[0] - margins[1]:.3f}."
        )
    caption = (
        f"Similarities of the pairs of {easy} (easy, what the teacher of DDL is like) and {hard} (hard, the student). "
        "Filled: pairs of the same person; outlined: of different people. Vertical lines: the expectations. Margin: "
        "distance "
        "between those of same and different pairs. Gap: margin of easy less margin of hard; the smaller, the more "
        "alike."
    )
    alternative = f"Distributions of the similarities on {easy} and {hard}. {' '.join(sentences)}"
    picture = Picture("gap", comparison_figure(arms), alternative, caption)
    return Section("easy-and-hard", f"Easy and hard: {easy} and {hard}", sentences, [picture])


def distributions(models: Sequence[EvaluatedModel]) -> Section:
    """Draw the similarities of every set of pairs."""
    pictures = []
    for name in set_names(models):
        evaluated = {model: one.similarities for model, one in with_set(models, name).items() if one.has_pairs}
        if not evaluated:
            continue
        said = "; ".join(
            f"{model}: mean {one.similarity[one.same].mean():.3f} of same, {one.similarity[~one.same].mean():.3f} of "
            "different pairs"
            for model, one in evaluated.items()
        )
        caption = (
            f"{name}: densities of the cosine similarities of same and different pairs. Dashed: their expectations; "
            "margin: "
            "the distance between the two."
        )
        figure = distributions_figure(evaluated)
        pictures.append(Picture(anchor("similarities", name), figure, f"Similarities on {name}. {said}.", caption))
    return Section("similarities", "Similarities of pairs", parts=pictures)


def curves_of_errors(models: Sequence[EvaluatedModel], replicates: int, seed: int, styles: Styles) -> Section:
    """Draw ROC and DET of every set of pairs."""
    pictures = []
    for name in set_names(models):
        evaluated = {model: one for model, one in with_set(models, name).items() if one.has_pairs}
        if not evaluated:
            continue
        first = next(iter(evaluated.values()))
        times = affordable_replicates(len(first.scores["same"]), replicates)
        bands = {
            model: roc_band(one.similarities.similarity, one.similarities.same, times, seed, *one.people)
            for model, one in evaluated.items()
        }
        num_same = int(first.similarities.same.sum())
        said = "; ".join(
            f"{model}: TAR {band.tar[np.searchsorted(band.far, 0.01 * (1 + 1e-9), side='right') - 1]:.3f} at FAR 1e-2"
            for model, band in bands.items()
            if band.far[0] <= 0.01
        )
        unit = "pairs" if first.people[0] is None else "people"
        caption = (
            f"{name}. Left: ROC, the share of same pairs that are accepted (TAR) against the share of different ones "
            "that "
            "are (FAR). Right: DET, the share of same pairs that are missed against FAR, both axes in probits; lower "
            "is better, and "
            f"none missed is drawn as half of one pair. Bands: pointwise 95% intervals by resampling {unit}, "
            f"{times:,} times, "
            "from three false accepts on."
        )
        alternative = f"ROC and DET on {name}. {said}."
        pictures.append(
            Picture(anchor("roc", name), roc_det_figure(name, bands, num_same, styles), alternative, caption)
        )
    return Section("roc", "ROC and DET", parts=pictures)


def columns_of(images: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Choose the numeric columns of a set's images to bin pairs by: those wanted, or all, with at least two values."""
    numeric = [str(name) for name in images.select_dtypes("number") if name not in ("key", "person")]
    chosen = [name for name in wanted if name in numeric] if wanted else numeric
    return [name for name in chosen if images[name].nunique() > 1]


def conditions(models: Sequence[EvaluatedModel], wanted: Sequence[str], styles: Styles) -> Section:
    """Draw accuracy and TAR by bins of the images' columns."""
    parts: list[Union[Picture, TextTable]] = []
    for name in set_names(models):
        evaluated = {model: one for model, one in with_set(models, name).items() if one.pairs_of_images}
        if not evaluated:
            continue
        first = next(iter(evaluated.values()))
        for column in columns_of(first.images, wanted):
            values = bins.pair_values(
                first.images[column].to_numpy(np.float64), first.scores["first"], first.scores["second"], column
            )
            edges = bins.bin_edges(values)
            if len(edges) < 3:
                continue
            tables = {}
            for model, one in evaluated.items():
                pairs = one.similarities
                threshold, _ = best_threshold(2 - 2 * pairs.similarity, pairs.same)
                tables[model] = bins.bin_table(pairs.similarity, pairs.same, values, threshold, edges)
            parts += _bin_parts(name, column, tables, int(np.isnan(values).sum()), styles)
    sentences = [
        "A pair has the value of the worse of its two images: the larger absolute value of a yaw, pitch, roll, blur "
        "and the "
        "like, the smaller one of a resolution, a sharpness, and whatever else. Bins hold about equally many pairs. "
        "The "
        "thresholds are those of all pairs of the set, not of the bin. Bars: Wilson's 95% intervals."
    ]
    return Section("conditions", "By condition of the images", sentences if parts else (), parts)


def _bin_parts(
    name: str, column: str, tables: dict[str, pd.DataFrame], without: int, styles: Styles
) -> tuple[Picture, TextTable]:
    rule = f"larger |{column}|" if bins.more_is_harder(column) else f"smaller {column}"
    left_out = f" {without:,} pairs have an image without a value and are left out." if without else ""
    said = "; ".join(
        f"{model}: accuracy {', '.join(f'{value:.3f}' for value in table['accuracy'])}"
        for model, table in tables.items()
    )
    caption = (
        f"{name} by the {rule} of a pair's two images. Accuracy: share of right decisions at the threshold that is "
        "best on "
        f"all pairs. TAR: share of same pairs accepted at the threshold of FAR {bins.BIN_FAR:g} on all pairs.{left_out}"
    )
    picture = Picture(
        anchor("bins", name, column),
        bins.bins_figure(column, tables, name, styles),
        f"Accuracy and TAR on {name} in bins of {column}, from its smallest values on. {said}.",
        caption,
    )
    data = pd.concat([table.assign(model=model) for model, table in tables.items()])
    labels = [label.split("\n")[0] for label in bins.bin_labels(next(iter(tables.values())))]
    rows = [
        [
            Cell(label),
            *(Cell(f"{int(next(iter(tables.values())).iloc[place][count]):,}") for count in ("pairs", "same")),
            *(Cell(f"{table.iloc[place][number]:.3f}") for table in tables.values() for number in ("accuracy", "tar")),
        ]
        for place, label in enumerate(labels)
    ]
    header = [rule, "pairs", "same", *(f"{model}, {what}" for model in tables for what in ("accuracy", "TAR"))]
    table = TextTable(
        anchor("bins", name, column, "table"), f"{name} by {column}, in numbers", header, rows, folded=True, data=data
    )
    return picture, table


def identification(models: Sequence[EvaluatedModel], replicates: int, seed: int, styles: Styles) -> Section:
    """Draw CMC and rank-1 by condition of every set of ranks."""
    pictures = []
    for name in set_names(models):
        evaluated = {model: one for model, one in with_set(models, name).items() if one.has_ranks}
        if not evaluated:
            continue
        ranks = {model: np.asarray(one.scores["rank"]) for model, one in evaluated.items()}
        scores = next(iter(evaluated.values())).scores
        condition = np.asarray(scores.get("condition", np.full(len(scores["rank"]), "")))
        person = scores.get("person")
        tables = {model: rank1_table(rank, condition, person, replicates, seed) for model, rank in ranks.items()}
        said = "; ".join(
            f"{model}: "
            + ", ".join(
                f"{rate:.3f}" + (f" in {where}" if where else "")
                for where, rate in table[["condition", "rank1"]].to_numpy()
            )
            for model, table in tables.items()
        )
        how = "Wilson's 95% intervals over the probes" if person is None else "95% intervals by resampling people"
        caption = (
            f"{name}. CMC: share of the probes whose mate is among the first 1, 2, ... of the gallery, of all "
            f"{len(condition):,} probes; rank 1 is identification. Bars: {how}."
        )
        figure = identification_figure(name, ranks, tables, styles)
        pictures.append(Picture(anchor("ranks", name), figure, f"Rank-1 rates on {name}. {said}.", caption))
    return Section("identification", "Identification", parts=pictures)


def races(models: Sequence[EvaluatedModel], styles: Styles) -> Section:
    """Draw the accuracy on the races of RFW, of the models that have all four sets."""
    evaluated = [model for model in models if all(name in model.sets for name in RACE_SETS)]
    if not evaluated:
        return Section("races", "Races")
    said = "; ".join(
        f"{model.name}: " + ", ".join(f"{model.sets[name].result['accuracy']:.3f} {name}" for name in RACE_SETS)
        for model in evaluated
    )
    caption = (
        "Accuracy by k-fold cross-validation on the four races of Racial Faces in-the-Wild, with the stored 95% "
        "intervals. "
        "The more level, the fairer."
    )
    return Section("races", "Races", parts=[Picture("races", race_figure(evaluated, styles), f"{said}.", caption)])


def embedding_map(models: Sequence[EvaluatedModel], easy: str, hard: str, count: int, seed: int) -> Section:
    """Draw the embeddings of easy and hard images, of the models that have kept both."""
    evaluated = {
        model.name: (model.sets[easy], model.sets[hard])
        for model in models
        if all(name in model.sets and model.sets[name].embeddings is not None for name in (easy, hard))
    }
    if not evaluated:
        sentence = f"No model has kept its embeddings of {easy} and {hard}: there is no map."
        return Section("map", "Map of embeddings", [sentence])
    first = next(iter(evaluated.values()))
    chosen = choose_images(first[0].images, first[1].images, count, seed)
    maps = {}
    for model, sets in evaluated.items():
        rows = [
            unit_embeddings(one.embeddings[chosen_rows])
            for one, chosen_rows in zip(sets, (chosen.easy, chosen.hard))
            if one.embeddings is not None
        ]
        maps[model] = map_embeddings(np.concatenate(rows), seed)
    colours = f"Each colour is one of {chosen.people} people. " if chosen.people else ""
    caption = (
        f"t-SNE of the embeddings of {len(chosen.easy):,} images of {easy} and {len(chosen.hard):,} of {hard}, the "
        "same for "
        f"each model, with one seed and one perplexity. {colours}Near points are similar; distances between far "
        "ones, sizes "
        "of clusters and the axes mean nothing. Where easy and hard images of a person lie together, the model knows "
        "him in both."
    )
    figure = embedding_map_figure(maps, chosen, easy, hard)
    alternative = f"Maps of the embeddings of {easy} and {hard} images by t-SNE, one for each of {', '.join(maps)}."
    return Section("map", "Map of embeddings", parts=[Picture("map", figure, alternative, caption)])
