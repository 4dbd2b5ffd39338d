import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from generated_evaluations import write_evaluation, write_pairs

from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import DASH
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.metrics.gaps import compare_gaps
from ddl_tf.metrics.paired_tests import compare_scores, holm
from ddl_tf.metrics.roc import auc, corner_roc, nearest_tar
from ddl_tf.reporting import comparisons
from ddl_tf.reporting.comparisons import (
    Difference,
    compare_models,
    comparison_table,
    difference_text,
    replicates_needed,
)
from ddl_tf.reporting.evaluations import read_evaluation
from ddl_tf.reporting.layout_table import Strong
from ddl_tf.reporting.numbers import numbers_of


def made(set_name="lfw", number="auc", model="B", difference=0.1, p=0.01, corrected=0.02, test="DeLong"):
    return Difference(set_name, number, model, 0.9, 0.9 - difference, difference, 0.05, 0.15, p, corrected, test)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluations")
    noises = {"base": 0.8, "better": 0.2, "much the same": 0.8}
    models = [
        read_evaluation(name, str(write_evaluation(folder / str(place), noise)))
        for place, (name, noise) in enumerate(noises.items())
    ]
    models[2].sets.pop("hard_set")
    return models


@pytest.fixture(scope="module")
def differences(models):
    return compare_models(models, 200, 0, "easy_set", "hard_set")


def named(differences, set_name, number, model="better"):
    (test,) = (test for test in differences if (test.set_name, test.number, test.model) == (set_name, number, model))
    return test


def test_differences_are_those_of_the_paired_tests(models, differences):
    base, better = models[0].sets["easy_set"], models[1].sets["easy_set"]
    rows = {row["number"]: row for row in compare_scores(better.scores, base.scores, replicates=200, seed=0)}
    test = named(differences, "easy_set", "auc")
    assert (test.value, test.baseline) == (better.result["auc"], base.result["auc"])
    assert test.difference == test.value - test.baseline > 0
    assert (test.low, test.high, test.p) == (rows["auc"]["low"], rows["auc"]["high"], rows["auc"]["p"])
    assert test.better
    # The gap is compared where both sets are.
    (gap,) = (test for test in differences if test.number == "gap")
    assert gap.model == "better"
    sides = [[model.sets[name].scores for name in ("easy_set", "hard_set")] for model in models[:2]]
    expected = compare_gaps(*sides[1], *sides[0], replicates=200, seed=0)
    assert (gap.difference, gap.p) == (expected.difference, expected.p)
    # The other numbers are compared where a model has the set.
    assert {test.set_name for test in differences if test.model == "much the same"} == {"easy_set", "scface"}
    ranks = {"rank1@d1", "rank1@d2", "rank1@d3"}
    assert {test.number for test in differences if test.set_name == "scface"} == ranks
    numbers = {"auc", "tar@1e-1", "tar@1e-4", "expectation_margin", "gap"} | ranks
    assert {test.number for test in differences} == numbers
    # P-values are corrected for each number over sets and models.
    for family in ({"auc"}, ranks):
        tests = [test for test in differences if test.number in family]
        assert len(tests) > 2
        assert [test.p_corrected for test in tests] == holm([test.p for test in tests])
    untested = [test for test in differences if test.number == "tar@1e-4"]
    assert untested
    assert all(test.p is None and test.p_corrected is None and not test.significant for test in untested)
    assert "no valid test" in difference_text(untested[0])


def test_texts_and_which_differences_are_better():
    assert comparisons.signed(-0.0123) == "\N{MINUS SIGN}0.012"
    assert difference_text(made()) == "AUC +0.100 [+0.050, +0.150], p\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}0.020"
    assert "p\N{NO-BREAK SPACE}<\N{NO-BREAK SPACE}0.001" in difference_text(made(corrected=1e-5))
    changes = [{"difference": 0.1}, {"number": "eer", "difference": -0.1}, {"difference": -0.1}, {"difference": 0.0}]
    assert [made(**change).better for change in changes] == [True, True, False, False]


def cells(table):
    """(set, number) -> the texts and the bold ones of its row."""
    return {(row[0], row[1]): (row[2:], [isinstance(cell, Strong) for cell in row[2:]]) for row in table.rows}


def test_the_table_has_a_dash_an_asterisk_and_bold(models, differences):
    table = comparison_table(models, differences)
    rows = cells(table)
    texts, strong = rows["easy_set", "AUC"]
    auc = [model.sets["easy_set"].result["auc"] for model in models]
    assert texts[0].endswith(f"[{auc[0] - 0.01:.3f}, {auc[0] + 0.01:.3f}]")
    assert texts[1].endswith("]*")
    assert not texts[2].endswith("*")
    assert strong == [False, True, False]
    assert rows["hard_set", "AUC"][0][2] == DASH
    # 120 different pairs: no TAR at 1e-4.
    assert ("easy_set", "TAR@1e-1") in rows
    assert ("easy_set", "TAR@1e-4") not in rows
    data = pd.read_csv(io.StringIO(table.csv()), float_precision="round_trip")
    lines = data[(data["set"] == "easy_set") & (data["number"] == "auc")].set_index("model")
    assert lines["value"].to_dict() == {model.name: model.sets["easy_set"].result["auc"] for model in models}
    assert lines.loc["better", "p"] == named(differences, "easy_set", "auc").p
    assert np.isnan(lines.loc["base", "p"])
    assert "tar@1e-4" in set(data["number"])
    for row, test in zip(comparisons.differences_table(differences, "base").rows, differences):
        assert isinstance(row[3], Strong) == test.significant
        assert row[4] == (DASH if test.p is None else f"{test.p:.2g}")
    headlines = cells(comparison_table(models, differences, True))
    assert headlines.items() < rows.items()
    assert ("easy_set", "expectation margin") not in headlines
    assert compare_models(models[:1], 200, 0) == []


