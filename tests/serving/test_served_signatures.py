"""`verify` and `search` against their definitions, and `valid` among the rows."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_sets import picture

from ddl_tf.serving import read_description, serving_module
from ddl_tf.serving.served import _verify

PHOTOS = [picture(seed, 40, "JPEG" if seed % 2 else "PNG") for seed in range(6)]


@pytest.fixture(scope="module")
def ask(served):
    return lambda name, **inputs: {key: value.numpy() for key, value in served.signatures[name](**inputs).items()}


@pytest.fixture(scope="module")
def embeddings(ask):
    return ask("serving_bytes", image_bytes=tf.constant(PHOTOS))["embedding"]


def test_verify(ask, embeddings):
    second = [PHOTOS[0], PHOTOS[2], b"no image", PHOTOS[3]]
    first = [PHOTOS[0], PHOTOS[1], PHOTOS[2], b""]
    answer = ask("verify", first=tf.constant(first), second=tf.constant(second))
    cosine = float(np.dot(embeddings[1], embeddings[2]))
    assert cosine < 0.9
    np.testing.assert_allclose(answer["similarity"], [1, cosine, 0, 0], atol=1e-5)
    assert answer["same"].tolist() == [True, False, False, False]
    assert answer["valid"].tolist() == [True, True, False, False]
    empty = tf.constant([], tf.string)
    assert {value.shape for value in ask("verify", first=empty, second=empty).values()} == {(0,)}


def test_verify_decides_at_the_threshold(embedder):
    pair = tf.constant(PHOTOS[:1]), tf.constant(PHOTOS[1:2])
    module = serving_module(embedder, threshold=0.5)
    similarity = module.verify(*pair)["similarity"].numpy()[0]
    above = np.nextafter(similarity, np.float32(2))
    same = [bool(_verify(module, float(value))(*pair)["same"][0]) for value in (similarity, above)]
    assert same == [True, False]


def test_wrong_values_are_named(served):
    """Rows of the gallery that are not finite, k out of range, sides of different lengths."""
    probe, search, refused = tf.constant(PHOTOS[:1]), served.signatures["search"], tf.errors.InvalidArgumentError
    for row, value in ((0, np.nan), (49, np.inf), (7, -np.inf)):
        gallery = np.random.RandomState(0).normal(size=[50, 16]).astype(np.float32)
        gallery[row, 3] = value
        with pytest.raises(refused, match=rf"not finite in row\] \[{row}\]"):
            search(image_bytes=probe, gallery=tf.constant(gallery), k=tf.constant(1))
    for k in (0, -1, 51, 2**31 - 1):
        with pytest.raises(refused, match=rf"k is\] \[{k}\].*rows of the gallery:\] \[50\]"):
            search(image_bytes=probe, gallery=tf.zeros([50, 16]), k=tf.constant(k))
    with pytest.raises(refused, match=r"first and second differ in rows:\] \[2\] \[1\]"):
        served.signatures["verify"](first=tf.constant(PHOTOS[:2]), second=probe)


def test_images_of_wrong_types_and_shapes(served):
    signature = served.signatures["serving_default"]
    shapes = ([1, 9, 5, 1], [1, 9, 5, 4], [9, 5, 3], [], [2, 0, 5, 3], [2, 5, 0, 3])
    for image in (np.zeros([1, 9, 5, 3], np.float32), *(np.zeros(shape, np.uint8) for shape in shapes)):
        with pytest.raises((TypeError, ValueError, tf.errors.InvalidArgumentError)):
            signature(image=tf.constant(image))
    assert signature(image=tf.zeros([2, 9, 5, 3], tf.uint8))["embedding"].shape == (2, 16)


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
    for rows, k in ((PHOTOS, 1), (PHOTOS, 6), ([], 2)):
        rows = tf.constant(rows, tf.string)
        answer = ask("search", image_bytes=rows, gallery=tf.constant(embeddings), k=tf.constant(k))
        assert answer["index"].shape == answer["similarity"].shape == (len(rows), k)
        np.testing.assert_array_equal(answer["index"][:, 0], np.arange(len(rows)))


def test_the_description(exported):
    facts = read_description(str(exported))
    source = {"folder": "evaluations/ddl", "far": 0.0099}
    assert facts["threshold"] == {"value": 0.9, "far": 0.01, "set": "lfw", "protocol": "pairs", "evaluation": source}
    expected = {"model": "faces", "version": 1, "dim": 16, "input_size": [16, 16]}
    expected.update(flip=False, checkpoint="a.keras")
    assert {key: facts[key] for key in expected} == expected
    assert facts["signatures"] == ["search", "serving_bytes", "serving_default", "verify"]
