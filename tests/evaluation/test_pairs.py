import dataclasses
import json
import pickle
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.pairs import (
    Bootstrap,
    add_groups,
    evaluate_pair_set,
    pair_similarities,
    race_groups,
    summarise_rfw,
    verify,
)
from ddl_tf.evaluation.reports import error_rates_table, json_line, pairs_table, results_text
from ddl_tf.metrics.bootstrap import bootstrap_pairs
from ddl_tf.metrics.error_rates import operating_points
from ddl_tf.metrics.group_differences import gini_coefficient
from ddl_tf.metrics.k_fold import usable_folds
from ddl_tf.metrics.paired_tests import compare_scores
from ddl_tf.metrics.roc import FAR_TARGETS
from ddl_tf.protocols.pair_sets import PairSet, read_bin
from ddl_tf.protocols.people_groups import Groups


def _set(pairs, **changes):
    """Of 50 images."""
    first, second = np.random.RandomState(0).randint(0, 50, [2, pairs])
    same, fold = np.arange(pairs) % 2 == 0, np.arange(pairs) * 10 // pairs
    values = {"name": "tiny", "images": [b""] * 50, "first": first, "second": second, "same": same, "fold": fold}
    return PairSet(**{**values, **changes})


@pytest.fixture
def embeddings():
    rows = np.random.RandomState(0).normal(size=[50, 8])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_numbers_against_naive_ones(embeddings):
    pairs = _set(400)
    similarity = np.array([np.dot(embeddings[a], embeddings[b]) for a, b in zip(pairs.first, pairs.second)])
    np.testing.assert_allclose(pair_similarities(pairs, embeddings), similarity, atol=1e-6)
    result = verify(pairs, embeddings)
    assert (result["set"], result["pairs"], result["same"], result["folds"]) == ("tiny", 400, 200, 10)
    assert result["mean_same"] == pytest.approx(similarity[pairs.same].mean(), abs=1e-6)
    assert result["mean_different"] == pytest.approx(similarity[~pairs.same].mean(), abs=1e-6)
    assert result["expectation_margin"] == pytest.approx(result["mean_same"] - result["mean_different"])
    accuracy = np.mean((similarity > result["threshold"]) == pairs.same)
    best = max(np.mean((similarity > threshold) == pairs.same) for threshold in np.linspace(-1, 1, 401))
    assert accuracy == result["threshold_accuracy"] == pytest.approx(best, abs=1e-9)
    # 200 different pairs: 2 at 1e-2, 0.2 at 1e-3.
    assert result["tar"]["1e-2"] is result["tar"]["1e-3"] is result["tar"]["1e-4"] is None
    threshold = np.sort(similarity[~pairs.same])[::-1][20]
    assert result["tar"]["1e-1"] == np.mean(similarity[pairs.same] > threshold)
    # A set of one fold is cut into ten.
    pairs = _set(400, fold=np.full(400, 7))
    outcome = evaluate_pair_set(pairs, embeddings)
    assert outcome.result["folds"] == 10
    np.testing.assert_array_equal(outcome.scores["similarity"], pair_similarities(pairs, embeddings))
    np.testing.assert_array_equal(outcome.scores["fold"], usable_folds(pairs.same, pairs.fold))
    np.testing.assert_array_equal(outcome.scores["second"], pairs.second)


@pytest.mark.parametrize("rows", [np.zeros([50, 8]), np.ones([50, 8]) / np.sqrt(8)])
def test_collapsed_embeddings_give_json_without_nan(rows):
    result = verify(_set(40), rows)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["auc"], result["eer"], result["expectation_margin"]) == (0.5, 0.5, 0.0)
    same = np.arange(40) < 20
    # No fold has both classes.
    result = verify(_set(40, same=same, fold=(~same).astype(int)), rows)
    assert (result["val"], result["folds"]) == (None, 2)


def test_refusals_name_the_set(embeddings):
    alike = _set(40, same=np.ones(40, bool))
    for pairs, replicates, message in ((alike, 0, "40 same and 0 different pairs"), (_set(40), 10, "10 replicates")):
        with pytest.raises(InputError, match=f"^verification set tiny: {message}"):
            verify(pairs, embeddings, replicates)


