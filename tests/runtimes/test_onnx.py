import sys

import numpy as np
import pytest
import tensorflow as tf
from tiny_embedding import DIM, SIDE, some_images, tiny_embedding, unit_embeddings

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.model import load_embedding_model
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
    # They differ.
    assert np.max(expected @ expected.T - np.eye(20)) < 0.9999


def test_flatten_neck_and_flip(flatten_model, tmp_path):
    images = some_images(4)
    write_onnx(flatten_model, tmp_path / "flipped.onnx", flip=True)
    rows = OnnxEmbedder(str(tmp_path / "flipped.onnx"), threads=1).embed(images)
    np.testing.assert_allclose(rows, unit_embeddings(flatten_model, images, flip=True), atol=1e-5)
    np.testing.assert_allclose(rows, OnnxEmbedder(str(tmp_path / "flipped.onnx")).embed(images[:, :, ::-1]), atol=1e-5)


def test_half_precision_becomes_float32(model, tmp_path):
    before = tf.keras.mixed_precision.global_policy()
    tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
    try:
        half = tiny_embedding()
    finally:
        tf.keras.mixed_precision.set_global_policy(before)
    full, images = tf.keras.models.clone_model(model), some_images(3)
    full.set_weights(half.get_weights())
    write_onnx(half, tmp_path / "half.onnx")
    rows = OnnxEmbedder(str(tmp_path / "half.onnx")).embed(images)
    np.testing.assert_allclose(rows, unit_embeddings(full, images), atol=1e-5)


def test_what_others_see(path):
    import onnx
    import onnxruntime

    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (image,), (output,) = session.get_inputs(), session.get_outputs()
    assert (image.name, image.type, image.shape) == ("image", "tensor(float)", ["batch", 3, SIDE, SIDE])
    assert (output.name, output.shape) == ("embedding", ["batch", DIM])
    # How InsightFace's ArcFaceONNX finds out that the scaling is inside.
    names = [node.name for node in onnx.load(path).graph.node[:8]]
    assert any(name.startswith("Sub") for name in names)
    assert any(name.startswith("Mul") for name in names)


def test_evaluates_with_the_scaling_that_the_file_names(model, path):
    images = some_images(3)
    rows = load_embedding_model(str(path)).predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(rows, unit_embeddings(model, images), atol=1e-5)
    # Arguments count more.
    rows = load_embedding_model(str(path), mean=127.5, scale=127.5).predict(images.astype(np.float32), verbose=0)
    np.testing.assert_allclose(rows, unit_embeddings(model, images / 127.5 - 1), atol=1e-5)


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
