import shutil
import sys
import types
from importlib.util import find_spec

import numpy as np
import pytest
import tensorflow as tf
from tiny_embedding import DIM, SIDE, largest_distance, some_images, tiny_embedding, unit_embeddings

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.layers import FlattenNeck, GroupedConvolution
from ddl_tf.runtimes import OpenvinoEmbedder, write_openvino
from ddl_tf.runtimes.calibration import last_operations
from ddl_tf.runtimes.openvino_package import import_without_telemetry, load_openvino

needs_openvino = pytest.mark.skipif(not find_spec("openvino") or not find_spec("tf2onnx"), reason="needs openvino")
needs_nncf = pytest.mark.skipif(not find_spec("nncf"), reason="needs nncf")


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("openvino") / "model.xml"
    write_openvino(model, path)
    return path


@needs_openvino
def test_equals_the_model(model, path, capsys):
    embedder = OpenvinoEmbedder(str(path), threads=1)
    assert "computes in float32" in embedder.runtime
    for batch in (0, 1, 3, 20):
        images = some_images(batch or 1)[:batch]
        rows, expected = embedder.embed(images), unit_embeddings(model, images)
        assert rows.shape == (batch, DIM)
        np.testing.assert_allclose(rows, expected, atol=1e-5)
    loaded = load_embedding_model(str(path))
    assert "computes in float32; input (value - 0) / 1, RGB" in capsys.readouterr().err
    np.testing.assert_allclose(loaded.predict(images.astype(np.float32), verbose=0), expected, atol=1e-5)
    rows = OpenvinoEmbedder(str(path), mean=127.5, scale=127.5, order="bgr").run(images)
    np.testing.assert_allclose(rows, unit_embeddings(model, images[..., ::-1] / 127.5 - 1), atol=1e-5)


@needs_openvino
@pytest.mark.parametrize(
    "groups, inputs, outputs, joined",
    [
        (16, 2, 2, (4, 8, 8)),
        (6, 2, 3, (3, 6, 4)),
        (4, 3, 1, (2, 2, 6)),
        (3, 2, 2, (3, 2, 2)),  # three groups are no multiple of two or four
        (2, 12, 1, (2, 1, 12)),
        (16, 1, 1, (16, 1, 1)),  # depthwise
    ],
)
def test_small_groups_are_joined(groups, inputs, outputs, joined, tmp_path):
    layer = GroupedConvolution(groups, filters=groups * outputs, strides=2)
    image = tf.keras.Input([SIDE, SIDE, 3])
    x = layer(tf.keras.layers.Conv2D(groups * inputs, 3)(image))
    model = tf.keras.Model(image, FlattenNeck(DIM)(x))
    write_openvino(model, tmp_path / "grouped.xml")
    images = some_images(3)
    rows = OpenvinoEmbedder(str(tmp_path / "grouped.xml")).embed(images)
    np.testing.assert_allclose(rows, unit_embeddings(model, images), atol=1e-5)
    network = load_openvino("").Core().read_model(tmp_path / "grouped.xml")
    shapes = [
        tuple(operation.input_value(1).get_shape())[:3]
        for operation in network.get_ops()
        if operation.get_type_name() == "GroupConvolution"
    ]
    assert shapes == [joined]


@needs_openvino
def test_bfloat16_is_what_the_file_says_and_never_what_the_cpu_likes(model, path, tmp_path, monkeypatch):
    openvino, images = load_openvino(path), some_images(8)
    expected = unit_embeddings(model, images)
    capable = "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    if capable:
        write_openvino(model, tmp_path / "half.xml", "bfloat16")
        embedder = OpenvinoEmbedder(str(tmp_path / "half.xml"))
        assert embedder.runtime.endswith("computes in bfloat16")
        assert 1e-7 < largest_distance(embedder.embed(images), expected) < 1e-3
        np.testing.assert_array_equal(
            OpenvinoEmbedder(str(path), precision="bfloat16").run(images), embedder.run(images)
        )
    monkeypatch.setattr(openvino.Core, "get_property", lambda *_: ["FP32", "INT8"])
    for refused in (
        lambda: write_openvino(model, tmp_path / "none.xml", "bfloat16"),
        lambda: OpenvinoEmbedder(str(path), precision="bfloat16"),
    ):
        with pytest.raises(InputError, match="this CPU cannot compute in bfloat16"):
            refused()
    assert not (tmp_path / "none.xml").exists()


