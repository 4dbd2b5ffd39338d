import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import percentile_interval
from ddl_tf.metrics.gaps import compare_gaps, expectation_gap, gap_interval


def scored(seed, margin, pairs=200, noise=0.1, **further):
    random = np.random.default_rng(seed)
    same = np.arange(pairs) < pairs // 2
    return {"similarity": noise * random.normal(size=pairs) + margin * same, "same": same, **further}


def margin_of(scores, weights):
    same = np.repeat(scores["same"], weights)
    similarity = np.repeat(scores["similarity"], weights)
    return similarity[same].mean() - similarity[~same].mean()


def test_gap_and_interval_against_resampled_sets():
    easy, hard = scored(0, 0.8), scored(1, 0.5, pairs=100)
    gap = margin_of(easy, np.ones(200, int)) - margin_of(hard, np.ones(100, int))
    assert expectation_gap(easy, hard) == pytest.approx(gap, abs=1e-12)
    # A pair without an image is in no margin.
    lost = {"similarity": np.append(hard["similarity"], [-2.0, -2.0]), "same": np.append(hard["same"], [True, False])}
    assert expectation_gap(easy, lost) == pytest.approx(gap, abs=1e-12)
    random, gaps = np.random.default_rng(2), []
    for _ in range(500):
        weights = [np.bincount(random.integers(0, n, n), minlength=n) for n in (100, 100, 50, 50)]
        gaps.append(margin_of(easy, np.concatenate(weights[:2])) - margin_of(hard, np.concatenate(weights[2:])))
    np.testing.assert_allclose(gap_interval(easy, hard, 500, 0), percentile_interval(gaps), atol=0.012)


def test_templates_of_one_person_are_resampled_together():
    first = np.arange(200) // 10
    second = np.where(np.arange(200) < 100, first, (first + 1) % 20)
    templates = {"first": first, "second": second, "template": np.arange(20), "template_person": np.arange(20)}
    sets = [scored(seed, margin, **templates) for seed, margin in enumerate((0.8, 0.5, 0.8, 0.5))]
    assert compare_gaps(*sets, replicates=40).test == "paired bootstrap of people"
    with pytest.raises(InputError, match="are of shapes"):
        compare_gaps(*sets[:3], scored(1, 0.5, pairs=100, **templates))
    with pytest.raises(InputError, match="39 replicates"):
        gap_interval(*sets[:2], 39)


def test_a_smaller_gap_is_found():
    sets = [scored(seed, margin) for seed, margin in enumerate((0.8, 0.7, 0.8, 0.5))]
    row = compare_gaps(*sets, replicates=300)
    assert (row.number, row.test) == ("gap", "paired bootstrap of pairs")
    assert row.difference == pytest.approx(-0.2, abs=0.06)
    assert row.low < row.difference < row.high < 0
    assert row.p == 2 / 301


def test_the_null_and_the_same_people_in_both_sets():
    """People move the margins of both sets alike; that cancels in the gap if they are drawn together."""
    people = np.arange(40).astype(str)
    first = np.tile(np.arange(40), 5)
    second = np.where(np.arange(200) < 100, first, (first + 1 + np.arange(200) // 40) % 40)
    where = {"first": first, "second": second, "people": people}
    effect = 0.3 * np.random.default_rng(0).normal(size=40)[first]
    easy, hard = scored(1, 0.8, noise=0.02, **where), scored(2, 0.5, noise=0.02, **where)
    for scores in (easy, hard):
        scores["similarity"] += effect * scores["same"]
    together = gap_interval(easy, hard, 300)
    strangers = gap_interval(easy, {**hard, "people": np.array([f"other {name}" for name in people])}, 300)
    assert together[1] - together[0] < 0.3 * (strangers[1] - strangers[0])
    row = compare_gaps(easy, hard, easy, hard, 300)
    assert (row.difference, row.p, row.test) == (0.0, 1.0, "paired bootstrap of people")
