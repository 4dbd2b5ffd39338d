import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.mining import labels
from ddl_tf.mining.labels import LabelRules, find_core, judge_labels, own_similarity, robust_limit

DIM, PEOPLE, IMAGES = 64, 40, 8


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


@pytest.fixture
def stored(tmp_path):
    def store(vectors):
        np.save(tmp_path / "vectors.npy", vectors.astype(np.float32))
        return Embeddings(tmp_path / "vectors.npy")

    return store


@pytest.fixture
def population():
    """Centers of people, and the images of each; their identities in a shuffled order."""
    rng = np.random.default_rng(0)
    centers = rng.normal(size=[PEOPLE, DIM])
    identity = rng.permutation(np.repeat(np.arange(PEOPLE), IMAGES))
    return centers, identity, centers[identity] + 0.7 * rng.normal(size=[len(identity), DIM])


def test_values_equal_the_naive_twin_in_blocks(population, stored, monkeypatch):
    _, identity, vectors = population
    usable = np.random.default_rng(1).random(len(identity)) > 0.2
    monkeypatch.setattr(labels, "_BLOCK_ELEMENTS", 300)
    embeddings = stored(vectors)
    core = find_core(embeddings, identity, PEOPLE, usable)
    own = own_similarity(embeddings, identity, PEOPLE, core)
    found = labels._judge(embeddings, identity, PEOPLE, core, usable, LabelRules(same_similarity=0.99))
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    assert not np.any(core & ~usable)
    for row in range(len(identity)):
        mine = core & (identity == identity[row])
        assert mine.sum() == np.sum(usable & (identity == identity[row])) // 2 + 1
        rest = mine & (np.arange(len(identity)) != row)
        assert own[row] == pytest.approx(cosine(unit[row], unit[rest].sum(0)), abs=1e-5)
        far = {other: cosine(unit[row], unit[core & (identity == other)].sum(0)) for other in range(PEOPLE)}
        del far[identity[row]]
        assert found.nearest_identity[row] == max(far, key=far.get)
        assert found.other_similarity[row] == pytest.approx(max(far.values()), abs=1e-5)
    np.testing.assert_array_equal(found.own_similarity, own)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.4])
def test_wrong_labels_are_found_whatever_their_share(population, stored, share):
    _, identity, vectors = population
    rng = np.random.default_rng(2)
    wrong = np.zeros(len(identity), bool)
    for person in range(PEOPLE):
        wrong[rng.choice(np.flatnonzero(identity == person), round(share * IMAGES), replace=False)] = True
    shown = np.where(wrong, (identity + rng.integers(1, PEOPLE, len(identity))) % PEOPLE, identity)
    found = judge_labels(stored(vectors), shown, PEOPLE, np.ones(len(identity), bool), LabelRules())
    # At 40% a few identities get more wrong images than right ones by chance.
    assert np.mean(found.wrong[wrong]) > 0.95 if share else not found.wrong.any()
    assert np.mean(found.wrong[~wrong]) < 0.01
    right = found.wrong & wrong
    np.testing.assert_array_equal(found.nearest_identity[right], identity[right])


def test_outliers_are_near_to_nobody(population, stored):
    _, identity, vectors = population
    strangers = np.arange(20)
    vectors[strangers] = np.random.default_rng(3).normal(size=[20, DIM])
    found = judge_labels(stored(vectors), identity, PEOPLE, np.ones(len(identity), bool), LabelRules())
    # Of strangers 5% are nearer to anybody than the limit.
    assert found.outlier[strangers].sum() >= 17
    assert not found.outlier[20:].any()
    assert not found.wrong.any()