@needs_openvino
@needs_nncf
@pytest.mark.parametrize("neck, flip", [("depthwise", False), ("flatten", True)])
def test_int8_keeps_neck_and_norm_in_float(neck, flip, tmp_path):
    model, images = tiny_embedding(neck), some_images(20, seed=1)
    write_openvino(model, tmp_path / "int8.xml", "int8", some_images(64), flip)
    embedder = OpenvinoEmbedder(str(tmp_path / "int8.xml"))
    assert embedder.runtime.endswith("computes in int8, the rest in float32")
    assert 1e-6 < largest_distance(embedder.run(images), unit_embeddings(model, images, flip)) < 0.02
    # Quantized as a whole by the same package, some images have no number, or a norm of 0.
    plain = np.stack([np.full([SIDE, SIDE, 3], value, np.uint8) for value in (0, 255)])
    np.testing.assert_allclose(np.linalg.norm(embedder.run(np.concatenate([images, plain])), axis=1), 1, atol=1e-4)
    network = load_openvino("").Core().read_model(tmp_path / "int8.xml")
    taken = [
        operation.input_value(0).get_node().get_type_name()
        for operation in network.get_ops()
        if "Convolution" in operation.get_type_name()
        and any(side.is_dynamic or side.get_length() > 1 for side in list(operation.get_output_partial_shape(0))[2:])
    ]
    # Grouped, depthwise and other convolutions of both views; what follows takes float.
    assert taken.count("FakeQuantize") == len(taken) == (6 if not flip else 12)
    (dense,) = {
        node.input_value(0).get_node().get_type_name() for node in network.get_ops() if node.get_type_name() == "MatMul"
    }
    assert dense != "FakeQuantize"


def test_what_follows_the_last_convolution_is_found_in_any_order():
    # Two views: the neck of the first stands before the convolution of the second.
    operations = [
        ("image", [], False),
        ("conv1", ["image"], True),
        ("neck1", ["conv1"], False),
        ("mirror", ["image"], False),
        ("conv2", ["mirror"], True),
        ("neck2", ["conv2"], False),
        ("sum", ["neck1", "neck2"], False),
    ]
    assert last_operations(operations, "a.xml") == ["sum", "neck2", "neck1"]
    with pytest.raises(InputError, match=r"a\.xml: the model has no convolution of an image"):
        last_operations([("image", [], False)], "a.xml")


@needs_openvino
def test_missing_damaged_and_mixed_files(model, path, tmp_path):
    for load in (OpenvinoEmbedder, load_embedding_model):
        with pytest.raises(InputError, match=r"no (file|model at)"):
            load(str(tmp_path / "nowhere.xml"))
    xml, weights = tmp_path / "net.xml", tmp_path / "net.bin"
    shutil.copy(path, xml)
    with pytest.raises(InputError, match=r"no file .*net\.bin; a network of OpenVINO is a \.xml and a \.bin"):
        OpenvinoEmbedder(str(xml))
    good = path.with_suffix(".bin").read_bytes()
    weights.write_bytes(good)
    whole = fingerprint(xml)
    # Weights of another network have the right length, too.
    weights.write_bytes(good[:-4] + b"none")
    assert fingerprint(xml) != whole
    with pytest.raises(InputError, match=r"net\.bin holds other weights than those that .*net\.xml was written with"):
        OpenvinoEmbedder(str(xml))
    for content in (b"", b"<net", path.read_bytes()[:2000]):
        xml.write_bytes(content)
        with pytest.raises(InputError, match="OpenVINO cannot load it") as error:
            OpenvinoEmbedder(str(xml))
        assert "\n" not in str(error.value)
    with pytest.raises(InputError, match="precision 'float16': use one of float32, bfloat16"):
        OpenvinoEmbedder(str(path), precision="float16")
    with pytest.raises(InputError, match="unknown precision 'float16'"):
        write_openvino(model, tmp_path / "a.xml", "float16")


