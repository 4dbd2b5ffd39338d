import dataclasses

import numpy as np
import pandas as pd
import pytest
from generated_evaluations import write_evaluation

from ddl_tf.metrics.changed_decisions import changed_decisions
from ddl_tf.metrics.pair_people import people_of_pairs
from ddl_tf.reporting.bins import bin_edges, pair_values
from ddl_tf.reporting.changes import changes
from ddl_tf.reporting.evaluations import read_evaluation
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.page import write_report
from ddl_tf.reporting.palette import styles_of

STYLES = styles_of(["ArcFace", "DDL"])
# Of 120 different pairs the least rate of the usual ones with three false accepts.
FMR = 0.1


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    noises = {"ArcFace": 0.8, "DDL": 0.2}
    return [read_evaluation(name, str(write_evaluation(folder / name, noise))) for name, noise in noises.items()]


def threshold(evaluated):
    """Of all similarities the lowest one at which at most the rate of the different pairs is accepted."""
    similarity, same = evaluated.scores["similarity"], evaluated.scores["same"]
    return min(level for level in similarity if np.mean(similarity[~same] >= level) <= FMR)


def test_what_turned_is_counted_in_words_and_in_the_table(models):
    section = changes(models, [], 4, 200, 0, STYLES)
    base, model = (side.sets["easy_set"] for side in models)
    same = base.scores["same"]
    before, now = (
        (side.scores["similarity"] >= threshold(side)) == same
        for side in (base, model)  # whether each pair is decided rightly
    )
    right, wrong = (int(np.sum(same & turned)) for turned in (now & ~before, before & ~now))
    sentence = next(text for text in section.sentences if "easy_set" in text)
    assert sentence.startswith(
        f"DDL against ArcFace on easy_set, each at its threshold for FMR 1e-1 ({threshold(model):.3f} and "
        f"{threshold(base):.3f}): of 120 pairs of one person {right} turned right and {wrong} wrong (FNMR "
    )
    assert "better, and more than chance" in sentence
    table = next(part for part in section.parts if part.name == "changes-easy_set-table")
    assert table.rows[0][:5] == ["DDL", "all pairs", "120", str(right), str(wrong)]
    # One bin of the yaw, as the function of the numbers has it.
    values = pair_values(base.images["yaw"].to_numpy(), base.scores["first"], base.scores["second"], "yaw")
    edges = bin_edges(values)
    inside = {"bin": (values >= edges[0]) & (values < edges[1])}
    similarities = model.scores["similarity"], base.scores["similarity"]
    expected = changed_decisions(*similarities, same, FMR, inside, 200, 0, people_of_pairs(base.scores))["bin"][0]
    row = next(row for row in table.rows if row[1] == f"|yaw| {edges[0]:.3g} to {edges[1]:.3g}")
    assert row[2:5] == [str(expected.pairs), str(expected.right), str(expected.wrong)]
    assert row[5].startswith(f"{expected.test.difference:+.3f}".replace("-", "\N{MINUS SIGN}"))
    assert len(table.data) == 2 * len(table.rows)
    # Five bins of the yaw are ten tests: 200 replicates cannot show a difference of a part.
    assert any("no part of easy_set can be told from chance" in text for text in section.sentences)
    assert float(table.rows[0][6]) < 0.05


def test_the_pairs_that_turned_are_named_the_most_changed_first(models):
    section = changes(models, [], 3, 40, 0, STYLES)
    (table,) = (part for part in section.parts if part.name == "turned-hard_set-DDL-table")
    base, model = (side.sets["hard_set"] for side in models)
    above = [side.scores["similarity"] - threshold(side) for side in (base, model)]
    same = base.scores["same"]
    turned = [pair for pair in np.flatnonzero(same) if above[0][pair] < 0 <= above[1][pair]]
    turned.sort(key=lambda pair: above[0][pair] - above[1][pair])
    keys = base.images["key"]
    expected = [[str(keys[base.scores[side][pair]]) for side in ("first", "second")] for pair in turned[:3]]
    assert [row[1:3] for row in table.rows if row[0] == "one person, turned right"] == expected
    # Without the source of the images there are no pictures, and with 0 no names.
    assert not any(part.name == "turned-hard_set-DDL" for part in section.parts)
    assert not any(part.name.startswith("turned") for part in changes(models, [], 0, 40, 0, STYLES).parts)


def test_texts_are_groups_where_they_are_named(models):
    named = []
    for model in models:
        images = model.sets["easy_set"].images.assign(camera=["gate", "yard"] * 24)
        named.append(
            dataclasses.replace(model, sets={"easy_set": dataclasses.replace(model.sets["easy_set"], images=images)})
        )

    def parts_of_camera(wanted):
        (table,) = (part for part in changes(named, wanted, 0, 40, 0, STYLES).parts if isinstance(part, TextTable))
        return [row[1:3] for row in table.rows if row[1].startswith("camera")]

    rows = parts_of_camera(["camera"])
    assert [name for name, _ in rows] == ["camera gate", "camera yard", "camera: two groups"]
    assert sum(int(pairs) for _, pairs in rows) == 120
    assert parts_of_camera([]) == []


def test_one_model_or_too_few_pairs_have_no_changes(models):
    assert not changes(models[:1], [], 4, 40, 0, STYLES).parts
    few = []
    for model in models:
        evaluated = model.sets["easy_set"]
        scores = {name: values[:8] for name, values in evaluated.scores.items() if name != "people"}
        few.append(dataclasses.replace(model, sets={"few": dataclasses.replace(evaluated, scores=scores)}))
    section = changes(few, [], 4, 40, 0, STYLES)
    assert not section.parts
    assert section.sentences == [
        "few has too few pairs of two people to set thresholds for a false match rate by them."
    ]


def test_every_figure_of_the_page_has_its_numbers_as_csv(models, tmp_path):
    section = changes(models, [], 0, 40, 0, STYLES)
    write_report(tmp_path, "title", "summary", [section])
    figures = sorted((tmp_path / "figures").glob("*.svg"))
    assert len(figures) == 2
    for figure in figures:
        drawn = pd.read_csv(figure.with_suffix(".csv"))
        table = pd.read_csv(tmp_path / "tables" / f"{figure.stem}-table.csv")
        tested = table[table["low"].notna()]
        np.testing.assert_allclose(sorted(drawn.loc[drawn["kind"] == "points", "x"]), sorted(tested["difference"]))
