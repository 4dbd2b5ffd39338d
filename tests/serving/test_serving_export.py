import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from tensorflow_serving.apis import prediction_log_pb2

from ddl_tf.common.errors import InputError
from ddl_tf.serving import describe_signatures, export_model, warmup_requests

RELOAD = """
import sys

# What is None here cannot be imported.
sys.modules.update(dict.fromkeys(("ddl_tf", "tensorflow_addons", "keras_cv")))
import numpy as np
import tensorflow as tf

served = tf.saved_model.load(sys.argv[1])
images = np.load(sys.argv[2])
encoded = tf.stack([tf.io.encode_png(image) for image in images])
np.savez(
    sys.argv[3],
    default=served.signatures["serving_default"](image=images)["embedding"],
    bytes=served.signatures["serving_bytes"](image_bytes=encoded)["embedding"],
)
"""


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


@pytest.fixture(scope="module")
def images():
    return np.random.RandomState(0).randint(0, 256, [5, 16, 16, 3]).astype(np.uint8)


def _embed(served, signature, **inputs):
    return served.signatures[signature](**inputs)["embedding"].numpy()


def test_both_signatures_in_a_process_without_ddl_tf(embedder, exported, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    paths = [str(exported), str(tmp_path / "images.npy"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", RELOAD, *paths], check=True)
    expected = _unit(embedder(images.astype(np.float32), training=False).numpy())
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["default"], expected, atol=1e-5)
        np.testing.assert_allclose(out["bytes"], expected, atol=1e-5)


def test_any_batch(served, embedder, images):
    for batch in (0, 1, 3):
        rows = _embed(served, "serving_default", image=tf.constant(images[:batch]))
        encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images[:batch]], tf.string, [batch])
        from_bytes = _embed(served, "serving_bytes", image_bytes=encoded)
        assert rows.dtype == from_bytes.dtype == np.float32
        assert rows.shape == from_bytes.shape == (batch, embedder.output_shape[-1])
        np.testing.assert_allclose(rows, from_bytes, atol=1e-6)
        np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(batch), atol=1e-5)


def test_other_sizes_are_resized(served, embedder):
    random = np.random.RandomState(0)
    images = [random.randint(0, 256, [*size, 3]).astype(np.uint8) for size in ((64, 64), (30, 50))]
    expected = _unit(embedder(tf.stack([tf.image.resize(image, [16, 16], antialias=True) for image in images])).numpy())
    for image, row in zip(images, expected):
        np.testing.assert_allclose(_embed(served, "serving_default", image=tf.constant(image[None]))[0], row, atol=1e-5)
    # Encoded images of one batch may have different sizes.
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    np.testing.assert_allclose(_embed(served, "serving_bytes", image_bytes=encoded), expected, atol=1e-5)


def test_flip(embedder, images, tmp_path):
    path = export_model(embedder, "faces", str(tmp_path), flip=True, search=False)
    served = tf.saved_model.load(str(path)).signatures["serving_default"]
    views = images, images[:, :, ::-1]
    expected = _unit(sum(embedder(view.astype(np.float32), training=False).numpy() for view in views))
    for view in views:
        np.testing.assert_allclose(served(image=tf.constant(view))["embedding"], expected, atol=1e-5)


def test_only_inference_is_exported(embedder, exported, served):
    norms = {layer for layer in embedder.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)}
    neck = embedder.get_layer("neck")
    # Each goes, and leaves a bias behind; those of the neck share that of its dense layer, which has one anyway.
    gone = sum(layer.count_params() for layer in norms)
    gone -= sum(int(layer.moving_mean.shape[0]) for layer in norms - {neck.feature_norm, neck.embedding_norm})
    assert sum(int(np.prod(w.shape)) for w in served.weights) == embedder.count_params() - gone
    assert not (exported / "keras_metadata.pb").exists()


def test_a_session_runs_it(exported, images, embedder):
    """As TensorFlow Serving runs it; `tf.saved_model.load` makes functions of it."""
    inputs = {"serving_default": images, "serving_bytes": [tf.io.encode_png(image).numpy() for image in images]}
    expected = _unit(embedder(images.astype(np.float32)).numpy())
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signatures = tf.compat.v1.saved_model.load(session, ["serve"], str(exported)).signature_def
        for name, value in inputs.items():
            (tensor,) = signatures[name].inputs.values()
            rows = session.run(signatures[name].outputs["embedding"].name, {tensor.name: value})
            np.testing.assert_allclose(rows, expected, atol=1e-5)


def test_described_signatures(exported, embedder):
    dim = embedder.output_shape[-1]
    assert describe_signatures(str(exported)) == [
        f"search: gallery float32 (None, {dim}), image_bytes string (None,), k int32 () -> "
        "index int32 (None, None), similarity float32 (None, None), valid bool (None,)",
        f"serving_bytes: image_bytes string (None,) -> embedding float32 (None, {dim}), valid bool (None,)",
        f"serving_default: image uint8 (None, None, None, 3) -> embedding float32 (None, {dim})",
        "verify: first string (None,), second string (None,) -> "
        "same bool (None,), similarity float32 (None,), valid bool (None,)",
    ]


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


def test_warm_up_faces_are_of_the_size_and_differ_and_two_exports_have_one_warm_up():
    logs = list(warmup_requests("faces", ["serving_default"], (24, 32), 16))
    # 1, 2, 4, ...
    faces = tf.make_ndarray(logs[2].predict_log.request.inputs["image"])
    assert (faces.shape, faces.dtype) == ((4, 24, 32, 3), np.uint8)
    assert all(np.abs(faces[n].astype(int) - faces[m]).mean() > 5 for n in range(4) for m in range(n))
    first, second = (list(warmup_requests("faces", ["search"], (24, 24), 8)) for _ in range(2))
    assert first == second
