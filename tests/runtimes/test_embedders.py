import sys
from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.runtimes.tflite import write_tflite
from ddl_tf.serving import TfliteEmbedder


def _write(path, function, *specs):
    converter = tf.lite.TFLiteConverter.from_concrete_functions(
        [tf.function(function, input_signature=specs).get_concrete_function()]
    )
    path.write_bytes(converter.convert())
    return str(path)


@pytest.fixture(scope="module")
def means(tmp_path_factory):
    """The mean colour of an image as its embedding; a batch is one image."""
    spec = tf.TensorSpec([1, 4, 6, 3], tf.float32)
    return _write(tmp_path_factory.mktemp("means") / "means.tflite", lambda x: tf.reduce_mean(x, [1, 2]), spec)


def test_a_fixed_batch_is_fed_one_by_one(means):
    embedder = TfliteEmbedder(means)
    assert (embedder.image_size, embedder.dim, embedder.batch_size) == ((4, 6), 3, 1)
    images = np.random.default_rng(0).integers(0, 256, [5, 4, 6, 3]).astype(np.uint8)
    expected = images.mean(axis=(1, 2))
    np.testing.assert_allclose(embedder.run(images), expected, rtol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(embedder.embed(images), axis=1), 1, rtol=1e-5)
    # An embedding of zeros stays zero.
    np.testing.assert_array_equal(embedder.embed(np.zeros([1, 4, 6, 3], np.uint8)), np.zeros([1, 3]))
    for shape, dtype, message in (
        ([1, 6, 4, 3], np.uint8, r"images of shape \[1, 6, 4, 3\]: the network takes \[n, 4, 6, 3\]"),
        ([4, 6, 3], np.uint8, r"images of shape \[4, 6, 3\]"),
        ([1, 4, 6, 3], np.float32, "images of type float32: pixels are uint8"),
    ):
        with pytest.raises(InputError, match=message):
            embedder.embed(np.zeros(shape, dtype))


def test_the_last_images_fill_a_fixed_batch(tmp_path):
    path = _write(tmp_path / "two.tflite", lambda x: tf.reduce_mean(x, [1, 2]), tf.TensorSpec([2, 4, 6, 3], tf.float32))
    embedder, images = TfliteEmbedder(path), np.random.default_rng(0).integers(0, 256, [5, 4, 6, 3]).astype(np.uint8)
    assert embedder.batch_size == 2
    np.testing.assert_allclose(embedder.run(images), images.mean(axis=(1, 2)), rtol=1e-5)


def test_missing_damaged_and_other_files(tmp_path):
    for load in (TfliteEmbedder, load_embedding_model):
        with pytest.raises(InputError, match="there is no such file"):
            load(str(tmp_path / "nowhere.tflite"))
    path = tmp_path / "net.tflite"
    path.write_bytes(b"no network at all, but some bytes")
    with pytest.raises(InputError, match="TensorFlow Lite cannot load it") as error:
        TfliteEmbedder(str(path))
    assert "\n" not in str(error.value)
    for channels, message in ((4, r"takes \['float32 \[1, 4, 6, 4\]'\]"), (3, r"its first output is \[1, 4, 6, 3\]")):
        with pytest.raises(InputError, match=message):
            TfliteEmbedder(_write(path, lambda x: x + 1, tf.TensorSpec([1, 4, 6, channels], tf.float32)))


def test_scaling_and_order_apply_to_tflite(means, capsys):
    images = np.random.default_rng(0).integers(0, 256, [5, 4, 6, 3]).astype(np.float32)
    colour = images.mean(axis=(1, 2))
    model = load_embedding_model(means, mean=127.5, scale=128.0, order="bgr")
    assert "input (value - 127.5) / 128, BGR (as given)" in capsys.readouterr().err
    np.testing.assert_allclose(model.predict(images, verbose=0), (colour[:, ::-1] - 127.5) / 128, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(load_embedding_model(means).predict(images, verbose=0), colour, rtol=1e-5)
    assert "input (value - 0) / 1, RGB" in capsys.readouterr().err


def test_without_tensorflow_lite_it_is_litert(means, monkeypatch, tmp_path):
    """As in TensorFlow's coming releases."""
    images = np.random.default_rng(0).integers(0, 256, [2, 4, 6, 3]).astype(np.uint8)
    expected = TfliteEmbedder(means).run(images)
    monkeypatch.delattr(tf, "lite")
    with pytest.raises(InputError, match="has no converter to TensorFlow Lite: use"):
        write_tflite(None, tmp_path / "a.tflite")
    if find_spec("ai_edge_litert"):
        np.testing.assert_array_equal(TfliteEmbedder(means).run(images), expected)
    with monkeypatch.context() as patch:
        patch.setitem(sys.modules, "ai_edge_litert.interpreter", None)
        with pytest.raises(InputError, match="has no interpreter: pip install ai-edge-litert"):
            TfliteEmbedder(means)
