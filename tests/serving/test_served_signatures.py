"""`verify` and `search` against their definitions, and `valid` among the rows."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ddl_tf.serving import read_description, serving_module


def _photo(seed):
    random = np.random.RandomState(seed)
    image = Image.fromarray(random.randint(0, 256, [4, 4, 3]).astype(np.uint8)).resize((40, 36), Image.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG" if seed % 2 else "PNG")
    return out.getvalue()


PHOTOS = [_photo(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def ask(served):
    return lambda name, **inputs: {key: value.numpy() for key, value in served.signatures[name](**inputs).items()}


@pytest.fixture(scope="module")
def embeddings(ask):
    return ask("serving_bytes", image_bytes=tf.constant(PHOTOS))["embedding"]


def test_the_embeddings_of_bad_rows_are_zero(ask, embeddings):
    answer = ask("serving_bytes", image_bytes=tf.constant([b"", PHOTOS[0], b"x", PHOTOS[1]]))
    assert answer["valid"].tolist() == [False, True, False, True]
    np.testing.assert_allclose(answer["embedding"][[1, 3]], embeddings[:2], atol=1e-5)
    assert not answer["embedding"][[0, 2]].any()


def test_verify(ask, embeddings):
    second = [PHOTOS[0], PHOTOS[2], b"no image", PHOTOS[3]]
    first = [PHOTOS[0], PHOTOS[1], PHOTOS[2], b""]
    answer = ask("verify", first=tf.constant(first), second=tf.constant(second))
    other = float(np.dot(embeddings[1], embeddings[2]))
    assert other < 0.9
    np.testing.assert_allclose(answer["similarity"], [1, other, 0, 0], atol=1e-5)
    assert answer["same"].tolist() == [True, False, False, False]
    assert answer["valid"].tolist() == [True, True, False, False]


def test_verify_decides_at_the_threshold(embedder):
    pair = tf.constant(PHOTOS[:1]), tf.constant(PHOTOS[1:2])
    similarity = float(serving_module(embedder, threshold=0.5).verify(*pair)["similarity"][0])
    above = float(np.nextafter(np.float32(similarity), np.float32(2)))
    same = [bool(serving_module(embedder, threshold=value).verify(*pair)["same"][0]) for value in (similarity, above)]
    assert same == [True, False]


def test_search(ask, embeddings):
    # The gallery need not have unit norm.
    gallery = (embeddings * np.arange(1, 7)[:, np.newaxis]).astype(np.float32)[::-1]
    probes = [PHOTOS[4], b"", PHOTOS[0]]
    answer = ask("search", image_bytes=tf.constant(probes), gallery=tf.constant(gallery), k=tf.constant(3))
    similarity = embeddings[[4, 0]] @ embeddings[::-1].T
    best = np.argsort(-similarity, axis=1)[:, :3]
    assert best[:, 0].tolist() == [1, 5]
    np.testing.assert_array_equal(answer["index"], [best[0], [-1, -1, -1], best[1]])
    np.testing.assert_allclose(answer["similarity"][[0, 2]], np.take_along_axis(similarity, best, axis=1), atol=1e-5)
    assert not answer["similarity"][1].any()
    assert answer["valid"].tolist() == [True, False, True]


@pytest.mark.parametrize("k", [1, 6])
def test_search_for_as_many_as_there_are(ask, embeddings, k):
    answer = ask("search", image_bytes=tf.constant(PHOTOS), gallery=tf.constant(embeddings), k=tf.constant(k))
    assert answer["index"].shape == (6, k)
    np.testing.assert_array_equal(answer["index"][:, 0], np.arange(6))


@pytest.mark.parametrize("name", ["verify", "search"])
def test_no_rows(ask, embeddings, name):
    none = tf.constant([], tf.string)
    inputs = {"first": none, "second": none} if name == "verify" else {"image_bytes": none, "k": tf.constant(2)}
    if name == "search":
        inputs["gallery"] = tf.constant(embeddings)
    for key, value in ask(name, **inputs).items():
        assert value.shape == ((0, 2) if key in ("index", "similarity") and name == "search" else (0,))


def test_the_description(exported):
    facts = read_description(str(exported))
    assert facts["threshold"] == {
        "value": 0.9,
        "far": 0.01,
        "set": "lfw",
        "protocol": "pairs",
        "evaluation": {"folder": "evaluations/ddl", "far": 0.0099},
    }
    expected = {
        "model": "faces",
        "version": 1,
        "dim": 16,
        "input_size": [16, 16],
        "flip": False,
        "checkpoint": "a.keras",
    }
    assert {key: facts[key] for key in expected} == expected
    assert facts["signatures"] == ["search", "serving_bytes", "serving_default", "verify"]
