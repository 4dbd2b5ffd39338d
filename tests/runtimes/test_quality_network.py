import dataclasses
import io

import numpy as np
import pytest
from onnx_builder import SIDE
from PIL import Image
from quality_network import write_quality

from ddl_tf.common.errors import InputError
from ddl_tf.runtimes.quality import OnnxQuality, QualityModelSettings


def encoded(image):
    file = io.BytesIO()
    Image.fromarray(image).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).integers(0, 256, [20, SIDE, SIDE, 3]).astype(np.uint8)


@pytest.mark.parametrize("outputs", [["quality"], ["flat"], ["embedding", "quality"], ["map", "flat", "embedding"]])
def test_the_output_of_one_number_is_the_quality(images, outputs, tmp_path):
    network = OnnxQuality(write_quality(tmp_path / "net.onnx", outputs))
    expected = (images[..., 0].mean(axis=(1, 2)) - 127.5) / 127.5
    np.testing.assert_allclose(list(network.measure(map(encoded, images))), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("batch", [1, 2, "batch"])
def test_layout_order_and_scaling(images, batch, tmp_path):
    channels_last = write_quality(tmp_path / "last.onnx", shape=(batch, SIDE, SIDE, 3), axis=3)
    network = OnnxQuality(channels_last, mean=10, scale=2, order="bgr")
    assert network.batch_size == (16 if batch == "batch" else batch)
    expected = (images[..., 2].mean(axis=(1, 2)) - 10) / 2
    np.testing.assert_allclose(list(network.measure(map(encoded, images))), expected, rtol=1e-6)


def test_other_sizes_are_scaled_and_what_is_no_image_has_no_quality(images, tmp_path):
    network = OnnxQuality(write_quality(tmp_path / "net.onnx"), mean=0, scale=1)
    grey = np.full([50, 40, 3], 77, np.uint8)
    values = list(network.measure([encoded(images[0]), b"no image", encoded(grey)]))
    assert np.isnan(values).tolist() == [False, True, False]
    assert values[2] == pytest.approx(77, abs=1e-4)
    infinite = OnnxQuality(network.path, mean=0, scale=1e-36)
    assert np.isnan(list(infinite.measure([encoded(grey)]))).all()


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        (
            ["embedding"],
            r"its outputs for a batch of 2 are embedding \[2, 2\], where exactly one of one number an image",
        ),
        (["map"], r"map \[2, 1, 9, 9\]"),
        (["flat", "quality"], r"flat \[2\], quality \[2, 1\]"),
    ],
)
def test_networks_that_give_no_single_number(outputs, message, tmp_path):
    with pytest.raises(InputError, match=message):
        OnnxQuality(write_quality(tmp_path / "net.onnx", outputs))


def test_flags(tmp_path, capsys):
    assert QualityModelSettings().quality_network() is None
    path = write_quality(tmp_path / "net.onnx")
    network = QualityModelSettings(path, "sharp", quality_mean=0.0, quality_scale=255.0).quality_network()
    assert (network.column, network.path) == ("sharp", path)
    assert "net.onnx: input (value - 0) / 255, RGB (as given)" in capsys.readouterr().err
    (tmp_path / "text.onnx").write_text("no network")
    for settings, message in (
        ({"quality_model": str(tmp_path / "nowhere.onnx")}, "no quality network at .*nowhere.onnx: give an ONNX file"),
        ({"quality_model": str(tmp_path / "text.onnx")}, "onnxruntime cannot load it"),
        ({"quality_order": "bgr"}, "--quality_order=bgr would be ignored: it needs --quality_model"),
        ({"quality_model": path, "quality_column": " "}, "--quality_column is empty"),
        ({"quality_model": path, "quality_scale": 0.0}, "a scale that is not 0"),
    ):
        with pytest.raises(InputError, match=message):
            dataclasses.replace(QualityModelSettings(), **settings).quality_network()
