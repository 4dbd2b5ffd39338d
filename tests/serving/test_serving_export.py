import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2
from tiny_embedding import DIM, SIDE, some_images, unit_embeddings

from ddl_tf.common.errors import InputError
from ddl_tf.serving import export_model

# As TensorFlow Serving runs it, which makes no functions of the graph.
RELOAD = """
import sys
# What is None here cannot be imported.
sys.modules.update(dict.fromkeys(("ddl_tf", "tensorflow_addons", "keras_cv")))
import numpy as np
import tensorflow as tf

images, rows = np.load(sys.argv[2]), {}
inputs = {"serving_default": images, "serving_bytes": [tf.io.encode_png(image).numpy() for image in images]}
with tf.compat.v1.Session(graph=tf.Graph()) as session:
    signatures = tf.compat.v1.saved_model.load(session, ["serve"], sys.argv[1]).signature_def
    for name, value in inputs.items():
        (tensor,) = signatures[name].inputs.values()
        rows[name] = session.run(signatures[name].outputs["embedding"].name, {tensor.name: value})
np.savez(sys.argv[3], **rows)
"""


def _embed(served, signature, **inputs):
    return served.signatures[signature](**inputs)["embedding"].numpy()


def test_a_session_of_a_process_without_ddl_tf(embedder, exported, tmp_path):
    images = some_images(5)
    np.save(tmp_path / "images.npy", images)
    paths = [str(exported), str(tmp_path / "images.npy"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", RELOAD, *paths], check=True)
    expected = unit_embeddings(embedder, images)
    with np.load(tmp_path / "out.npz") as out:
        for signature in ("serving_default", "serving_bytes"):
            np.testing.assert_allclose(out[signature], expected, atol=1e-5)


def test_sizes_of_batches_and_images(served, embedder):
    random = np.random.RandomState(0)
    images = [random.randint(0, 256, [*size, 3]).astype(np.uint8) for size in ((64, 64), (30, 50), (SIDE, SIDE))]
    resized = tf.stack([tf.image.resize(image, [SIDE, SIDE], antialias=True) for image in images])
    expected = unit_embeddings(embedder, resized.numpy())
    for image, row in zip(images, expected):
        np.testing.assert_allclose(_embed(served, "serving_default", image=tf.constant(image[None]))[0], row, atol=1e-5)
    # Encoded images of one batch may have different sizes.
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    np.testing.assert_allclose(_embed(served, "serving_bytes", image_bytes=encoded), expected, atol=1e-5)
    assert _embed(served, "serving_default", image=tf.zeros([0, SIDE, SIDE, 3], tf.uint8)).shape == (0, DIM)
    assert _embed(served, "serving_bytes", image_bytes=encoded[:0]).shape == (0, DIM)


def test_versions_increment_and_a_failed_export_leaves_none(tmp_path, monkeypatch):
    pooling = tf.keras.Sequential([tf.keras.Input([8, 8, 3]), tf.keras.layers.GlobalAveragePooling2D()])
    folder = tmp_path / "faces"
    for name in ("9", "notes"):
        (folder / name).mkdir(parents=True)
    assert export_model(pooling, "faces", str(tmp_path), search=False) == folder / "10"
    # Embeddings of zeros stay zero.
    loaded = tf.saved_model.load(str(folder / "10"))
    zeros = loaded.signatures["serving_default"](image=tf.zeros([2, 8, 8, 3], tf.uint8))["embedding"]
    np.testing.assert_array_equal(zeros, np.zeros([2, 3]))
    # A server of another user reads it.
    assert (folder / "10").stat().st_mode & 0o055 == folder.stat().st_mode & 0o055
    # A server batches it, and is warmed up with what it has.
    names = {request.model_spec.signature_name for request in read_warmup(folder / "10")}
    assert names == {"serving_bytes", "serving_default"}
    assert "allowed_batch_sizes: 32" in (folder / "10" / "batching_params.pbtxt").read_text()
    save = tf.saved_model.save

    def full_disk(module, path, **options):
        save(module, path, **options)
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_model(pooling, "faces", str(tmp_path))
    assert sorted(path.name for path in folder.iterdir()) == ["10", "9", "notes"]


def test_bad_names_and_sizes(tmp_path):
    model = tf.keras.Sequential([tf.keras.Input([None, None, 3]), tf.keras.layers.GlobalAveragePooling2D()])
    for name in ("", ".hidden", "../up", "a/b", "-x", "a b"):
        with pytest.raises(InputError, match=r"^model name "):
            export_model(model, name, str(tmp_path))
    with pytest.raises(InputError, match="fixed size"):
        export_model(model, "faces", str(tmp_path))
    assert list(tmp_path.iterdir()) == []


def read_warmup(version):
    """The warm-up as a server reads it."""
    file = str(version / "assets.extra" / "tf_serving_warmup_requests")
    for record in tf.data.TFRecordDataset(file).as_numpy_iterator():
        log = prediction_log_pb2.PredictionLog.FromString(record)
        assert log.WhichOneof("log_type") == "predict_log"
        yield log.predict_log.request


def test_the_warm_up_replays_every_signature_and_batch_size(exported, served):
    replayed = []
    for request in read_warmup(exported):
        assert request.model_spec.name == "faces"
        signature = served.signatures[request.model_spec.signature_name]
        inputs = {key: tf.constant(tf.make_ndarray(value)) for key, value in request.inputs.items()}
        assert inputs.keys() == signature.structured_input_signature[1].keys()
        answer = signature(**inputs)
        (rows,) = {value.shape[0] for value in answer.values()}
        if "valid" in answer:
            assert answer["valid"].numpy().all()
        replayed.append((request.model_spec.signature_name, rows))
    names = ["search", "serving_bytes", "serving_default", "verify"]
    assert replayed == [(name, size) for name in names for size in (1, 2, 4, 8, 16, 32)]
