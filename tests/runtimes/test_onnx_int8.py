import sys

import numpy as np
import pytest
from tiny_embedding import DIM, some_images, tiny_embedding, unit_embeddings
from tiny_embedding import largest_distance as largest

from ddl_tf.common.errors import InputError
from ddl_tf.runtimes import OnnxEmbedder, write_onnx_int8

pytest.importorskip("tf2onnx")


@pytest.mark.parametrize("neck, flip", [("depthwise", False), ("flatten", True)])
def test_neck_and_norm_stay_in_float(neck, flip, tmp_path):
    import onnx

    model, images = tiny_embedding(neck), some_images(20, seed=1)
    write_onnx_int8(model, tmp_path / "int8.onnx", some_images(64), flip)
    rows = OnnxEmbedder(str(tmp_path / "int8.onnx"), threads=1).run(images)
    assert rows.shape == (20, DIM)
    assert 1e-6 < largest(rows, unit_embeddings(model, images, flip)) < 0.02
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), 1, atol=1e-4)
    graph = onnx.load(tmp_path / "int8.onnx").graph
    makers = {name: node.op_type for node in graph.node for name in node.output}
    convolutions = [makers[node.input[0]] for node in graph.node if node.op_type == "Conv"]
    # That of the depthwise neck gives one pixel.
    assert convolutions.count("DequantizeLinear") == (6 if not flip else 12)
    assert len(convolutions) - convolutions.count("DequantizeLinear") == (1 if neck == "depthwise" else 0)
    assert {makers[node.input[0]] for node in graph.node if node.op_type == "MatMul"} != {"DequantizeLinear"}
    assert [file.name for file in tmp_path.iterdir()] == ["int8.onnx"]


def test_bad_input(model, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="int8 without calibration images"):
        write_onnx_int8(model, tmp_path / "a.onnx")
    monkeypatch.setitem(sys.modules, "onnxruntime.quantization", None)
    with pytest.raises(InputError, match=r"a\.onnx: to quantize ONNX files takes onnxruntime"):
        write_onnx_int8(model, tmp_path / "a.onnx", some_images(2))
    assert not list(tmp_path.iterdir())
