"""`verify` and `search` against their definitions, and `valid` among the rows."""

import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image

from ddl_tf.models import build_embedding_model
from ddl_tf.serving import Threshold, export_model, read_description

THRESHOLD = Threshold(0.9, 0.01, "lfw", "pairs", {"folder": "evaluations/ddl", "far": 0.0099})


def _photo(seed):
    random = np.random.RandomState(seed)
    image = Image.fromarray(random.randint(0, 256, [4, 4, 3]).astype(np.uint8)).resize((40, 36), Image.BICUBIC)
    out = io.BytesIO()
    image.save(out, "JPEG" if seed % 2 else "PNG")
    return out.getvalue()


PHOTOS = [_photo(seed) for seed in range(6)]


@pytest.fixture(scope="module")
def exported(tmp_path_factory):
    tf.keras.utils.set_random_seed(0)
    model = build_embedding_model("plain_small", 16, (32, 32, 3))
    # Random networks give all images nearly one embedding; without its mean they differ.
    neck = model.get_layer("neck")
    pixels = np.stack([np.asarray(Image.open(io.BytesIO(photo)).resize((32, 32))) for photo in PHOTOS])
    neck.embedding_norm.moving_mean.assign(model(pixels.astype(np.float32)).numpy().mean(axis=0))
    return export_model(
        model, "faces", str(tmp_path_factory.mktemp("models")), threshold=THRESHOLD, checkpoint="a.keras"
    )


@pytest.fixture(scope="module")
def served(exported):
    loaded = tf.saved_model.load(str(exported))

    def call(name, **inputs):
        return {key: value.numpy() for key, value in loaded.signatures[name](**inputs).items()}

    # The loaded module must outlive its signatures.
    call.loaded = loaded
    return call


@pytest.fixture(scope="module")
def embeddings(served):
    return served("serving_bytes", image_bytes=tf.constant(PHOTOS))["embedding"]


def test_the_embeddings_of_bad_rows_are_zero(served, embeddings):
    answer = served("serving_bytes", image_bytes=tf.constant([b"", PHOTOS[0], b"x", PHOTOS[1]]))
    assert answer["valid"].tolist() == [False, True, False, True]
    np.testing.assert_allclose(answer["embedding"][[1, 3]], embeddings[:2], atol=1e-5)
    assert not answer["embedding"][[0, 2]].any()


def test_verify(served, embeddings):
    second = [PHOTOS[0], PHOTOS[2], b"no image", PHOTOS[3]]
    first = [PHOTOS[0], PHOTOS[1], PHOTOS[2], b""]
    answer = served("verify", first=tf.constant(first), second=tf.constant(second))
    other = float(np.dot(embeddings[1], embeddings[2]))
    assert other < 0.9
    np.testing.assert_allclose(answer["similarity"], [1, other, 0, 0], atol=1e-5)
    assert answer["same"].tolist() == [True, False, False, False]
    assert answer["valid"].tolist() == [True, True, False, False]


def test_verify_decides_at_the_threshold(exported, embeddings, tmp_path):
    model = build_embedding_model("plain_small", 16, (32, 32, 3))
    at = {}
    pair = {"first": tf.constant(PHOTOS[:1]), "second": tf.constant(PHOTOS[1:2])}
    first = tf.saved_model.load(str(export_model(model, "faces", str(tmp_path), threshold=THRESHOLD)))
    similarity = float(first.signatures["verify"](**pair)["similarity"][0])
    for value in (similarity, float(np.nextafter(np.float32(similarity), np.float32(2)))):
        threshold = Threshold(value, 0.01, "lfw", "pairs", {})
        loaded = tf.saved_model.load(str(export_model(model, "faces", str(tmp_path), threshold=threshold)))
        at[value] = bool(loaded.signatures["verify"](**pair)["same"][0])
    assert list(at.values()) == [True, False]


def test_search(served, embeddings):
    # The gallery need not have unit norm.
    gallery = (embeddings * np.arange(1, 7)[:, np.newaxis]).astype(np.float32)[::-1]
    probes = [PHOTOS[4], b"", PHOTOS[0]]
    answer = served("search", image_bytes=tf.constant(probes), gallery=tf.constant(gallery), k=tf.constant(3))
    similarity = embeddings[[4, 0]] @ embeddings[::-1].T
    best = np.argsort(-similarity, axis=1)[:, :3]
    assert best[:, 0].tolist() == [1, 5]
    np.testing.assert_array_equal(answer["index"], [best[0], [-1, -1, -1], best[1]])
    np.testing.assert_allclose(answer["similarity"][[0, 2]], np.take_along_axis(similarity, best, axis=1), atol=1e-5)
    assert not answer["similarity"][1].any()
    assert answer["valid"].tolist() == [True, False, True]


@pytest.mark.parametrize("k", [1, 6])
def test_search_for_as_many_as_there_are(served, embeddings, k):
    answer = served("search", image_bytes=tf.constant(PHOTOS), gallery=tf.constant(embeddings), k=tf.constant(k))
    assert answer["index"].shape == (6, k)
    np.testing.assert_array_equal(answer["index"][:, 0], np.arange(6))


@pytest.mark.parametrize("name", ["verify", "search"])
def test_no_rows(served, embeddings, name):
    none = tf.constant([], tf.string)
    inputs = {"first": none, "second": none} if name == "verify" else {"image_bytes": none, "k": tf.constant(2)}
    if name == "search":
        inputs["gallery"] = tf.constant(embeddings)
    for key, value in served(name, **inputs).items():
        assert value.shape == ((0, 2) if key in ("index", "similarity") and name == "search" else (0,))


def test_the_description(exported):
    told = read_description(str(exported))
    assert told["threshold"] == {
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
        "input_size": [32, 32],
        "flip": False,
        "checkpoint": "a.keras",
    }
    assert {key: told[key] for key in expected} == expected
    assert told["signatures"] == ["search", "serving_bytes", "serving_default", "verify"]
