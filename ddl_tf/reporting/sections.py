"""The sections of a report on evaluations: which figures and tables there are, and what they say in words."""

import json
from collections.abc import Mapping, Sequence
from typing import Any, Union

import numpy as np
import pandas as pd

from ddl_tf import reporting
from ddl_tf.common.markdown import DASH
from ddl_tf.evaluation.plots import Similarities, comparison_figure
from ddl_tf.metrics.k_fold import best_threshold
from ddl_tf.reporting import bins, comparisons
from ddl_tf.reporting.comparisons import Difference
from ddl_tf.reporting.evaluations import EvaluatedModel, missing_sets, set_names, sets_of_kind
from ddl_tf.reporting.figures_pairs import distributions_figure, roc_band, roc_det_figure
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.page import Picture, Section, anchor
from ddl_tf.reporting.palette import Style
from ddl_tf.runtimes.views import add_views

# name of a model -> how it is drawn.
Styles = Mapping[str, Style]
# The number that a set is summed up by: the first of these that was tested.
_MAIN = ("auc", "verification@auc", "gap")


def findings(models: Sequence[EvaluatedModel], differences: Sequence[Difference], replicates: int) -> Section:
    """Say in sentences what the differences are."""
    sentences = []
    names = dict.fromkeys(difference.set_name for difference in differences)
    # The gap between two sets comes first.
    for name in sorted(names, key=lambda name: name in set_names(models)):
        for model in models[1:]:
            tests = {test.number: test for test in differences if (test.set_name, test.model) == (name, model.name)}
            # One number of its pairs, and rank-1 in each condition.
            main = [number for number in _MAIN if number in tests][:1]
            main += [number for number in tests if number.split("@")[0] == "rank1" or number == "identification@rank@1"]
            sentences += [_finding(tests[number], models[0].name) for number in main or list(tests)[:1]]
    needed = comparisons.replicates_needed(differences, replicates)
    if needed:
        sentences.append(
            f"With {replicates:,} replicates the bootstrap cannot tell any of so many differences from chance, after "
            f"the correction: make the report with at least {needed:,}."
        )
    return Section("findings", "Findings", [*sentences, *missing_sets(models)])


def _finding(test: Difference, baseline: str) -> str:
    if test.number == "gap":
        # It is better only where the margin of the hard set is not smaller too.
        place, verdict = f"between {test.set_name}", "smaller" if test.difference < 0 else "larger"
    else:
        place, verdict = f"on {test.set_name}", "better" if test.better else "worse"
    verdict = f"{verdict}, and more than chance" if test.significant else "not more than chance"
    return (
        f"{test.model} against {baseline} {place}: {comparisons.difference_text(test)}, from {test.baseline:.3f} to "
        f"{test.value:.3f}: {verdict}."
    )


def headlines(models: Sequence[EvaluatedModel], differences: Sequence[Difference]) -> Section:
    """Lay the numbers that papers quote side by side."""
    return Section("headlines", "Comparison", parts=[comparisons.comparison_table(models, differences, headlines=True)])


def everything(models: Sequence[EvaluatedModel], differences: Sequence[Difference]) -> Section:
    """Lay all numbers side by side, and the tests."""
    parts = [comparisons.comparison_table(models, differences)]
    if differences:
        parts.append(comparisons.differences_table(differences, models[0].name))
    return Section("all", "All numbers and tests", parts=parts)


def gap(models: Sequence[EvaluatedModel], easy: str, hard: str) -> Section:
    """Draw the paper's figure 1, of models that have both sets."""
    arms = {model.name: (model.sets[easy].similarities, model.sets[hard].similarities) for model in models}
    sentences = []
    for name, sets in arms.items():
        margins = [pairs.margin for pairs in sets]
        sentences.append(
            f"{name}: expectation margin {margins[0]:.3f} on {easy}, {margins[1]:.3f} on {hard}; the gap between them "
            f"is {margins[0] - margins[1]:.3f}."
        )
    caption = (
        f"Similarities of the pairs of {easy} (easy, what the teacher of DDL is like) and {hard} (hard, the student). "
        "Filled: pairs of the same person; outlined: of different people. Vertical lines: the expectations. Margin: "
        "distance between those of same and different pairs. Gap: margin of easy less margin of hard; the smaller, "
        f"the more alike.{_left_out([pairs for sets in arms.values() for pairs in sets])}"
    )
    alternative = f"Distributions of the similarities on {easy} and {hard}. {' '.join(sentences)}"
    picture = Picture("gap", comparison_figure(arms), alternative, caption)
    return Section("easy-and-hard", f"Easy and hard: {easy} and {hard}", sentences, [picture])


