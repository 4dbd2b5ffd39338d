import dataclasses

import numpy as np
import pandas as pd
import pytest
from generated_evaluations import write_evaluation

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.discard_curves import FalseMatchRate, FalseNonMatchRate, discard_benefits
from ddl_tf.metrics.pair_people import people_of_pairs
from ddl_tf.reporting.bins import pair_values
from ddl_tf.reporting.discarding import NORM, discarding, start_rate
from ddl_tf.reporting.evaluations import read_evaluation
from ddl_tf.reporting.layout_table import TextTable


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    noises = {"ArcFace": 0.8, "DDL": 0.4}
    return [read_evaluation(name, str(write_evaluation(folder / name, noise))) for name, noise in noises.items()]


def with_columns(models, set_name="easy_set", **columns):
    """The models with that set only, its images with further columns."""
    changed = []
    for model in models:
        evaluated = model.sets[set_name]
        images = evaluated.images.assign(**columns)
        changed.append(dataclasses.replace(model, sets={set_name: dataclasses.replace(evaluated, images=images)}))
    return changed


def naive_norms(evaluated):
    lengths = [[np.sqrt(np.sum(view.astype(float) ** 2)) for view in views] for views in evaluated.embeddings]
    return np.array([np.mean(views) for views in lengths])


def test_the_table_has_what_the_metrics_say_and_the_best_quality_first(models):
    section = discarding(models, [], None, 40, 0)
    table = next(part for part in section.parts if part.name == "discarding-easy_set-table")
    assert len(table.rows) == 4
    assert len(table.data) == 4 * 51
    for model in models:
        evaluated = model.sets["easy_set"]
        scores = evaluated.scores
        worse = pair_values(evaluated.images["yaw"].to_numpy(), scores["first"], scores["second"], "yaw")
        norms = naive_norms(evaluated)
        # A large yaw is bad, a small length is.
        qualities = {"yaw": -worse, NORM: np.minimum(norms[scores["first"]], norms[scores["second"]])}
        rates = FalseMatchRate(0.1), np.array([0.0, 0.05, 0.1, 0.2, 0.5])
        people = people_of_pairs(scores)
        expected = discard_benefits(scores["similarity"], scores["same"], qualities, *rates, 40, 0, people)
        rows = [row for row in table.rows if row[0] == model.name]
        assert [row[1] for row in rows] == sorted(qualities, key=lambda name: expected[name].ratio)
        for row in rows:
            benefit = expected[row[1]]
            assert row[2:5] == ["120", "0", str(benefit.rejected)]
            assert row[5:10] == [f"{rate:.4f}" for rate in benefit.fnmr]
            assert row[10].startswith(f"{benefit.area:.5f} [{benefit.area_interval[0]:.5f}, ")
            assert row[11].startswith(f"{benefit.ratio:.2f} [")
            curve = table.data[(table.data["model"] == model.name) & (table.data["quality"] == row[1])]
            np.testing.assert_allclose(curve["fnmr"].iloc[[0, 5, 10, 20, 50]], benefit.fnmr, atol=1e-12)
            assert curve["pauc_of_no_quality"].iloc[0] == pytest.approx(0.2 * benefit.fnmr[0])
    assert any(text.startswith("DDL on easy_set: ") and "the best quality" in text for text in section.sentences)


def test_useless_columns_are_said(models):
    texts = ["a", "b"] * 24
    changed = with_columns(models, flat=3.0, empty=np.nan, texts=texts)
    section = discarding(changed, ["flat", "empty", "texts", "yaw"], None, 40, 0)
    assert section.sentences[:3] == [
        "easy_set: the column flat is no quality: it is constant.",
        "easy_set: the column empty is no quality: no image has a value.",
        "easy_set: the column texts is no quality: its values are no numbers.",
    ]
    (table,) = (part for part in section.parts if isinstance(part, TextTable))
    assert {row[1] for row in table.rows} == {"yaw", NORM}


def test_unit_embeddings_have_no_length_and_missing_values_are_counted(models):
    half = pd.Series([0.5] * 12 + [0.7] * 12 + [np.nan] * 24)
    changed = []
    for model in with_columns(models[:1], half=half):
        evaluated = model.sets["easy_set"]
        unit = evaluated.embeddings / np.linalg.norm(evaluated.embeddings, axis=2, keepdims=True)
        changed.append(dataclasses.replace(model, sets={"easy_set": dataclasses.replace(evaluated, embeddings=unit)}))
    section = discarding(changed, ["half"], None, 40, 0)
    (table,) = (part for part in section.parts if isinstance(part, TextTable))
    ((_, quality, known, left_out, *_),) = table.rows
    scores = changed[0].sets["easy_set"].scores
    both = (scores["first"] < 24) & (scores["second"] < 24) & scores["same"]
    assert (quality, int(known), int(left_out)) == ("half", both.sum(), 120 - both.sum())


def test_too_few_pairs_and_no_errors_are_said(models):
    section = discarding(with_columns(models), ["yaw"], FalseMatchRate(1e-4), 40, 0)
    message = "easy_set: 120 pairs of two people are too few for a threshold at FMR 0.0001; give a greater"
    assert section.sentences == [f"{message} --discard_fmr, or --discard_fnmr."]
    assert not section.parts
    easy = []
    for model in with_columns(models[:1]):
        evaluated = model.sets["easy_set"]
        scores = {**evaluated.scores, "similarity": evaluated.scores["same"] + 0.001 * evaluated.scores["similarity"]}
        easy.append(dataclasses.replace(model, sets={"easy_set": dataclasses.replace(evaluated, scores=scores)}))
    section = discarding(easy, ["yaw"], None, 40, 0)
    expected = "ArcFace on easy_set: 0 of 120 pairs of one person are rejected: nothing that a quality could reduce."
    assert section.sentences == [expected]
    # It is drawn all the same.
    assert section.parts[0].drawing.svg


def test_rates_to_begin_from():
    assert start_rate(None, None) is None
    assert start_rate(1e-3, None) == FalseMatchRate(1e-3)
    assert start_rate(None, 0.05) == FalseNonMatchRate(0.05)
    for rates, message in (
        ((0.1, 0.1), "together: give one of them"),
        ((0.0, None), "--discard_fmr=0.0: must be above 0 and below 1"),
        ((None, 1.0), "--discard_fnmr=1.0: must be above 0"),
    ):
        with pytest.raises(InputError, match=message):
            start_rate(*rates)