def test_split_identities_are_one_person_and_their_images_are_not_wrong(population, stored):
    _, identity, vectors = population
    # Three people are in two identities, one of them in three.
    split = identity.copy()
    for person, number in ((3, PEOPLE), (7, PEOPLE + 1), (9, PEOPLE + 2)):
        split[np.flatnonzero(identity == person)[:3]] = number
    split[np.flatnonzero(identity == 9)[3:5]] = PEOPLE + 3
    found = judge_labels(stored(vectors), split, PEOPLE + 4, np.ones(len(identity), bool), LabelRules())
    pairs = {frozenset(pair) for pair in zip(found.same["first"], found.same["second"])}
    expected = [(3, 40), (7, 41), (9, 42), (9, 43), (42, 43)]
    assert pairs == {frozenset(pair) for pair in expected}
    assert not found.wrong.any()
    assert len(set(found.person)) == PEOPLE
    for first, second in expected:
        assert found.person[first] == found.person[second]
    # The nearest other person, not the other half of the same one.
    assert not np.any(found.person[found.nearest_identity] == found.person[split])


def test_the_only_image_and_identities_without_usable_images_have_no_verdict(population, stored):
    _, identity, vectors = population
    usable = identity != 5
    single = np.append(identity, PEOPLE)
    vectors = np.concatenate([vectors, np.random.default_rng(4).normal(size=[1, DIM])])
    found = judge_labels(stored(vectors), single, PEOPLE + 1, np.append(usable, True), LabelRules())
    assert np.isnan(found.own_similarity[-1])
    assert np.isnan(found.own_similarity[single == 5]).all()
    assert not found.wrong[-1]
    assert not found.outlier[-1]
    assert 5 not in found.nearest_identity


def test_two_wrong_of_two_images_accuse_only_the_one_that_is_somebody_elses(population, stored):
    centers, identity, vectors = population
    rng = np.random.default_rng(5)
    first, second = centers[0] + 0.7 * rng.normal(size=DIM), rng.normal(size=DIM)
    # As different as two people are on average.
    pair = np.stack([first, second - first * (first @ second) / (first @ first)])
    found = judge_labels(
        stored(np.concatenate([vectors, pair])),
        np.append(identity, [PEOPLE, PEOPLE]),
        PEOPLE + 1,
        np.ones(len(identity) + 2, bool),
        LabelRules(),
    )
    assert found.wrong[-2:].tolist() == [True, False]
    assert not found.outlier[-2:].any()


def test_one_identity_is_refused(stored):
    with pytest.raises(InputError, match="1 identity has usable images: labels are judged by comparing at least two"):
        judge_labels(stored(np.eye(4)), np.zeros(4, int), 1, np.ones(4, bool), LabelRules())


def test_a_limit_stands_where_a_third_of_the_values_is_beyond():
    """As the similarities to the nearest other, where a fifth of the labels is wrong and of the identities split."""
    rng = np.random.default_rng(7)
    values = np.concatenate([rng.normal(0.5, 0.05, 10_000), rng.normal(0.9, 0.05, 5_500)])
    assert robust_limit(values, 3.5) == pytest.approx(0.675, abs=0.02)
    assert robust_limit(-values, -3.5) == pytest.approx(-0.675, abs=0.02)


@pytest.mark.parametrize("share", [0.0, 0.1, 0.3])
def test_a_limit_is_that_of_the_values_without_contamination(share):
    rng = np.random.default_rng(6)
    clean = rng.normal(0.7, 0.1, 20_000)
    values = np.concatenate([clean, rng.normal(0, 0.1, int(share * len(clean))), [np.nan]])
    assert robust_limit(values, -3.5) == pytest.approx(0.35, abs=0.03)
    assert robust_limit(values, 3.5) == pytest.approx(1.05, abs=0.03)
    assert robust_limit(np.full(5, 0.25), 3.5) == 0.25
    assert np.isnan(robust_limit(np.array([np.nan]), 3.5))


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"deviations": 0}, "deviations from the median must be above 0, got 0"),
        ({"deviations": float("nan")}, "above 0, got nan"),
        ({"margin": -0.1}, r"in \[0, 2\), got -0.1"),
        ({"same_similarity": 1.0}, r"in \(-1, 1\), got 1.0"),
    ],
)
def test_bad_rules_are_refused(bad, message):
    with pytest.raises(InputError, match=message):
        LabelRules(**bad)