def test_intervals_are_added_of_pairs_or_people_and_nothing_else_changes(embeddings):
    # Five images each of ten people; even pairs are of one person.
    random, same = np.random.RandomState(1), np.arange(400) % 2 == 0
    first = random.randint(0, 50, 400)
    second = np.where(same, first - first % 5 + random.randint(0, 5, 400), (first + random.randint(5, 46, 400)) % 50)
    pairs = _set(400, first=first, second=second)
    people = np.array([f"person {image // 5}" for image in range(50)], object)
    plain, similarity = verify(pairs, embeddings), pair_similarities(pairs, embeddings)
    for named, resampled, known in ((None, "pairs", ()), (people, "people", (people[first], people[second]))):
        outcome = evaluate_pair_set(dataclasses.replace(pairs, people=named), embeddings, replicates=60, seed=3)
        intervals = bootstrap_pairs(similarity, same, 60, 3, *(known or (None, None)), pairs.fold)
        points = operating_points(similarity, same, FAR_TARGETS, 60, 3, *known)
        assert points.rates == plain["error_rates"]
        intervals.update({f"error_rates@{name}": ends for name, ends in points.intervals.items()})
        assert outcome.result == {**plain, "intervals": intervals, "resampled": resampled}
        # 200 different pairs: a FAR of 1e-2 is two of them, too few for an interval.
        assert {name for name in intervals if name.startswith("tar@")} == {"tar@1e-1"}
        json.dumps(intervals, allow_nan=False)
    # Of text of fixed width, which is stored without pickle.
    assert outcome.scores["people"].dtype.kind == "U"
    assert outcome.scores["people"].tolist() == people.tolist()


def test_pairs_of_failed_detections_are_counted_and_never_the_same_person(embeddings):
    rows = embeddings.copy()
    rows[[3, 7]] = 0
    first, second = np.r_[[3, 3, 0], np.arange(10, 20)], np.r_[[7, 1, 7], np.arange(20, 30)]
    same = np.arange(13) % 2 == 1
    # Two that failed, said to be of different people: at distance 0 they would be accepted first of all.
    pairs = _set(13, first=first, second=second, same=same, fold=np.zeros(13, int))
    outcome = evaluate_pair_set(pairs, rows)
    assert outcome.result["failed_pairs"] == 3
    np.testing.assert_array_equal(outcome.scores["similarity"][:3], 0)
    similarity = [float(np.dot(rows[a].astype(float), rows[b].astype(float))) for a, b in zip(first, second)]
    # The best accuracy over all thresholds, by similarities alone.
    best = max(np.mean((np.array(similarity) >= value) == same) for value in [*similarity, 2.0])
    assert outcome.result["threshold_accuracy"] == pytest.approx(best)
    assert "failed_pairs" not in evaluate_pair_set(pairs, embeddings).result


def test_a_photo_in_several_pairs_of_a_bin_makes_them_no_independent_pairs(tmp_path):
    """Photo 0 is in two pairs; DeLong's and McNemar's tests are for pairs that share nothing."""
    photos = [b"\xff\xd8\xff" + bytes([n]) for n in range(40)]
    photos[2] = photos[0]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((photos, [n % 2 == 0 for n in range(20)])))
    pair_set, models = read_bin(str(tmp_path / "a.bin")), np.random.default_rng(0).normal(size=[2, 40, 8])
    models /= np.linalg.norm(models, axis=2, keepdims=True)
    scores = [evaluate_pair_set(pair_set, embeddings.astype(np.float32)).scores for embeddings in models]
    tests = {row["number"]: row["test"] for row in compare_scores(*scores, replicates=40)}
    assert tests["auc"] == tests["accuracy"] == "paired bootstrap of people by same pairs"
    assert (scores[0]["first"][:2].tolist(), scores[0]["second"][:2].tolist()) == ([0, 0], [1, 3])