def _left_out(drawn: Sequence[Similarities]) -> str:
    counts = " or ".join(f"{count:,}" for count in sorted({pairs.left_out for pairs in drawn} - {0}))
    return f" Left out: {counts} pairs of which a side has no image." if counts else ""


def distributions(models: Sequence[EvaluatedModel]) -> Section:
    """Draw the similarities of every set of pairs."""
    pictures = []
    for name, sets in sets_of_kind(models, "has_pairs"):
        similarities = {model: evaluated.similarities for model, evaluated in sets.items()}
        means = "; ".join(
            f"{model}: mean {pairs.similarity[pairs.same].mean():.3f} of same, "
            f"{pairs.similarity[~pairs.same].mean():.3f} of different pairs"
            for model, pairs in ((model, drawn.compared) for model, drawn in similarities.items())
        )
        caption = (
            f"{name}: densities of the cosine similarities of same and different pairs. Dashed: their expectations; "
            f"margin: the distance between the two.{_left_out(list(similarities.values()))}"
        )
        figure = distributions_figure(similarities)
        pictures.append(Picture(anchor("similarities", name), figure, f"Similarities on {name}. {means}.", caption))
    return Section("similarities", "Similarities of pairs", parts=pictures)


def curves_of_errors(models: Sequence[EvaluatedModel], replicates: int, seed: int, styles: Styles) -> Section:
    """Draw ROC and DET of every set of pairs."""
    pictures = []
    for name, sets in sets_of_kind(models, "has_pairs"):
        first = next(iter(sets.values()))
        times = comparisons.affordable_replicates(len(first.scores["same"]), replicates)
        bands = {
            model: roc_band(pairs.similarities.similarity, pairs.similarities.same, times, seed, *pairs.people)
            for model, pairs in sets.items()
        }
        rates = "; ".join(
            f"{model}: TAR {band.tar[np.searchsorted(band.far, 0.01 * (1 + 1e-9), side='right') - 1]:.3f} at FAR 1e-2"
            for model, band in bands.items()
            if band.far[0] <= 0.01
        )
        unit = "pairs" if first.people[0] is None else "people"
        caption = (
            f"{name}. Left: ROC, the share of same pairs that are accepted (TAR) against the share of different ones "
            "that are (FAR). Right: DET, FNMR (share of same pairs that are rejected) over FMR, both axes in probits; "
            "lower is better, and none missed is drawn as half of one pair. Bands: pointwise 95% intervals by "
            f"resampling {unit}, {times:,} times, from three false accepts on."
        )
        figure = roc_det_figure(name, bands, int(first.similarities.same.sum()), styles)
        pictures.append(Picture(anchor("roc", name), figure, f"ROC and DET on {name}. {rates}.", caption))
    return Section("roc", "ROC and DET", parts=pictures)


