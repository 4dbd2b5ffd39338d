import sys

import numpy as np
import pytest
from tiny_embedding import DIM, some_images, tiny_embedding, unit_embeddings
from tiny_embedding import largest_distance as largest

from ddl_tf.common.errors import InputError
from ddl_tf.runtimes import OnnxEmbedder, write_onnx_int8

pytest.importorskip("tf2onnx")


@pytest.mark.parametrize("neck, flip", [("depthwise", False), ("flatten", True)])
def test_all_but_plain_convolutions_stays_in_float(neck, flip, tmp_path):
    import onnx

    model, images = tiny_embedding(neck), some_images(20, seed=1)
    write_onnx_int8(model, tmp_path / "int8.onnx", some_images(64), flip)
    embedder = OnnxEmbedder(str(tmp_path / "int8.onnx"), threads=1)
    assert embedder.runtime.endswith("computes in int8, the rest in float32")
    rows = embedder.run(images)
    assert rows.shape == (20, DIM)
    assert 1e-6 < largest(rows, unit_embeddings(model, images, flip)) < 0.02
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [
        (attribute.i, makers[node.input[0]] == "DequantizeLinear")
        for node in graph.node
        for attribute in node.attribute
        if node.op_type == "Conv" and attribute.name == "group"
    ]
    # The first one, and three of the block, of each view.
    assert convolutions.count((1, True)) == (4 if not flip else 8)
    # A grouped, a depthwise one, and that of the depthwise neck.
    assert (
        sorted(groups for groups, is_int8 in convolutions if not is_int8)
        == {
            "depthwise": [4, 8, 16],
            "flatten": [4, 4, 8, 8],
        }[neck]
    )
    assert {makers[node.input[0]] for node in graph.node if node.op_type == "MatMul"} != {"DequantizeLinear"}
    # What another operation gives is int8 for a convolution alone.
    takers = {name: node for node in graph.node for name in node.input}
    for node in graph.node:
        if node.op_type == "QuantizeLinear" and makers[node.input[0]] != "Conv":
            assert takers[takers[node.output[0]].output[0]].op_type == "Conv"
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]


def test_bad_input(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="int8 without calibration images"):
        write_onnx_int8(model, tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(InputError, match=r"a\.onnx: to quantize ONNX files takes onnxruntime"):
        write_onnx_int8(model, tmp_path / "a.onnx", some_images(2))
    assert not list(tmp_path.iterdir())