def test_groups_of_a_set_whose_people_only_the_same_pairs_tell(embeddings):
    place = np.arange(50)
    first, second = (side.ravel() for side in np.meshgrid(place, place))
    first, second = first[first < second], second[first < second]
    # Two images of each of 25 people, of whom nobody knows.
    pairs = _set(len(first), first=first, second=second, same=first // 2 == second // 2)
    rows = embeddings[place // 2 * 2] + 0.1 * embeddings
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    outcome = evaluate_pair_set(pairs, rows)
    groups = {"half": Groups(["low", "high"], (place >= 24).astype(int))}
    added = add_groups(outcome, pairs, groups, {"1e-1": 0.1, "1e-6": 1e-6}, Bootstrap(40, 3))
    named = dataclasses.replace(pairs, people=place // 2)
    # They are as if they were known.
    again = add_groups(outcome, named, groups, {"1e-1": 0.1, "1e-6": 1e-6}, Bootstrap(40, 3))
    assert added.result["groups"] == again.result["groups"]
    assert added.result["groups"]["half"]["low"]["people"] == 12
    assert added.result["notes"][0] == (
        "FMR 1e-6 is not measured with 1,200 pairs of two people. Rule of 3: 1,200 without any error leave up to 0.25% "
        "open. Rule of 30: to measure 0.0001% within 30% takes 30,000,000."
    )
    threshold = added.result["differences"]["half"]["threshold"]["1e-1"]
    similarity = outcome.scores["similarity"].astype(np.float32)
    inside = (first < 24) & (second < 24) & ~pairs.same
    assert added.result["groups"]["half"]["low"]["fmr"]["1e-1"] == np.mean(similarity[inside] >= np.float32(threshold))
    assert {name.split("@")[0] for name in added.result["intervals"]} == {"groups", "differences"}
    assert outcome.scores is added.scores


def test_races_are_groups_at_one_threshold():
    random, sets, outcomes = np.random.default_rng(0), [], []
    for number, race in enumerate(RACES):
        pairs = _set(200, name=f"rfw_{race}", people=None if number else np.array([f"m.{n // 2}" for n in range(50)]))
        first = random.integers(0, 25, 200) * 2
        second = np.where(pairs.same, first + 1, (first + 2 * random.integers(1, 25, 200)) % 50)
        pairs = dataclasses.replace(pairs, first=first, second=second)
        rows = random.normal(size=[25, 8]).repeat(2, axis=0) + (0.3 + 0.2 * number) * random.normal(size=[50, 8])
        sets.append(pairs)
        outcomes.append(evaluate_pair_set(pairs, (rows / np.linalg.norm(rows, axis=1, keepdims=True))))
    # In any order.
    result = race_groups(sets[::-1], outcomes[::-1], {"1e-1": 0.1}, Bootstrap(40, 1)).result
    assert result["mean"] == summarise_rfw([outcome.result for outcome in outcomes])["mean"]
    similarity = [outcome.scores["similarity"].astype(np.float32) for outcome in outcomes]
    different = np.sort(np.concatenate([values[~pairs.same] for values, pairs in zip(similarity, sets)]))[::-1]
    threshold = np.float32(result["differences"]["race"]["threshold"]["1e-1"])
    # 40 of 400 different pairs of all races.
    assert different[39] >= threshold > different[40]
    for race, values, pairs in zip(RACES, similarity, sets):
        rates = result["groups"]["race"][race]
        assert (rates["same"], rates["different"]) == (100, 100)
        assert rates["fmr"]["1e-1"] == np.mean(values[~pairs.same] >= threshold)
        assert rates["fnmr"]["1e-1"] == pytest.approx(np.mean(values[pairs.same] < threshold))
    fnmr = np.array([result["groups"]["race"][race]["fnmr"]["1e-1"] for race in RACES])
    assert result["differences"]["race"]["fnmr_gini"]["1e-1"] == pytest.approx(gini_coefficient(fnmr))
    assert result["differences"]["race"]["pairs"] == {}
    low, high = result["intervals"]["differences@race@fnmr_gini@1e-1"]
    assert low < high
    text = results_text([result])
    assert "rfw, by groups:" in text
    assert "differences by race, at FMR:" in text
    json.dumps(result, allow_nan=False)


RACES = ["african", "asian", "caucasian", "indian"]


def of_races(accuracies, names=RACES):
    return [{"set": f"rfw_{race}", "pairs": 6000, "accuracy": value} for race, value in zip(names, accuracies)]


def test_summary_of_rfw_has_golden_and_naive_numbers():
    for golden in json.loads((Path(__file__).parents[1] / "golden/rfw_golden.json").read_text()):
        summary = summarise_rfw(of_races(golden["accuracies"]))
        assert summary["mean"] == pytest.approx(golden["mean"], rel=1e-14)
        assert 100 * summary["std"] == pytest.approx(golden["std_percent"], rel=1e-12)
    values = [0.7, 0.95, 0.61, 0.8]
    summary = summarise_rfw(of_races(values[::-1], RACES[::-1]))
    assert json.loads(json.dumps(summary)) == summary
    assert list(summary["accuracy"].items()) == list(zip(RACES, values))
    assert summary["skewed_error_ratio"] == pytest.approx(0.39 / 0.05)
    assert (summary["pairs"], summary["worst"]) == (24000, "caucasian")
    # No ratio without an error, and nothing but the four.
    assert summarise_rfw(of_races([0.9, 0.95, 1.0, 0.9]))["skewed_error_ratio"] is None
    for names in (RACES[:3], [*RACES, "asian"], ["african", "asian", "caucasian", "other"], []):
        with pytest.raises(InputError, match="RFW is rfw_african, rfw_asian, rfw_caucasian, rfw_indian, each once"):
            summarise_rfw(of_races([0.9] * 5, names))


def _result_of(**changes):
    numbers = {"accuracy": 0.99625, "accuracy_std": 0.00291, "threshold_accuracy": 0.997, "auc": 0.9991, "eer": 0.0042}
    rates = {"1e-1": 0.9998, "1e-2": 0.9961, "1e-3": 0.9912, "1e-4": 0.9}
    return {"set": "lfw", "pairs": 6000, **numbers, "tar": rates, "expectation_margin": 0.61834, **changes}


def test_table_is_aligned_and_a_tar_that_cannot_be_measured_is_a_dash():
    rates = {"1e-1": 0.9998, "1e-2": 0.9961, "1e-3": None, "1e-4": None}
    sets = [_result_of(), _result_of(set="cfp_fp", accuracy=1.0), _result_of(tar=rates)]
    header, first, second, third, note = pairs_table(sets).splitlines()
    assert header.split()[0] == "set"
    assert len(header) == len(first) == len(second) == len(third)
    assert "99.62 +- 0.29" in first
    assert (second.split()[0], second.split()[-1]) == ("cfp_fp", "0.618")
    assert third.split()[-3:-1] == ["\N{EN DASH}", "\N{EN DASH}"]
    assert note == "\N{EN DASH}: not measurable, FAR x different pairs is less than 3"
    assert len(pairs_table([_result_of()]).splitlines()) == 2
    with pytest.raises(ValueError, match="not JSON compliant"):
        json_line(_result_of(auc=float("nan")))


def test_error_rates_have_a_table_and_few_pairs_are_told_what_they_leave_open(embeddings):
    result = verify(_set(400), embeddings, replicates=40)
    low, high = result["intervals"]["error_rates@fnmr@1e-1"]
    lines = error_rates_table([result, {**result, "set": "other"}]).splitlines()
    fnmr = f"{100 * (1 - result['tar']['1e-1']):.3g}% [{100 * low:.3g}, {100 * high:.3g}]"
    assert result["error_rates"]["fnmr"]["1e-1"] == 1 - result["tar"]["1e-1"]
    assert lines == [
        "ISO/IEC 19795-1, FNMR at FMR:",
        f"set    {'1e-1'.rjust(len(fnmr))}  1e-2  1e-3  1e-4",
        f"tiny   {fnmr}     \N{EN DASH}     \N{EN DASH}     \N{EN DASH}",
        f"other  {fnmr}     \N{EN DASH}     \N{EN DASH}     \N{EN DASH}",
        "FMR 1e-2 of 200 pairs: Rule of 3: 200 without any error leave up to 1.5% open. Rule of 30: to measure 1% "
        "within 30% takes 3,000.",
    ]
    assert results_text([result]) == f"{pairs_table([result])}\n{error_rates_table([result])}"
