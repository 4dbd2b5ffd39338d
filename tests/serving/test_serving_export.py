import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.serving import describe_signatures, export_model

# Runs in a process of its own, where ddl_tf cannot be imported.
RELOAD = """
import os, sys
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("ddl_tf", "tensorflow_addons", "keras_cv"):
            raise ModuleNotFoundError(name)

sys.meta_path.insert(0, Blocked())
for name in ("ddl_tf", "tensorflow_addons", "keras_cv"):
    try:
        __import__(name)
    except ModuleNotFoundError:
        pass
    else:
        sys.exit(f"{name} is not blocked")
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


@pytest.fixture(scope="module")
def embed(served):
    def embed(key, tensor):
        name = {"image": "serving_default", "image_bytes": "serving_bytes"}[key]
        return served.signatures[name](**{key: tensor})["embedding"].numpy()

    return embed


def test_both_signatures_in_a_process_without_ddl_tf(embedder, exported, images, tmp_path):
    np.save(tmp_path / "images.npy", images)
    paths = [str(exported), str(tmp_path / "images.npy"), str(tmp_path / "out.npz")]
    subprocess.run([sys.executable, "-c", RELOAD, *paths], check=True)
    expected = _unit(embedder(images.astype(np.float32), training=False).numpy())
    with np.load(tmp_path / "out.npz") as out:
        np.testing.assert_allclose(out["default"], expected, atol=1e-5)
        np.testing.assert_allclose(out["bytes"], expected, atol=1e-5)


@pytest.mark.parametrize("batch", [0, 1, 3])
def test_any_batch(embed, embedder, images, batch):
    rows = embed("image", tf.constant(images[:batch]))
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images[:batch]], tf.string, [batch])
    from_bytes = embed("image_bytes", encoded)
    assert rows.dtype == from_bytes.dtype == np.float32
    assert rows.shape == from_bytes.shape == (batch, embedder.output_shape[-1])
    np.testing.assert_allclose(rows, from_bytes, atol=1e-6)
    np.testing.assert_allclose(np.linalg.norm(rows, axis=1), np.ones(batch), atol=1e-5)


def test_other_sizes_are_resized(embed, embedder):
    random = np.random.RandomState(0)
    images = [random.randint(0, 256, [*size, 3]).astype(np.uint8) for size in ((64, 64), (30, 50))]
    expected = _unit(embedder(tf.stack([tf.image.resize(image, [16, 16], antialias=True) for image in images])).numpy())
    for image, row in zip(images, expected):
        np.testing.assert_allclose(embed("image", tf.constant(image[np.newaxis]))[0], row, atol=1e-5)
    # Encoded images of one batch may have different sizes.
    encoded = tf.constant([tf.io.encode_png(image).numpy() for image in images])
    np.testing.assert_allclose(embed("image_bytes", encoded), expected, atol=1e-5)


def test_flip(embedder, images, tmp_path):
    loaded = tf.saved_model.load(str(export_model(embedder, "faces", str(tmp_path), flip=True)))
    served = loaded.signatures["serving_default"]
    plain, mirrored = (
        embedder(rows.astype(np.float32), training=False).numpy() for rows in (images, images[:, :, ::-1])
    )
    np.testing.assert_allclose(served(image=tf.constant(images))["embedding"], _unit(plain + mirrored), atol=1e-5)
    again = served(image=tf.constant(images[:, :, ::-1]))["embedding"]
    np.testing.assert_allclose(again, _unit(plain + mirrored), atol=1e-5)


def test_only_inference_is_exported(embedder, exported, served):
    norms = {layer for layer in embedder.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)}
    neck = embedder.get_layer("neck")
    # Each goes, and leaves a bias behind; those of the neck share that of its dense layer, which has one anyway.
    gone = sum(layer.count_params() for layer in norms)
    gone -= sum(int(layer.moving_mean.shape[0]) for layer in norms - {neck.feature_norm, neck.embedding_norm})
    assert sum(int(np.prod(w.shape)) for w in served.weights) == embedder.count_params() - gone
    inputs = {name: set(signature.structured_input_signature[1]) for name, signature in served.signatures.items()}
    assert inputs == {
        "verify": {"first", "second"},
        "serving_default": {"image"},
        "serving_bytes": {"image_bytes"},
        "search": {"image_bytes", "gallery", "k"},
    }
    assert not (exported / "keras_metadata.pb").exists()


@pytest.mark.parametrize("name", ["serving_default", "serving_bytes"])
def test_a_session_runs_it(name, exported, images, embedder):
    """As TensorFlow Serving runs it; `tf.saved_model.load` makes functions of it."""
    value = images if name == "serving_default" else [tf.io.encode_png(image).numpy() for image in images]
    with tf.compat.v1.Session(graph=tf.Graph()) as session:
        signature = tf.compat.v1.saved_model.load(session, ["serve"], str(exported)).signature_def[name]
        (tensor,) = signature.inputs.values()
        rows = session.run(signature.outputs["embedding"].name, {tensor.name: value})
    np.testing.assert_allclose(rows, _unit(embedder(images.astype(np.float32)).numpy()), atol=1e-5)


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


@pytest.fixture
def pooling():
    return tf.keras.Sequential([tf.keras.Input([8, 8, 3]), tf.keras.layers.GlobalAveragePooling2D()])


def test_versions_increment(pooling, tmp_path):
    assert export_model(pooling, "faces", str(tmp_path)) == tmp_path / "faces" / "1"
    (tmp_path / "faces" / "9").mkdir()
    (tmp_path / "faces" / "notes").mkdir()
    assert export_model(pooling, "faces", str(tmp_path)) == tmp_path / "faces" / "10"
    assert sorted(p.name for p in (tmp_path / "faces").iterdir()) == ["1", "10", "9", "notes"]
    # Embeddings of zeros stay zero.
    signature = tf.saved_model.load(str(tmp_path / "faces" / "1")).signatures["serving_default"]
    np.testing.assert_array_equal(signature(image=tf.zeros([2, 8, 8, 3], tf.uint8))["embedding"], np.zeros([2, 3]))
    # A server of another user reads it.
    assert (tmp_path / "faces" / "10").stat().st_mode & 0o055 == (tmp_path / "faces").stat().st_mode & 0o055


def test_a_failed_export_leaves_no_version(pooling, tmp_path, monkeypatch):
    save = tf.saved_model.save

    def full_disk(module, path, **options):
        save(module, path, **options)
        raise OSError(28, "No space left on device", path)

    monkeypatch.setattr(tf.saved_model, "save", full_disk)
    with pytest.raises(OSError, match="No space left"):
        export_model(pooling, "faces", str(tmp_path))
    assert list((tmp_path / "faces").iterdir()) == []


def test_bad_names_and_sizes(pooling, tmp_path):
    for name in ("", ".hidden", "../up", "a/b", "-x", "a b"):
        with pytest.raises(InputError, match=r"^model name "):
            export_model(pooling, name, str(tmp_path))
    model = tf.keras.Sequential([tf.keras.Input([None, None, 3]), tf.keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(InputError, match="fixed size"):
        export_model(model, "faces", str(tmp_path))
    assert list(tmp_path.iterdir()) == []
