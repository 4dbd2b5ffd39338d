import sys

import numpy as np
import pytest
import tensorflow as tf
from keras_case import policy
from tiny_embedding import DIM, SIDE, some_images, tiny_embedding, unit_embeddings

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.runtimes.onnx import merge_prelus
from ddl_tf.serving import OnnxEmbedder, write_onnx

# tf2onnx has no release for Python 3.9 that goes with TensorFlow 2.15.
pytest.importorskip("tf2onnx")


@pytest.fixture(scope="module")
def path(model, tmp_path_factory):
    path = tmp_path_factory.mktemp("onnx") / "model.onnx"
    write_onnx(model, path)
    return path


def test_equals_the_model(model, path):
    embedder = OnnxEmbedder(str(path))
    # 20 is more than the embedder gives the network at a time.
    for batch in (0, 1, 3, 20):
        images = some_images(batch or 1)[:batch]
        rows, expected = embedder.embed(images), unit_embeddings(model, images)
        assert rows.dtype == np.float32
        assert rows.shape == (batch, DIM)
        np.testing.assert_allclose(rows, expected, atol=1e-5)
    # With the scaling that the file names; arguments count more.
    images = images[:3].astype(np.float32)
    rows = load_embedding_model(str(path)).predict(images, verbose=0)
    np.testing.assert_allclose(rows, expected[:3], atol=1e-5)
    rows = load_embedding_model(str(path), mean=127.5, scale=127.5).predict(images, verbose=0)
    np.testing.assert_allclose(rows, unit_embeddings(model, images / 127.5 - 1), atol=1e-5)


def test_flatten_neck_and_flip(tmp_path):
    flatten_model, images = tiny_embedding("flatten"), some_images(4)
    write_onnx(flatten_model, tmp_path / "flipped.onnx", flip=True)
    rows = OnnxEmbedder(str(tmp_path / "flipped.onnx"), threads=1).embed(images)
    np.testing.assert_allclose(rows, unit_embeddings(flatten_model, images, flip=True), atol=1e-5)
    np.testing.assert_allclose(rows, OnnxEmbedder(str(tmp_path / "flipped.onnx")).embed(images[:, :, ::-1]), atol=1e-5)


def test_half_precision_becomes_float32(model, tmp_path):
    with policy("mixed_bfloat16"):
        half = tiny_embedding()
    full, images = tf.keras.models.clone_model(model), some_images(3)
    full.set_weights(half.get_weights())
    write_onnx(half, tmp_path / "half.onnx")
    rows = OnnxEmbedder(str(tmp_path / "half.onnx")).embed(images)
    np.testing.assert_allclose(rows, unit_embeddings(full, images), atol=1e-5)


def test_what_others_see(path):
    import onnx
    from onnx.reference import ReferenceEvaluator

    network = onnx.load(path)
    shapes = [
        [side.dim_param or side.dim_value for side in tensor.type.tensor_type.shape.dim]
        for tensor in (*network.graph.input, *network.graph.output)
    ]
    assert shapes == [["batch", 3, SIDE, SIDE], ["batch", DIM]]
    # How InsightFace's ArcFaceONNX finds out that the scaling is inside.
    assert [node.name for node in network.graph.node[:2]] == ["Sub", "Mul"]
    # Of 4 groups and of each channel for itself, and the neck's; in several operations each would take twice the time.
    groups = [
        onnx.helper.get_attribute_value(item)
        for node in network.graph.node
        if node.op_type == "Conv"
        for item in node.attribute
        if item.name == "group"
    ]
    assert sorted(group for group in groups if group > 1) == [4, 8, 16]
    assert [node.op_type for node in network.graph.node].count("ReduceSum") == 1
    merged = onnx.ModelProto()
    merged.CopyFrom(network)
    merge_prelus(merged)
    kinds = [[node.op_type for node in graph.node] for graph in (network.graph, merged.graph)]
    assert [kind.count("PRelu") for kind in kinds] == [0, 3]
    assert [kind.count("Relu") for kind in kinds] == [6, 0]
    images = some_images(2).astype(np.float32).transpose(0, 3, 1, 2)
    first, second = (ReferenceEvaluator(kind).run(None, {"image": images}) for kind in (network, merged))
    np.testing.assert_allclose(first[0], second[0], atol=1e-5)


def test_a_failure_leaves_what_was_there(model, tmp_path, monkeypatch):
    import onnx

    def refuse(network):
        raise onnx.checker.ValidationError("no such operation")

    (tmp_path / "model.onnx").write_bytes(b"before")
    monkeypatch.setattr(onnx.checker, "check_model", refuse)
    with pytest.raises(InputError, match=r"cannot convert the model \(no such operation\)"):
        write_onnx(model, tmp_path / "model.onnx")
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    monkeypatch.setitem(sys.modules, "tf2onnx", None)
    with pytest.raises(InputError, match="pip install tf2onnx"):
        write_onnx(model, tmp_path / "model.onnx")
    assert (tmp_path / "model.onnx").read_bytes() == b"before"