def conditions(models: Sequence[EvaluatedModel], wanted: Sequence[str], styles: Styles) -> Section:
    """Draw accuracy and TAR by bins of the images' columns."""
    parts: list[Union[Picture, TextTable]] = []
    for name, sets in sets_of_kind(models, "pairs_of_images"):
        images, scores = next((evaluated.images, evaluated.scores) for evaluated in sets.values())
        for column in bins.columns_of(images, wanted):
            values = bins.pair_values(images[column].to_numpy(np.float64), scores["first"], scores["second"], column)
            edges = bins.bin_edges(values)
            if len(edges) < 3:
                continue
            tables = {}
            for model, evaluated in sets.items():
                pairs = evaluated.similarities
                threshold, _ = best_threshold(2 - 2 * pairs.similarity, pairs.same)
                tables[model] = bins.bin_table(pairs.similarity, pairs.same, values, threshold, edges)
            parts += _bin_parts(name, column, tables, int(np.isnan(values).sum()), styles)
    sentence = (
        "A pair has the value of the worse of its two images: the larger absolute value of a yaw, pitch, roll, blur "
        "and the like, the smaller one of a resolution, a sharpness, and whatever else. Bins hold about equally many "
        "pairs. The thresholds are those of all pairs of the set, not of the bin. Bars: Wilson's 95% intervals."
    )
    return Section("conditions", "By condition of the images", [sentence] if parts else (), parts)


def _rate_text(value: float) -> str:
    """Three digits, or a dash where no pair could tell."""
    return DASH if np.isnan(value) else f"{value:.3f}"


def _bin_parts(
    name: str, column: str, tables: dict[str, pd.DataFrame], without: int, styles: Styles
) -> tuple[Picture, TextTable]:
    rule = f"larger |{column}|" if bins.more_is_harder(column) else f"smaller {column}"
    left_out = f" {without:,} pairs have an image without a value and are left out." if without else ""
    accuracies = "; ".join(
        f"{model}: accuracy {', '.join(map(_rate_text, table['accuracy']))}" for model, table in tables.items()
    )
    caption = (
        f"{name} by the {rule} of a pair's two images. Accuracy: share of right decisions at the threshold that is "
        f"best on all pairs. TAR: share of same pairs accepted at the threshold of FAR {bins.BIN_FAR:g} on all pairs."
        f"{left_out}"
    )
    picture = Picture(
        anchor("bins", name, column),
        bins.bins_figure(column, tables, name, styles),
        f"Accuracy and TAR on {name} in bins of {column}, from its smallest values on. {accuracies}.",
        caption,
    )
    first = next(iter(tables.values()))
    cells = {rule: [label.split("\n")[0] for label in bins.bin_labels(first)]}
    cells.update({count: [f"{value:,}" for value in first[count]] for count in ("pairs", "same")})
    for model, table in tables.items():
        for title, number in (("accuracy", "accuracy"), ("TAR", "tar")):
            cells[f"{model}, {title}"] = list(map(_rate_text, table[number]))
    data = pd.concat([table.assign(model=model) for model, table in tables.items()])
    rows = list(zip(*cells.values()))
    caption = f"{name} by {column}, in numbers"
    return picture, TextTable(anchor("bins", name, column, "table"), caption, list(cells), rows, folded=True, data=data)


def identification(models: Sequence[EvaluatedModel], replicates: int, seed: int, styles: Styles) -> Section:
    """Draw CMC and rank-1 by condition of every set of ranks."""
    pictures = []
    for name, sets in sets_of_kind(models, "has_ranks"):
        ranks = {model: np.asarray(evaluated.scores["rank"]) for model, evaluated in sets.items()}
        scores = next(iter(sets.values())).scores
        condition = np.asarray(scores.get("condition", np.full(len(scores["rank"]), "")))
        person = scores.get("person")
        tables = {model: bins.rank1_table(rank, condition, person, replicates, seed) for model, rank in ranks.items()}
        shares = {model: table.set_index("condition")["rank1"] for model, table in tables.items()}
        rates = "; ".join(
            f"{model}: " + ", ".join(f"{rate:.3f} in {place}".removesuffix(" in ") for place, rate in share.items())
            for model, share in shares.items()
        )
        how = "Wilson's 95% intervals over the probes" if person is None else "95% intervals by resampling people"
        caption = (
            f"{name}. CMC: share of the probes whose mate is among the first 1, 2, ... of the gallery, of all "
            f"{len(condition):,} probes; rank 1 is identification. Bars: {how}."
        )
        figure = bins.identification_figure(name, ranks, tables, styles)
        pictures.append(Picture(anchor("ranks", name), figure, f"Rank-1 rates on {name}. {rates}.", caption))
    return Section("identification", "Identification", parts=pictures)


