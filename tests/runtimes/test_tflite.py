import numpy as np
import pytest
import tensorflow as tf
from tiny_embedding import DIM, SIDE, largest_distance, some_images, unit_embeddings

from ddl_tf.common.errors import InputError
from ddl_tf.runtimes.tflite import PRECISIONS
from ddl_tf.serving import TfliteEmbedder, write_tflite

# Measured: 5e-7, 4e-4 and 7e-3 in this order.
LARGEST_DISTANCE = {"float16": 5e-6, "dynamic": 2e-3, "int8": 1.5e-2}


@pytest.fixture(scope="module")
def files(model, tmp_path_factory):
    """One of each precision, one of them with flip."""
    folder = tmp_path_factory.mktemp("tflite")
    for precision in PRECISIONS:
        flip = precision == "float32"
        write_tflite(model, folder / f"{precision}.tflite", precision, some_images(24, seed=1), flip)
    return {precision: folder / f"{precision}.tflite" for precision in PRECISIONS}


def test_float32_equals_the_model(model, files):
    embedder = TfliteEmbedder(str(files["float32"]), threads=1)
    # 20 is more than the embedder gives the interpreter at a time; after it a smaller batch again.
    for batch in (3, 0, 20, 1):
        images = some_images(batch or 1)[:batch]
        rows = embedder.embed(images)
        assert (rows.dtype, rows.shape) == (np.float32, (batch, DIM))
        np.testing.assert_allclose(rows, unit_embeddings(model, images, flip=True), atol=1e-5)


@pytest.mark.parametrize("precision", list(LARGEST_DISTANCE))
def test_smaller_ones_are_close(model, files, precision):
    images = some_images(16, seed=2)
    rows = TfliteEmbedder(str(files[precision])).run(images)
    expected = unit_embeddings(model, images)
    distance = largest_distance(rows, expected)
    assert distance < LARGEST_DISTANCE[precision]
    # It is another file than that of float32, and a smaller one.
    assert distance > 1e-9
    assert files[precision].stat().st_size < files["float32"].stat().st_size
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(16), atol=1e-5)


def test_int8_takes_pixels_as_they_are_and_normalises_in_float32(model, files, tmp_path):
    path = tmp_path / "dark.tflite"
    write_tflite(model, path, "int8", some_images(24, seed=1) // 64)
    interpreter = tf.lite.Interpreter(str(path))
    interpreter.allocate_tensors()
    (image,) = interpreter.get_input_details()
    assert (image["dtype"], image["shape_signature"].tolist()) == (np.float32, [-1, SIDE, SIDE, 3])
    quantised = [tensor for tensor in interpreter.get_tensor_details() if tensor["dtype"] == np.int8]
    pixels = [tensor for tensor in quantised if tensor["shape"].tolist() == [1, SIDE, SIDE, 3]]
    # The other one is after the scaling to [-1, 1].
    assert pixels[0]["quantization"] == (1.0, -128)
    # Before the float32 embedding of unit norm there is the same in int8, with a scale of its own.
    assert any(tensor["shape"].tolist() == [1, DIM] for tensor in quantised)
    # Calibration images set the ranges.
    images = some_images(16, seed=2)
    rows = [TfliteEmbedder(str(file)).embed(images) for file in (path, files["int8"])]
    of_dark, of_all = (largest_distance(each, unit_embeddings(model, images)) for each in rows)
    assert of_dark > 2 * of_all


def test_bad_arguments(model, tmp_path):
    few = [np.zeros(shape, np.uint8) for shape in ([0, SIDE, SIDE, 3], [2, 8, 8, 3])]
    for precision, calibration, message in (
        ("int4", None, "unknown precision 'int4': use one of float32"),
        ("int8", None, "int8 without calibration images"),
        ("int8", few[0], "int8 without calibration images"),
        ("int8", few[1], r"the model takes uint8 \['n', 24, 24, 3\]"),
        ("int8", np.zeros([2, SIDE, SIDE, 3], np.float32), "calibration images float32"),
    ):
        with pytest.raises(InputError, match=message):
            write_tflite(model, tmp_path / "model.tflite", precision, calibration)
    assert list(tmp_path.iterdir()) == []


def test_what_tensorflow_lite_lacks_is_named(tmp_path, capfd):
    image = tf.keras.Input([SIDE, SIDE, 3])
    embedding = tf.keras.layers.Lambda(lambda x: tf.math.digamma(x[:, 0, 0]))(image)
    with pytest.raises(InputError, match=r"cannot convert the model .*Digamma") as error:
        write_tflite(tf.keras.Model(image, embedding), tmp_path / "model.tflite")
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    assert "Digamma" not in capfd.readouterr().err
