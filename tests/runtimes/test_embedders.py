import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.model import load_embedding_model
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
    unit = expected / np.linalg.norm(expected, axis=1, keepdims=True)
    np.testing.assert_allclose(embedder.embed(images), unit, atol=1e-6)
    # An embedding of zeros stays zero.
    np.testing.assert_array_equal(embedder.embed(np.zeros([1, 4, 6, 3], np.uint8)), np.zeros([1, 3]))
    for shape, dtype, message in (
        ([1, 6, 4, 3], np.uint8, r"images of shape \[1, 6, 4, 3\]: the network takes \[n, 4, 6, 3\]"),
        ([4, 6, 3], np.uint8, r"images of shape \[4, 6, 3\]"),
        ([1, 4, 6, 3], np.float32, "images of type float32: pixels are uint8"),
    ):
        with pytest.raises(InputError, match=message):
            embedder.embed(np.zeros(shape, dtype))


@pytest.mark.parametrize(
    "function, shape, message",
    [
        (lambda x: tf.reduce_mean(x, [1, 2]), [1, 4, 6, 4], r"takes \['float32 \[1, 4, 6, 4\]'\]"),
        (lambda x: x + 1, [1, 4, 6, 3], r"its first output is \[1, 4, 6, 3\]"),
    ],
)
def test_other_models_are_refused(tmp_path, function, shape, message):
    path = _write(tmp_path / "other.tflite", function, tf.TensorSpec(shape, tf.float32))
    with pytest.raises(InputError, match=message):
        TfliteEmbedder(path)


def test_missing_and_damaged_files(tmp_path):
    for load in (TfliteEmbedder, load_embedding_model):
        with pytest.raises(InputError, match="there is no such file"):
            load(str(tmp_path / "nowhere.tflite"))
    (tmp_path / "net.tflite").write_bytes(b"no network at all, but some bytes")
    with pytest.raises(InputError, match="TensorFlow Lite cannot load it") as error:
        TfliteEmbedder(str(tmp_path / "net.tflite"))
    assert "\n" not in str(error.value)


def test_scaling_and_order_apply_to_tflite(means, capsys):
    images = np.random.default_rng(0).integers(0, 256, [5, 4, 6, 3]).astype(np.float32)
    colour = images.mean(axis=(1, 2))
    model = load_embedding_model(means, mean=127.5, scale=128.0, order="bgr")
    assert "input (value - 127.5) / 128, BGR (as given)" in capsys.readouterr().err
    np.testing.assert_allclose(model.predict(images, verbose=0), (colour[:, ::-1] - 127.5) / 128, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(load_embedding_model(means).predict(images, verbose=0), colour, rtol=1e-5)
    assert "input (value - 0) / 1, RGB" in capsys.readouterr().err
