import itertools
import json
import math

import numpy as np
import pytest
from scipy.stats import norm
from sklearn.metrics import roc_auc_score

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import paired_tests
from ddl_tf.metrics.bootstrap import pair_weights
from ddl_tf.metrics.k_fold import k_fold_accuracy
from ddl_tf.metrics.paired_tests import bootstrap_pair_tests, compare_scores, delong_test, mcnemar_test, sign_flip_test
from ddl_tf.metrics.seeds import compare_seeds
from ddl_tf.metrics.weighted import WeightedPairs


def two_models(seed, pairs=400, shift_b=1.0, share=0.7):
    """Similarities of two models which err partly on the same pairs; with shift_b=1 they are equally good."""
    random = np.random.default_rng(seed)
    same = np.arange(pairs) % 2 == 0
    common, a, b = random.normal(size=[3, pairs])
    return 0.2 * (common + share * a + 1.5 * same), 0.2 * (common + share * b + 1.5 * shift_b * same), same


def scores_of(similarity, same, **further):
    pairs = len(same)
    further = {"first": np.arange(pairs), "second": np.arange(pairs) + pairs, **further}
    return {"similarity": similarity, "same": same, "fold": np.arange(pairs) * 10 // pairs, **further}


def test_delong_against_every_two_pairs():
    """DeLong's variance of the difference from the kernel of every two pairs, as in their paper."""
    a, b, same = two_models(0, shift_b=0.8)
    a, b = np.round(a, 2), np.round(b, 2)
    kernels = []
    for similarity in (a, b):
        difference = similarity[same][:, None] - similarity[~same][None, :]
        kernels.append((difference > 0) + 0.5 * (difference == 0))
    sides = [[kernel.mean(axis=axis) for kernel in kernels] for axis in (1, 0)]
    covariance = sum(np.cov(side) / len(side[0]) for side in sides)
    error = np.sqrt(covariance[0, 0] + covariance[1, 1] - 2 * covariance[0, 1])
    difference = kernels[0].mean() - kernels[1].mean()
    row = delong_test(a, b, same)
    assert row.difference == pytest.approx(difference, abs=1e-12)
    assert (row.high - row.low) / 2 == pytest.approx(1.959964 * error, rel=1e-6)
    assert (row.a, row.b) == pytest.approx((roc_auc_score(same, a), roc_auc_score(same, b)), abs=1e-12)
    assert row.p == pytest.approx(2 * norm.sf(abs(difference) / error))


def test_delong_without_variance():
    a, _, same = two_models(0)
    assert delong_test(a, a, same).p == delong_test(a, 2 * a + 1, same).p == 1.0
    perfect = same.astype(float)
    # Two and two pairs: nothing tells how such a difference varies, however large it is.
    row = delong_test(perfect[:4], 1 - perfect[:4], same[:4])
    assert row[3:] == (1.0, None, None, None, "none: the difference does not vary")


def test_mcnemar_against_coins():
    a, b = np.repeat([True, False, True, False], [9, 2, 50, 30]), np.repeat([False, True, True, False], [9, 2, 50, 30])
    exact = 2 * sum(math.comb(11, heads) for heads in (0, 1, 2)) / 2**11
    assert mcnemar_test(a, b) == mcnemar_test(b, a) == pytest.approx(exact)
    assert mcnemar_test(a, a) == 1.0
    assert paired_tests.holm([]) == []


def test_both_models_are_resampled_alike():
    a, b, same = two_models(1)
    rows = bootstrap_pair_tests(a, b, same, 60, 5, far_targets={"0.1": 0.1})
    differences = {row.number: [] for row in rows}
    for weights in pair_weights(same, 60, 5):
        numbers = [WeightedPairs(similarity, same, far_targets={"0.1": 0.1}).numbers(weights) for similarity in (a, b)]
        for name, values in differences.items():
            values.append(numbers[0][name] - numbers[1][name])
    for row in rows:
        assert (row.low, row.high) == pytest.approx(tuple(np.quantile(differences[row.number], [0.025, 0.975])))
        assert row.p == paired_tests.bootstrap_p(differences[row.number])
        assert row.difference == row.a - row.b


def test_a_better_model_is_found():
    a, b, same = two_models(2, pairs=1000, shift_b=0.6)
    rows = {row["number"]: row for row in compare_scores(scores_of(a, same), scores_of(b, same), replicates=200)}
    for name in ("auc", "eer", "tar@1e-1", "expectation_margin", "accuracy"):
        assert rows[name]["p"] < 0.01, name
        assert rows[name]["low"] <= rows[name]["difference"] <= rows[name]["high"]
        assert (rows[name]["difference"] > 0) == (name != "eer")
    tests = [rows[name]["test"] for name in ("auc", "accuracy", "eer")]
    assert tests == ["DeLong", "McNemar, exact", "paired bootstrap of pairs"]
    assert rows["tar@1e-3"]["p"] is rows["tar@1e-3"]["low"] is None
    accuracy = k_fold_accuracy(2 - 2 * a, same, np.arange(1000) * 10 // 1000).mean()
    assert rows["accuracy"]["a"] == pytest.approx(accuracy, abs=1e-12)
    json.dumps(list(rows.values()), allow_nan=False)


def test_people_are_resampled_for_every_number():
    a, b, same = two_models(3, pairs=200)
    random = np.random.default_rng(0)
    first = random.integers(0, 30, 200)
    people = np.concatenate([first, np.where(same, first, (first + random.integers(1, 30, 200)) % 30)]).astype(str)
    given = compare_scores(scores_of(a, same), scores_of(b, same), people, replicates=40)
    assert {row["test"] for row in given if row["p"] is not None} == {"paired bootstrap of people"}
    of_scores = [scores_of(model, same, people=people) for model in (a, b)]
    assert compare_scores(*of_scores, replicates=40) == given


def test_ranks_by_condition():
    condition = np.repeat(["d1", "d2"], 50)
    rank_a, rank_b = np.ones(100, int), np.ones(100, int)
    # 0 is never found, and not better than 1.
    rank_b[:10], rank_a[:1], rank_b[60:70] = 0, 2, 3
    a, b = ({"rank": rank, "condition": condition} for rank in (rank_a, rank_b))
    rows = compare_scores(a, b, replicates=40, ranks=(1, 5))
    assert [row["number"] for row in rows] == ["rank-1 d1", "rank-5 d1", "rank-1 d2", "rank-5 d2"]
    assert [row["a"] for row in rows] == [0.98, 1.0, 1.0, 1.0]
    assert [row["b"] for row in rows] == [0.8, 0.8, 0.8, 1.0]
    assert [row["p"] for row in rows] == pytest.approx([2 / 2**9, 2 / 2**10, 2 / 2**10, 1.0])


def test_probes_of_one_person_are_one_person():
    rank_a, rank_b, person = np.ones(60, int), np.repeat([1, 1, 0, 1, 1, 0], 10), np.repeat(list("abcdef"), 10)
    alone = compare_scores({"rank": rank_a}, {"rank": rank_b})[0]
    assert (alone["number"], alone["test"]) == ("rank-1", paired_tests.PROBES_ALONE)
    assert alone["p"] < 1e-5
    a, b = ({"rank": rank, "person": person, "average_precision": rank / 1.0} for rank in (rank_a, rank_b))
    rows = compare_scores(a, b)
    assert {row["number"]: row["test"] for row in rows} == dict.fromkeys(("rank-1", "map"), paired_tests.SIGN_FLIPS)
    # Two people differ: both signs are alike in half of the flips.
    assert [row["p"] for row in rows] == pytest.approx([0.5, 0.5], abs=0.02)
    assert rows[0]["difference"] == pytest.approx(1 / 3)


def test_a_difference_that_is_the_same_in_every_replicate_has_no_p():
    person = np.arange(30) // 7
    a, b = (
        {"rank": np.ones(30, int), "person": person, "average_precision": np.full(30, x)} for x in (0.9, 0.9 - 1 / 3)
    )
    row = compare_scores(a, b, replicates=100)[1]
    assert (row["low"], row["high"], row["p"]) == (None, None, None)
    assert row["test"] == "none: the difference does not vary"
    assert paired_tests.bootstrap_difference("auc", 0.9, 0.8, [0.1] * 40, "people")[4:] == (
        None,
        None,
        None,
        row["test"],
    )
    # Equal models differ by nothing, which is no question of variance.
    assert paired_tests.bootstrap_difference("auc", 0.9, 0.9, [0.0] * 40, "people").p == 1.0


def test_sign_flips_are_those_of_all_signs():
    random = np.random.default_rng(1)
    for values in (random.integers(-1, 2, 40), random.normal(size=40) + 0.3):
        person = random.integers(0, 9, 40)
        totals = np.bincount(person, values, 9)
        sums = np.array([np.dot(signs, totals) for signs in itertools.product((-1, 1), repeat=9)])
        exact = np.mean(np.abs(sums) >= abs(sum(totals)) - 1e-9)
        assert sign_flip_test(values, person, seed=0) == pytest.approx(exact, abs=0.02)
    assert sign_flip_test(np.zeros(4), np.arange(4), seed=0) == 1.0


def test_seeds_against_the_formulas():
    a, b = [0.91, 0.95, 0.92, 0.94, 0.93, 0.96], [0.90, 0.92, 0.93, 0.90, 0.91, 0.92]
    compared = compare_seeds(a, b)
    mean, error = np.subtract(a, b).mean(), np.subtract(a, b).std(ddof=1) / np.sqrt(6)
    # 2.570582 is the quantile of Student's t with five degrees of freedom.
    assert (compared.low, compared.high) == pytest.approx((mean - 2.570582 * error, mean + 2.570582 * error), abs=1e-8)
    expected = (6, pytest.approx(np.mean(a)), pytest.approx(np.mean(b)), pytest.approx(mean))
    assert (compared.seeds, compared.a, compared.b, compared.difference) == expected
    assert compared.p < 0.05


def test_wilcoxon_against_all_signs():
    a, b = np.array([0.1, 0.2, 0.35, 0.5, 0.7, -0.15]), np.zeros(6)
    ranks = np.argsort(np.argsort(abs(a))) + 1
    observed = ranks[a > 0].sum()
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product([0, 1], repeat=6)])
    naive = 2 * min(np.mean(sums >= observed), np.mean(sums <= observed))
    assert compare_seeds(a, b).wilcoxon_p == pytest.approx(naive)
    assert compare_seeds([1.0, 0.9], [1.0, 0.9])[3:] == (0.0, 0.0, 0.0, 1.0, 1.0)