def test_the_baseline_is_bold_only_if_all_others_are_worse_for_sure(tmp_path):
    for name, noise in (("A", 0.2), ("B", 0.9), ("C", 0.9)):
        write_pairs(tmp_path / name, "lfw", noise)
    models = [read_evaluation(name, str(tmp_path / name)) for name in "ABC"]
    for corrected, strong in ((0.2, False), (0.02, True)):
        tests = [made(model="B", corrected=0.01), made(model="C", corrected=corrected)]
        assert cells(comparison_table(models, tests))["lfw", "AUC"][1] == [strong, False, False]


def test_the_least_p_is_named_where_no_test_can_come_out(models):
    few, enough = (compare_models(models[:2], replicates, 0) for replicates in (40, 200))
    bootstrapped = [test for test in few if test.p is not None and "bootstrap" in test.test]
    assert len(bootstrapped) > 4
    for test in bootstrapped:
        family = sum(other.number == test.number for other in bootstrapped)
        assert test.least_p == pytest.approx(min(1, family * 2 / 41))
        assert ("no corrected p below" in test.test) == (test.least_p >= 0.05)
        assert test.p_corrected >= test.least_p
    assert not any("no corrected p below" in test.test for test in enough)
    tests = [made(set_name=str(place), test="paired bootstrap of people") for place in range(30)]
    # With 1199 replicates the smallest corrected p-value is 30 * 2 / 1200 = 0.05, which is not below it.
    assert (replicates_needed(tests, 1199), replicates_needed(tests, 1200)) == (1200, None)
    for pairs, replicates, affordable in ((7000, 1000, 1000), (500_000, 1000, 400), (15_658_489, 60, 60)):
        assert comparisons.affordable_replicates(pairs, replicates) == affordable
    # Fewer replicates were drawn than were asked for, as of very many pairs.
    lacking = [dataclasses.replace(bootstrapped[0], least_p=0.098)]
    assert replicates_needed(lacking, 1000) == 1961
    assert replicates_needed([dataclasses.replace(bootstrapped[0], least_p=0.04)], 1000) is None


def write_ijb(folder, noise, known=True):
    """Store the pairs of every two templates of 20 people."""
    person = np.repeat(np.arange(20), 3)
    first, second = np.triu_indices(60, 1)
    rng = np.random.default_rng(int(100 * noise))
    similarity = (person[first] == person[second]) + noise * rng.normal(size=len(first))
    # Rounded as it is stored; templates are named by numbers that are no positions.
    similarity, same = similarity.astype(np.float32), person[first] == person[second]
    # A pair without an image.
    similarity[5] = -2
    false, true = corner_roc(similarity.astype(float), same)
    far, tar = false / false[-1], true / true[-1]
    rates = {key: nearest_tar(far, tar, float(key)) for key in ("1e-1", "2e-1", "1e-2")}
    verification = {"pairs": len(same), "same": int(same.sum()), "tar": rates, "auc": auc(far, tar)}
    scores = {"similarity": similarity, "same": same, "first": 7 * first + 3, "second": 7 * second + 3}
    if known:
        scores.update(template=7 * np.arange(60) + 3, template_person=person)
    (folder / "ijbc").mkdir(parents=True)
    pd.DataFrame({"key": ["1.jpg"]}).to_csv(folder / "ijbc" / "images.csv", index=False)
    result = {"set": "ijbc", "protocol": "templates", "verification": verification}
    write_outcome(folder / "ijbc", Outcome(result, scores), {"model": str(folder)})
    return read_evaluation(folder.name, str(folder))


def test_ijb_is_tested_over_people_and_differs_as_its_headlines_do(tmp_path):
    models = [write_ijb(tmp_path / name, noise) for name, noise in (("base", 0.5), ("better", 0.3))]
    rows = {test.number: test for test in compare_models(models, 200, 0)}
    assert list(rows) == [f"verification@{name}" for name in ("auc", "tar@1e-1", "tar@2e-1", "tar@1e-2")]
    headlines = [numbers_of(model.sets["ijbc"].result) for model in models]
    for number, row in rows.items():
        assert row.test == "paired bootstrap of people"
        assert (row.baseline, row.value) == (headlines[0][number], headlines[1][number])
        assert row.low < row.difference < row.high
    tests = compare_scores(*(model.sets["ijbc"].scores for model in models[::-1]), far_targets={"1e-2": 0.01})
    by_name = {row["number"]: row for row in tests}
    for name in ("auc", "tar@1e-2"):
        assert by_name[name]["a"] == pytest.approx(headlines[1][f"verification@{name}"], abs=1e-12)
    old = write_ijb(tmp_path / "old", 0.5, known=False)
    for order in ([models[0], old], [old, models[0]]):
        with pytest.raises(InputError, match=r"old/ijbc: stored without whom its templates show.*evaluate the set"):
            compare_models(order, 200, 0)
