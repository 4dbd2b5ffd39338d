"""Where a model puts easy and hard images of the same people: a flat map of its embeddings by t-SNE."""

import dataclasses
from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from sklearn.manifold import TSNE

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import figure_text
from ddl_tf.evaluation.plots import EASY, HARD
from ddl_tf.reporting.palette import SERIES

PEOPLE = len(SERIES)
_LARGEST_PERPLEXITY = 30.0
_EXACT = 1000


@dataclasses.dataclass(frozen=True)
class ChosenImages:
    """The images of a map: rows of the easy and of the hard set, and the number of the person of each.

    Numbers are -1, and `people` is 0, where the sets do not say who is who.
    """

    easy: np.ndarray
    hard: np.ndarray
    easy_person: np.ndarray
    hard_person: np.ndarray
    people: int


def choose_images(easy: pd.DataFrame, hard: pd.DataFrame, count: int, seed: int = 0) -> ChosenImages:
    """Choose the images of a map, at most `count`, the same for each model.

    Of the people who have easy and hard images, those with the most images, at most `PEOPLE`; where the sets do not
    say whom an image shows, any images. Half of the images are easy, half hard, as far as there are so many.
    """
    if count < 4:
        raise InputError(f"--tsne_images={count}: a map needs at least 4")
    tables = easy, hard
    numbers = [np.full(len(table), -1) for table in tables]
    people: list[str] = []
    if all("person" in table for table in tables):
        counts = [table["person"].dropna().astype(str).value_counts() for table in tables]
        shared = (counts[0] + counts[1]).dropna().sort_index().sort_values(ascending=False, kind="stable")
        people = [str(name) for name in shared.index[:PEOPLE]]
    if people:
        known = {name: number for number, name in enumerate(people)}
        numbers = [table["person"].astype(str).map(known).fillna(-1).to_numpy(int) for table in tables]
    rows = [np.flatnonzero(number >= 0) if people else np.arange(len(number)) for number in numbers]
    chosen = [np.sort(np.random.default_rng(seed).permutation(part)[: count // 2]) for part in rows]
    return ChosenImages(chosen[0], chosen[1], numbers[0][chosen[0]], numbers[1][chosen[1]], len(people))


def map_embeddings(embeddings: np.ndarray, seed: int = 0) -> np.ndarray:
    """Lay embeddings `[images, dim]` of unit norm out on a plane, `[images, 2]`, by t-SNE."""
    start = "pca" if embeddings.shape[1] > 1 else "random"
    # Exact: the approximation for many points gives another map with another number of threads.
    method = "exact" if len(embeddings) <= _EXACT else "barnes_hut"
    perplexity = min(_LARGEST_PERPLEXITY, (len(embeddings) - 1) / 3)
    layout = TSNE(perplexity=perplexity, metric="cosine", init=start, random_state=seed, method=method)
    return layout.fit_transform(embeddings)


def embedding_map_figure(
    maps: Mapping[str, np.ndarray], chosen: ChosenImages, easy_name: str = "easy", hard_name: str = "hard"
) -> Figure:
    """Draw the maps, `[easy + hard, 2]` of each model: colours are people, points easy images, crosses hard ones."""
    figure = Figure(figsize=(max(5.5, 4.6 * len(maps)), 4.7), layout="constrained")
    cut = len(chosen.easy)
    for axes, (model, places) in zip(figure.subplots(1, len(maps), squeeze=False)[0], maps.items()):
        for part, person, marker, plain, hard in (
            (places[:cut], chosen.easy_person, "o", EASY, False),
            (places[cut:], chosen.hard_person, "x", HARD, True),
        ):
            colours = [SERIES[number] if number >= 0 else plain for number in person]
            edge = {"linewidths": 1.4} if hard else {"linewidths": 0}
            axes.scatter(part[:, 0], part[:, 1], c=colours, marker=marker, s=26 if hard else 18, alpha=0.8, **edge)
        axes.set(title=figure_text(model), xticks=[], yticks=[])
    handles = [
        # Colours are people; without them, easy and hard.
        Line2D([], [], linestyle="none", marker=marker, color=colour if not chosen.people else "#000000", label=label)
        for marker, colour, label in (
            ("o", EASY, f"{figure_text(easy_name)} ({len(chosen.easy):,} images)"),
            ("x", HARD, f"{figure_text(hard_name)} ({len(chosen.hard):,} images)"),
        )
    ]
    figure.legend(handles=handles, loc="outside lower center", ncols=2, frameon=False)
    return figure