A, B, LABELS = two_models(0, pairs=20)
SCORES = scores_of(A, LABELS)


@pytest.mark.parametrize(
    "call, message",
    [
        *(
            (lambda change=change: compare_scores(SCORES, {**SCORES, **change}), message)
            for change, message in (
                ({"same": ~LABELS}, "the models' 'same' differ in 20 of 20 places"),
                ({"rank": np.ones(3)}, "only one model's scores hold 'rank'"),
                ({"similarity": np.ones(19)}, r"the models' 'similarity' are of shapes \(20,\) and \(19,\)"),
            )
        ),
        (lambda: compare_scores({}, {}), "neither pairs nor probes"),
        (
            lambda: compare_scores(*[{"similarity": A, "same": LABELS}] * 2, people=np.ones(40)),
            "do not hold `first` and `second`",
        ),
        (lambda: delong_test(A[:3], B, LABELS), "finite similarity for each of the 20 pairs"),
        (lambda: delong_test(A, B, np.arange(20) < 1), "needs two of each class"),
        (lambda: mcnemar_test(LABELS, LABELS[:3]), "both models' on the same"),
        (lambda: paired_tests.holm([0.5, np.nan]), r"each must be in 0\.\.1"),
        (lambda: sign_flip_test(np.zeros(4), np.arange(3), seed=0), "give a person each"),
        (lambda: compare_seeds([0.9, 0.8], [0.8]), "2 and 1 runs"),
        (lambda: compare_seeds([0.9, np.nan], [0.8, 0.8]), "all must be finite"),
        (lambda: compare_seeds([0.9, 0.8], [0.8, 0.7]), "differ by 0.1 for every seed"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
