import dataclasses

import pandas as pd
import pytest
from generated_evaluations import RACES, write_evaluation

from ddl_tf.metrics.k_fold import best_threshold
from ddl_tf.reporting import sections
from ddl_tf.reporting.bins import bin_edges, bin_table, columns_of, pair_values
from ddl_tf.reporting.comparisons import Difference, compare_models
from ddl_tf.reporting.evaluations import read_evaluation
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.page import Picture
from ddl_tf.reporting.palette import style, styles_of

STYLES = styles_of(["ArcFace", "DDL"])


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    return [
        read_evaluation(name, str(write_evaluation(folder / str(place), noise, races=place == 0)))
        for place, (name, noise) in enumerate({"ArcFace": 0.8, "DDL": 0.2}.items())
    ]


def test_findings_and_gap_in_words(models):
    differences = compare_models(models, 200, 0, "easy_set", "hard_set")
    sentences = sections.findings(models, differences, 200).sentences
    gap = next(test for test in differences if test.number == "gap")
    assert sentences[0].startswith("DDL against ArcFace between easy_set and hard_set: gap ")
    assert f"from {gap.baseline:.3f} to {gap.value:.3f}: " in sentences[0]
    auc = next(test for test in differences if (test.set_name, test.number) == ("hard_set", "auc"))
    (sentence,) = (text for text in sentences if "on hard_set" in text)
    assert f"AUC +{auc.difference:.3f} [+{auc.low:.3f}, +{auc.high:.3f}]" in sentence
    assert sentence.endswith("better, and more than chance.")
    assert sum("on scface: rank-1, d" in text for text in sentences) == 3
    assert sentences[-1].startswith("DDL was not evaluated on rfw, rfw_african")
    gap = sections.gap(models, "easy_set", "hard_set")
    for model, sentence in zip(models, gap.sentences):
        easy, hard = (model.sets[name].result["expectation_margin"] for name in ("easy_set", "hard_set"))
        assert sentence.startswith(f"{model.name}: expectation margin {easy:.3f} on easy_set, {hard:.3f} on hard_set")
        assert sentence.endswith(f"is {easy - hard:.3f}.")
    assert len(gap.parts[0].figure.axes) == 2
    test = Difference("s", "auc", "DDL", 0.9, 0.8, 0.1, 0.0, 0.2, 0.01, 0.1, "paired bootstrap of pairs")
    for replicates, too_few in ((100, True), (120, False)):
        sentences = sections.findings(models, [test] * 3, replicates).sentences
        assert any("at least 120" in text for text in sentences) == too_few


def test_roc_and_similarities_of_each_set_of_pairs(models):
    expected = ["easy_set", "hard_set", *(f"rfw_{race}" for race in RACES)]
    curves, similarities = sections.curves_of_errors(models, 40, 0, STYLES).parts, sections.distributions(models).parts
    for parts, first in ((curves, "roc"), (similarities, "similarities")):
        assert [part.name for part in parts] == [f"{first}-{name}" for name in sorted(expected)]
    assert "resampling people, 40 times" in curves[0].caption
    assert "DDL: TAR " in curves[0].alternative
    # A model looks the same where the first one is missing.
    roc = sections.curves_of_errors(models[1:], 40, 0, STYLES).parts[0].figure.axes[0]
    assert roc.lines[0].get_color() == style(1).colour


def test_conditions_are_the_bins_of_the_worse_image(models):
    section = sections.conditions(models, [], STYLES)
    figures = [part for part in section.parts if isinstance(part, Picture)]
    tables = [part for part in section.parts if isinstance(part, TextTable)]
    assert [part.name for part in figures][:2] == ["bins-easy_set-yaw", "bins-hard_set-yaw"]
    images, scores = models[1].sets["easy_set"].images, models[1].sets["easy_set"].scores
    values = pair_values(images["yaw"].to_numpy(), scores["first"], scores["second"], "yaw")
    similarity, same = scores["similarity"], scores["same"]
    threshold, _ = best_threshold(2 - 2 * similarity, same)
    expected = bin_table(similarity, same, values, threshold, bin_edges(values))
    points = figures[0].figure.axes[0].containers[1][0].get_ydata()
    assert points.tolist() == expected["accuracy"].tolist()
    assert [row[5] for row in tables[0].rows] == [f"{value:.3f}" for value in expected["accuracy"]]
    assert set(tables[0].data["model"]) == {"ArcFace", "DDL"}
    images = pd.DataFrame({"key": ["1", "2"], "person": ["7", "8"], "yaw": [1, 2], "same": [3, 3], "text": ["a", "b"]})
    assert columns_of(images, []) == ["yaw"]


def test_identification_and_races(models):
    (ranks,) = sections.identification(models, 100, 0, STYLES).parts
    assert len(ranks.figure.axes) == 2
    assert "d1" in ranks.alternative
    (races,) = sections.races(models, STYLES).parts
    points = [container[0].get_ydata().tolist() for container in races.figure.axes[0].containers]
    # Only one of the two models has them.
    assert points == [[models[0].sets[f"rfw_{race}"].result["accuracy"] for race in RACES]]
    assert sections.races(models[1:], STYLES).parts == ()


def test_the_map_needs_embeddings(models):
    section = sections.embedding_map(models, "easy_set", "hard_set", 40, 0)
    assert "10 people" in section.parts[0].caption
    assert len(section.parts[0].figure.axes) == 2
    bare = [
        dataclasses.replace(model, sets={n: dataclasses.replace(s, embeddings=None) for n, s in model.sets.items()})
        for model in models
    ]
    section = sections.embedding_map(bare, "easy_set", "hard_set", 40, 0)
    assert section.parts == ()
    assert section.sentences == ["No model has kept its embeddings of easy_set and hard_set: there is no map."]


def test_provenance_says_what_is_shared_once(models):
    rows = sections.provenance(models).parts[0].rows
    assert ["ArcFace", "all", "model", models[0].folder] in rows
    assert ["DDL", "all but scface", "flip", "false"] in rows
    assert ["DDL", "all", "folder", models[1].folder] in rows


def test_anchors():
    assert sections.anchor("roc", "Weird set/\xe9_1") == "roc-Weird.20.set.2f..e9._1"
    # A name of a file may have 255 bytes.
    words = [("roc", "my set"), ("roc", "my.20.set"), ("roc", "my", "set"), ("bins", "a-b", "c"), ("bins", "a", "b-c")]
    names = [sections.anchor(*each) for each in [*words, ("roc", "\u5f20" * 80), ("roc", "\u5f20" * 80 + "a")]]
    assert len(set(names)) == len(names)
    assert all(len(f".{name}.1234567.png".encode()) < 255 for name in names)