def races(models: Sequence[EvaluatedModel], styles: Styles) -> Section:
    """Draw the accuracy on the races of RFW, of the models that have all four sets."""
    evaluated = [model for model in models if all(name in model.sets for name in bins.RACE_SETS)]
    if not evaluated:
        return Section("races", "Races")
    accuracies = "; ".join(
        f"{model.name}: " + ", ".join(f"{model.sets[name].result['accuracy']:.3f} {name}" for name in bins.RACE_SETS)
        for model in evaluated
    )
    caption = (
        "Accuracy by k-fold cross-validation on the four races of Racial Faces in-the-Wild, with the stored 95% "
        "intervals. The more level, the fairer."
    )
    picture = Picture("races", bins.race_figure(evaluated, styles), f"{accuracies}.", caption)
    return Section("races", "Races", parts=[picture])


def embedding_map(models: Sequence[EvaluatedModel], easy: str, hard: str, count: int, seed: int) -> Section:
    """Draw the embeddings of easy and hard images, of the models that have kept both."""
    both = {model.name: [model.sets[name] for name in (easy, hard) if name in model.sets] for model in models}
    views = {
        model: [evaluated.embeddings for evaluated in sets if evaluated.embeddings is not None]
        for model, sets in both.items()
    }
    views = {model: arrays for model, arrays in views.items() if len(arrays) == 2}
    if not views:
        sentence = f"No model has kept its embeddings of {easy} and {hard}: there is no map."
        return Section("map", "Map of embeddings", [sentence])
    first = both[next(iter(views))]
    chosen = reporting.embedding_map.choose_images(first[0].images, first[1].images, count, seed)
    maps = {}
    for model, arrays in views.items():
        rows = [add_views(array[images]) for array, images in zip(arrays, (chosen.easy, chosen.hard))]
        maps[model] = reporting.embedding_map.map_embeddings(np.concatenate(rows), seed)
    colours = f"Each colour is one of {chosen.people} people. " if chosen.people else ""
    caption = (
        f"t-SNE of the embeddings of {len(chosen.easy):,} images of {easy} and {len(chosen.hard):,} of {hard}, the "
        f"same for each model, with one seed and one perplexity. {colours}Near points are similar; distances between "
        "far ones, sizes of clusters and the axes mean nothing. Where easy and hard images of a person lie together, "
        "the model knows him in both."
    )
    figure = reporting.embedding_map.embedding_map_figure(maps, chosen, easy, hard)
    alternative = f"Maps of the embeddings of {easy} and {hard} images by t-SNE, one for each of {', '.join(maps)}."
    return Section("map", "Map of embeddings", parts=[Picture("map", figure, alternative, caption)])


def _fact_text(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {part}" for key, part in value.items())
    return value if isinstance(value, str) else json.dumps(value)


def provenance(models: Sequence[EvaluatedModel]) -> Section:
    """Lay out what the stored results say of their making, for each model; sets that say the same share a row."""
    rows = []
    for model in models:
        # fact -> its text -> the sets that have it.
        facts: dict[str, dict[str, list[str]]] = {}
        for name, evaluated in model.sets.items():
            for key, value in evaluated.provenance.items():
                facts.setdefault(key, {}).setdefault(_fact_text(value), []).append(name)
        for key, texts in facts.items():
            for text, names in texts.items():
                others = [name for name in model.sets if name not in names]
                shown = f"all but {', '.join(others)}" if len(others) < len(names) else ", ".join(names)
                rows.append([model.name, shown if others else "all", key, text])
        rows.append([model.name, "all", "folder", model.folder])
    caption = (
        "What made the numbers, as the stored evaluations say: the model's file and its digest (SHA-256), whether "
        "embeddings of mirrored images were added, command, date and versions."
    )
    table = TextTable("provenance", caption, ["model", "sets", "what", "value"], rows, heads=4)
    return Section("provenance", "Where the numbers come from", parts=[table])
