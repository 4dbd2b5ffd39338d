import sys

import numpy as np
import onnx
import pytest
import tensorflow as tf
from onnx import TensorProto, helper, numpy_helper

from ddl_tf.errors import InputError
from ddl_tf.evaluation import embed_images
from ddl_tf.evaluation.external import load_onnx_embedding
from ddl_tf.evaluation.model import load_embedding_model

SIDE, DIM = 6, 4
WEIGHTS = np.random.RandomState(0).normal(size=[3 * SIDE * SIDE, DIM]).astype(np.float32)


NODES = (
    helper.make_node("Flatten", ["image"], ["flat"], axis=1),
    helper.make_node("MatMul", ["flat", "weights"], ["embedding"]),
)
IDENTITY = (helper.make_node("Identity", ["image"], ["embedding"]),)


def _write(path, shape, output_shape=("n", DIM), nodes=NODES):
    """A network that flattens its input and multiplies it by WEIGHTS."""
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, shape)],
        [helper.make_tensor_value_info("embedding", TensorProto.FLOAT, output_shape)],
        [numpy_helper.from_array(WEIGHTS, "weights")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
    model.ir_version = 8
    onnx.save(model, path)
    return str(path)


@pytest.mark.parametrize("batch", ["n", 1])
@pytest.mark.parametrize("channels_first", [True, False])
def test_gives_what_the_network_gives(tmp_path, channels_first, batch):
    shape = [batch, 3, SIDE, SIDE] if channels_first else [batch, SIDE, SIDE, 3]
    model = load_embedding_model(_write(tmp_path / "net.onnx", shape), mean=100.0, scale=50.0)
    assert model.input_shape == (None, SIDE, SIDE, 3)
    assert model.output_shape == (None, DIM)
    images = np.random.RandomState(1).randint(0, 256, [5, SIDE, SIDE, 3])
    expected = []
    for image in (images - 100.0) / 50.0:
        row = image.transpose(2, 0, 1) if channels_first else image
        expected.append(row.ravel() @ WEIGHTS)
    np.testing.assert_allclose(model.predict(images.astype(np.float32), verbose=0), expected, rtol=1e-4, atol=1e-4)


def test_embeds_images_like_any_model(tmp_path):
    model = load_onnx_embedding(_write(tmp_path / "net.onnx", ["n", 3, SIDE, SIDE]))
    image = np.random.RandomState(2).randint(0, 256, [SIDE, SIDE, 3]).astype(np.uint8)
    (unit,) = embed_images(model, [tf.io.encode_png(image).numpy()])
    both = sum(((side / 127.5 - 1).transpose(2, 0, 1).ravel() @ WEIGHTS) for side in (image, image[:, ::-1]))
    np.testing.assert_allclose(unit, both / np.linalg.norm(both), atol=1e-5)


@pytest.mark.parametrize(
    "shape, message",
    [
        (["n", 3, "h", "w"], "of fixed size is expected"),
        (["n", 3 * SIDE * SIDE], "of fixed size is expected"),
        (["n", 3, SIDE, SIDE], r"its first output is \['n', 3, 6, 6\]"),
    ],
)
def test_other_networks_are_refused(tmp_path, shape, message):
    with pytest.raises(InputError, match=message) as error:
        load_onnx_embedding(_write(tmp_path / "net.onnx", shape, shape, IDENTITY))
    assert "\n" not in str(error.value)


def test_damaged_file(tmp_path):
    (tmp_path / "net.onnx").write_bytes(b"no network")
    with pytest.raises(InputError, match="onnxruntime cannot load it"):
        load_onnx_embedding(str(tmp_path / "net.onnx"))


def test_without_onnxruntime(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    with pytest.raises(InputError, match="pip install onnxruntime"):
        load_onnx_embedding("net.onnx")


def test_state_dict_needs_its_backbone(tmp_path):
    with pytest.raises(InputError, match="no model at"):
        load_embedding_model(str(tmp_path / "backbone.pth"))
    (tmp_path / "backbone.pth").write_bytes(b"")
    with pytest.raises(InputError, match="--backbone=iresnet50"):
        load_embedding_model(str(tmp_path / "backbone.pth"))
