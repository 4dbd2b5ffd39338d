import sys

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper
from tiny_checkpoint import write_checkpoint

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import find_checkpoint, load_checkpoint_embedding, load_embedding_model
from ddl_tf.serving import export_model

SIDE, DIM = 6, 4
WEIGHTS = np.random.RandomState(0).normal(size=[3 * SIDE * SIDE, DIM]).astype(np.float32)

NODES = (
    helper.make_node("Flatten", ["image"], ["flat"], axis=1),
    helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
)
PHOTOS = np.random.RandomState(3).randint(0, 256, [4, SIDE, SIDE, 3]).astype(np.float32)


def _of(images, mean=127.5, scale=127.5, channels_first=True):
    """What the network gives."""
    values = (images - mean) / scale
    return (values.transpose(0, 3, 1, 2) if channels_first else values).reshape(len(images), -1) @ WEIGHTS


def _write(path, shape=("n", 3, SIDE, SIDE), output_shape=("n", DIM), nodes=NODES, **values):
    """A network that flattens its input and multiplies it by WEIGHTS."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(np.asarray(v, np.float32), n) for n, v in {"weights": WEIGHTS, **values}.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return str(path)


def _write_scaled(path, names, operations):
    """A network that brings 0..255 to -1..1 itself."""
    shifted = helper.make_node(operations[0], ["image", "shift"], ["shifted"], name=names[0])
    scaled = helper.make_node(operations[1], ["shifted", "factor"], ["pixels"], name=names[1])
    nodes = (shifted, scaled, helper.make_node("Flatten", ["pixels"], ["flat"], axis=1), NODES[1])
    shift, factor = 127.5 if operations[0] == "Sub" else -127.5, 1 / 127.5 if operations[1] == "Mul" else 127.5
    return _write(path, nodes=nodes, shift=shift, factor=factor)


@pytest.mark.parametrize("shape", [["n", 3, SIDE, SIDE], [1, SIDE, SIDE, 3]])
def test_gives_what_the_network_gives(tmp_path, shape):
    model = load_embedding_model(_write(tmp_path / "net.onnx", shape), mean=100.0, scale=50.0)
    assert (model.input_shape, model.output_shape) == ((None, SIDE, SIDE, 3), (None, DIM))
    np.testing.assert_allclose(model(PHOTOS), _of(PHOTOS, 100.0, 50.0, shape[1] == 3), rtol=1e-4, atol=1e-4)


def test_damaged_and_other_networks_are_refused(tmp_path, monkeypatch):
    identity, path = [helper.make_node("Identity", ["image"], ["embedding"])], tmp_path / "net.onnx"
    for shape, message in (
        (["n", 3, "h", "w"], "of fixed size is expected"),
        (["n", 3 * SIDE * SIDE], "of fixed size is expected"),
        (["n", 3, SIDE, SIDE], r"its first output is \['n', 3, 6, 6\]"),
    ):
        with pytest.raises(InputError, match=message):
            load_embedding_model(_write(path, shape, shape, identity))
    path.write_bytes(b"no network")
    with pytest.raises(InputError, match="onnxruntime cannot load it"):
        load_embedding_model(str(path))
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        load_embedding_model(str(path))


@pytest.mark.parametrize(
    "names, operations",
    [
        (("_minusscalar0", "_mulscalar0"), ("Sub", "Mul")),
        (("", ""), ("Sub", "Div")),
        (("/norm/a", "/norm/b"), ("Add", "Mul")),
    ],
)
def test_a_network_that_scales_values_itself_gets_them_raw(tmp_path, names, operations, capsys):
    path = _write_scaled(tmp_path / "net.onnx", names, operations)
    model = load_embedding_model(path)
    said = capsys.readouterr().err
    assert said.startswith(f"{path}: onnxruntime ")
    assert said.endswith("; input (value - 0) / 1, RGB (its first nodes scale values themselves)\n")
    np.testing.assert_allclose(model(PHOTOS), _of(PHOTOS), rtol=1e-4, atol=1e-4)
    # Flags count more.
    chosen = load_embedding_model(path, mean=10.0, scale=2.0)(PHOTOS)
    np.testing.assert_allclose(chosen, _of((PHOTOS - 10) / 2), rtol=1e-4, atol=1e-4)


def test_other_onnx_networks_are_given_what_insightface_s_take(tmp_path, capsys):
    path = _write(tmp_path / "net.onnx")
    for order, photos in (("rgb", PHOTOS), ("bgr", PHOTOS[..., ::-1])):
        np.testing.assert_allclose(load_embedding_model(path, order=order)(PHOTOS), _of(photos), rtol=1e-4, atol=1e-4)
    assert "input (value - 127.5) / 127.5, RGB (as InsightFace's networks take it)" in capsys.readouterr().err
    with pytest.raises(InputError, match="input order 'gbr': use one of rgb, bgr"):
        load_embedding_model(path, order="gbr")


def test_what_a_model_does_not_use_is_refused(tmp_path):
    for name in ("saved_model.pb", "a.keras", "a.onnx", "a.pth"):
        (tmp_path / name).write_bytes(b"")
    for arguments, flag, paths in (
        ({"mean": 0.0}, "--input_mean", ["", "a.keras", "a.pth"]),
        ({"scale": 1.0}, "--input_scale", ["a.keras", "a.pth"]),
        ({"order": "bgr"}, "--input_order", ["a.keras"]),
        ({"backbone": "iresnet50"}, "--backbone", ["a.keras", "a.onnx"]),
    ):
        for path in paths:
            with pytest.raises(InputError, match=f"which does not use {flag}; leave it out"):
                load_embedding_model(str(tmp_path / path), **arguments)


def test_channels_of_a_state_dict_of_bgr(tmp_path, monkeypatch):
    image = tf.keras.Input([SIDE, SIDE, 3])
    network = tf.keras.Model(image, tf.keras.layers.Flatten()(image))
    monkeypatch.setattr("ddl_tf.evaluation.model.convert_insightface", lambda path, backbone: network)
    path = tmp_path / "net.pth"
    with pytest.raises(InputError, match="no model at"):
        load_embedding_model(str(path))
    path.touch()
    with pytest.raises(InputError, match="--backbone=iresnet50"):
        load_embedding_model(str(path))
    for order, photos in (("rgb", PHOTOS), ("bgr", PHOTOS[..., ::-1])):
        model = load_embedding_model(str(path), "iresnet50", order=order)
        np.testing.assert_array_equal(model(PHOTOS), photos.reshape(len(PHOTOS), -1))


def test_run_folder_is_its_best_checkpoint_and_an_export_gives_its_embeddings(tmp_path):
    for seed, name in enumerate(("best", "last")):
        write_checkpoint(tmp_path / "checkpoints" / f"{name}.keras", seed)
    pixels = np.random.RandomState(0).randint(0, 256, [3, 32, 32, 3]).astype(np.uint8)
    faces = [tf.io.encode_png(image).numpy() for image in pixels]
    paths = (tmp_path / "checkpoints" / "best.keras", tmp_path)
    best, folder = (embed_images(load_embedding_model(str(path)), faces) for path in paths)
    np.testing.assert_array_equal(folder, best)
    path = str(export_model(load_checkpoint_embedding(str(tmp_path)), "faces", str(tmp_path), flip=True, search=False))
    np.testing.assert_allclose(embed_images(load_embedding_model(path), faces, flip=False), best, atol=1e-5)
    with pytest.raises(InputError, match="is an exported model, not a checkpoint"):
        load_checkpoint_embedding(path)


def test_no_model(tmp_path):
    for name in ("broken.keras", "net.h5", "net.pth"):
        (tmp_path / name).write_bytes(b"weights")
    (tmp_path / "folder").mkdir()
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    for name, message in (
        ("nowhere", r"no model at .*nowhere: give a \.keras checkpoint"),
        ("", r"no checkpoint in .*best\.keras"),
        ("broken.keras", r"broken\.keras"),
        ("foreign", r"holds no embedding model of `python -m ddl_tf\.export`"),
        *((name, r"ONNX \(.*TensorFlow Lite.*ddl_tf.prepare weights") for name in ("folder", "net.h5", "net.pth")),
    ):
        with pytest.raises(InputError, match=message) as error:
            load_embedding_model(str(tmp_path / name))
        assert "\n" not in str(error.value)
    # Of a run without a best checkpoint the last one counts.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.keras").touch()
    assert find_checkpoint(str(tmp_path)) == tmp_path / "checkpoints" / "last.keras"
