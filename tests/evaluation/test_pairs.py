import json

import numpy as np
import pytest

from ddl_tf.data.verification import PairSet
from ddl_tf.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.pairs import evaluate_pairs, pair_similarities, verify


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
    assert sorted(result["tar"].values(), reverse=True) == list(result["tar"].values())


def test_perfect_embeddings():
    # Images 2i and 2i + 1 show one person: even rows pair an image with its successor there, odd ones with the next.
    pairs = _set([b""] * 40, 40, first=np.arange(40), second=(np.arange(40) + 1) % 40)
    result = verify(pairs, np.repeat(np.eye(20), 2, axis=0))
    assert result["accuracy"] == result["auc"] == result["tar"]["1e-4"] == result["expectation_margin"] == 1.0
    assert result["eer"] == result["accuracy_std"] == result["mean_different"] == 0.0


def test_evaluate_is_embed_then_verify(tiny_model, pictures):
    pairs = _set(pictures[0], 60)
    for flip in (False, True):
        result = evaluate_pairs(tiny_model, pairs, flip=flip, batch_size=16)
        assert result == verify(pairs, embed_images(tiny_model, pictures[0], flip=flip, batch_size=16))


@pytest.mark.parametrize("rows", [np.zeros([50, 8]), np.ones([50, 8]) / np.sqrt(8)])
def test_collapsed_embeddings_give_json_without_nan(rows):
    result = verify(_set([b""] * 50, 40), rows)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["auc"] == result["eer"] == 0.5
    assert result["expectation_margin"] == 0.0


def test_no_fold_with_both_classes_has_no_val(embeddings):
    same = np.arange(40) < 20
    result = verify(_set([b""] * 50, 40, same=same, fold=(~same).astype(int)), embeddings)
    assert result["val"] is None
    assert result["folds"] == 2
    json.dumps(result, allow_nan=False)


def test_a_single_fold_is_cut_into_tenths(embeddings):
    assert verify(_set([b""] * 50, 40, fold=np.full(40, 3)), embeddings)["folds"] == 10


def test_one_class_only(embeddings):
    with pytest.raises(InputError, match=r"^verification set tiny: 40 same and 0 different pairs"):
        verify(_set([b""] * 50, 40, same=np.ones(40, bool)), embeddings)
