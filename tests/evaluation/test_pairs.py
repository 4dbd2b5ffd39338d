import json
import pickle

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.pairs import evaluate_pair_set, pair_similarities, verify
from ddl_tf.metrics.bootstrap import bootstrap_pairs
from ddl_tf.metrics.k_fold import usable_folds
from ddl_tf.metrics.paired_tests import compare_scores
from ddl_tf.protocols.pair_sets import PairSet, read_bin


def _set(images, pairs, seed=0, **changes):
    random = np.random.RandomState(seed)
    values = {
        "name": "tiny",
        "images": images,
        "first": random.randint(0, len(images), pairs),
        "second": random.randint(0, len(images), pairs),
        "same": np.arange(pairs) % 2 == 0,
        "fold": np.arange(pairs) * 10 // pairs,
    }
    return PairSet(**{**values, **changes})


@pytest.fixture
def embeddings():
    rows = np.random.RandomState(0).normal(size=[50, 8])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def test_numbers_against_naive_ones(embeddings):
    pairs = _set([b""] * 50, 400)
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
    assert list(result["tar"]) == ["1e-1", "1e-2", "1e-3", "1e-4"]
    # 200 different pairs: 2 at 1e-2, 0.2 at 1e-3.
    assert result["tar"]["1e-2"] is result["tar"]["1e-3"] is result["tar"]["1e-4"] is None
    threshold = np.sort(similarity[~pairs.same])[::-1][20]
    assert result["tar"]["1e-1"] == np.mean(similarity[pairs.same] > threshold)
    # A set of one fold is cut into ten.
    pairs = _set([b""] * 50, 400, fold=np.full(400, 7))
    outcome = evaluate_pair_set(pairs, embeddings)
    assert outcome.result["folds"] == 10
    assert list(outcome.scores) == ["similarity", "same", "fold", "first", "second"]
    np.testing.assert_array_equal(outcome.scores["similarity"], pair_similarities(pairs, embeddings))
    np.testing.assert_array_equal(outcome.scores["fold"], usable_folds(pairs.same, pairs.fold))
    np.testing.assert_array_equal(outcome.scores["second"], pairs.second)


@pytest.mark.parametrize("rows", [np.zeros([50, 8]), np.ones([50, 8]) / np.sqrt(8)])
def test_collapsed_embeddings_give_json_without_nan(rows):
    result = verify(_set([b""] * 50, 40), rows)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert (result["auc"], result["eer"], result["expectation_margin"]) == (0.5, 0.5, 0.0)
    same = np.arange(40) < 20
    result = verify(_set([b""] * 50, 40, same=same, fold=(~same).astype(int)), rows)
    # No fold has both classes.
    assert (result["val"], result["folds"]) == (None, 2)
    json.dumps(result, allow_nan=False)


def test_refusals_name_the_set(embeddings):
    with pytest.raises(InputError, match=r"^verification set tiny: 40 same and 0 different pairs"):
        verify(_set([b""] * 50, 40, same=np.ones(40, bool)), embeddings)
    with pytest.raises(InputError, match=r"^verification set tiny: 10 replicates"):
        verify(_set([b""] * 50, 40), embeddings, replicates=10)


def test_intervals_are_added_and_nothing_else_changes(embeddings):
    pairs = _set([b""] * 50, 400)
    plain, result = verify(pairs, embeddings), verify(pairs, embeddings, replicates=60, seed=3)
    intervals, resampled = result.pop("intervals"), result.pop("resampled")
    assert result == plain
    assert list(plain)[:2] == ["set", "protocol"]
    assert resampled == "pairs"
    similarity = pair_similarities(pairs, embeddings)
    assert intervals == bootstrap_pairs(similarity, pairs.same, 60, 3, fold=pairs.fold)
    # 200 different pairs: a FAR of 1e-2 is two of them, too few for an interval.
    assert {name for name in intervals if name.startswith("tar@")} == {"tar@1e-1"}
    for name in ("auc", "eer", "expectation_margin", "accuracy", "mean_same"):
        assert intervals[name][0] < plain[name] < intervals[name][1], name
    json.dumps(intervals, allow_nan=False)


def test_people_are_resampled_where_they_are_known(embeddings):
    # Five images each of ten people; even pairs are of one person.
    random, same = np.random.RandomState(1), np.arange(400) % 2 == 0
    first = random.randint(0, 50, 400)
    second = np.where(same, first - first % 5 + random.randint(0, 5, 400), (first + random.randint(5, 46, 400)) % 50)
    people = np.array([f"person {image // 5}" for image in range(50)], object)
    pairs = _set([b""] * 50, 400, first=first, second=second, people=people)
    result, scores = vars(evaluate_pair_set(pairs, embeddings, replicates=40)).values()
    assert result["resampled"] == "people"
    similarity = pair_similarities(pairs, embeddings)
    expected = bootstrap_pairs(similarity, same, 40, 0, people[first], people[second], pairs.fold)
    assert result["intervals"] == expected
    # Of text of fixed width, which is stored without pickle.
    assert scores["people"].dtype.kind == "U"
    assert scores["people"].tolist() == people.tolist()


def test_pairs_of_failed_detections_are_counted_and_never_the_same_person(embeddings):
    rows = embeddings.copy()
    rows[[3, 7]] = 0
    first, second = np.r_[[3, 3, 0], np.arange(10, 20)], np.r_[[7, 1, 7], np.arange(20, 30)]
    same = np.arange(13) % 2 == 1
    # Two that failed, said to be of different people: at distance 0 they would be accepted first of all.
    pairs = _set([b""] * 50, 13, first=first, second=second, same=same, fold=np.zeros(13, int))
    outcome = evaluate_pair_set(pairs, rows)
    assert outcome.result["failed_pairs"] == 3
    np.testing.assert_array_equal(outcome.scores["similarity"][:3], 0)
    similarity = [float(np.dot(rows[a].astype(float), rows[b].astype(float))) for a, b in zip(first, second)]
    # The best accuracy over all thresholds, by similarities alone.
    best = max(np.mean((np.array(similarity) >= value) == same) for value in [*similarity, 2.0])
    assert outcome.result["threshold_accuracy"] == pytest.approx(best)
    assert "failed_pairs" not in evaluate_pair_set(pairs, embeddings).result


@pytest.mark.parametrize("repeated", [True, False])
def test_a_photo_in_several_pairs_of_a_bin_makes_them_no_independent_pairs(tmp_path, repeated):
    """Photo 0 is in two pairs; DeLong's and McNemar's tests are for pairs that share nothing."""
    photos = [b"\xff\xd8\xff" + bytes([n]) for n in range(40)]
    if repeated:
        photos[2] = photos[0]
    (tmp_path / "a.bin").write_bytes(pickle.dumps((photos, [n % 2 == 0 for n in range(20)])))
    pair_set, models = read_bin(str(tmp_path / "a.bin")), np.random.default_rng(0).normal(size=[2, 40, 8])
    models /= np.linalg.norm(models, axis=2, keepdims=True)
    scores = [evaluate_pair_set(pair_set, embeddings.astype(np.float32)).scores for embeddings in models]
    tests = {row["number"]: row["test"] for row in compare_scores(*scores, replicates=40)}
    if repeated:
        assert tests["auc"] == tests["accuracy"] == "paired bootstrap of people by same pairs"
        assert (scores[0]["first"][:2].tolist(), scores[0]["second"][:2].tolist()) == ([0, 0], [1, 3])
    else:
        assert (tests["auc"], "McNemar" in tests["accuracy"]) == ("DeLong", True)