@needs_openvino
def test_networks_of_others(tmp_path):
    openvino = load_openvino("")
    from openvino import opset13

    def save(shape, axes, name):
        image = opset13.parameter(shape, np.float32)
        network = openvino.Model([opset13.reduce_mean(image, axes, keep_dims=False)], [image])
        openvino.save_model(network, tmp_path / name, compress_to_fp16=False)
        return str(tmp_path / name)

    path = save([1, 4, 6, 3], [1, 2], "means.xml")
    embedder, images = OpenvinoEmbedder(path), np.random.default_rng(0).integers(0, 256, [5, 4, 6, 3]).astype(np.uint8)
    assert (embedder.image_size, embedder.dim, embedder.batch_size) == ((4, 6), 3, 1)
    expected = images.mean(axis=(1, 2)) / 127.5 - 1
    np.testing.assert_allclose(embedder.run(images), expected, atol=1e-5)
    for shape, axes in (([2, 4, 6, 3], [1, 2]), ([2, 3, 4, 6], [2, 3]), ([-1, 4, 6, 3], [1, 2])):
        embedder = OpenvinoEmbedder(save(shape, axes, "batches.xml"))
        assert embedder.batch_size == (2 if shape[0] == 2 else 16)
        # In any order of batches of one image and of more.
        for count in (1, 5, 1, 2):
            np.testing.assert_allclose(embedder.run(images[:count]), expected[:count], atol=1e-5)
    for shape, axes, message in (
        ([1, 4, 6, 4], [1, 2], "takes .* where one"),
        ([-1, -1, 6, 3], [1, 2], "takes .* where one"),
        ([1, 4, 6, 3], [1], "its first output is"),
    ):
        with pytest.raises(InputError, match=message):
            OpenvinoEmbedder(save(shape, axes, "other.xml"))


def test_without_the_packages(model, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "openvino", None)
    for act in (lambda: OpenvinoEmbedder("a.xml"), lambda: write_openvino(model, tmp_path / "a.xml")):
        with pytest.raises(InputError, match=r"a\.xml: OpenVINO's files need openvino .*pip install openvino nncf"):
            act()


@needs_openvino
def test_int8_without_images_or_nncf(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="int8 without calibration images"):
        write_openvino(model, tmp_path / "a.xml", "int8")
    with pytest.raises(InputError, match=r"calibration images uint8 \[2, 8, 8, 3\]"):
        write_openvino(model, tmp_path / "a.xml", "int8", np.zeros([2, 8, 8, 3], np.uint8))
    monkeypatch.setitem(sys.modules, "nncf", None)
    with pytest.raises(InputError, match="OpenVINO's files need nncf"):
        write_openvino(model, tmp_path / "a.xml", "int8", some_images(2))
    assert not list(tmp_path.iterdir())


def test_nothing_is_reported_to_anybody(tmp_path, monkeypatch):
    """A package that reports where it can, as OpenVINO and NNCF do when they are imported."""
    reporter = types.ModuleType("openvino_telemetry")
    lines = [
        "try:",
        "    import openvino_telemetry",
        "    reports = True",
        "except ImportError:",
        "    reports = False",
    ]
    (tmp_path / "reporting_network.py").write_text("\n".join(lines))
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.setitem(sys.modules, "openvino_telemetry", reporter)
    assert not import_without_telemetry("reporting_network", "a.xml").reports
    # What the user does with it is left alone.
    assert sys.modules["openvino_telemetry"] is reporter
    del sys.modules["reporting_network"]


@needs_openvino
def test_no_file_is_left_where_weights_cannot_be_written(model, tmp_path, monkeypatch):
    (tmp_path / "model.xml").write_text("before")
    openvino = load_openvino("")
    monkeypatch.setattr(openvino, "save_model", lambda *_, **__: (_ for _ in ()).throw(OSError(28, "No space left")))
    with pytest.raises(OSError, match="No space left"):
        write_openvino(model, tmp_path / "model.xml")
    assert [file.name for file in tmp_path.iterdir()] == ["model.xml"]
    assert (tmp_path / "model.xml").read_text() == "before"
    assert isinstance(model, tf.keras.Model)
