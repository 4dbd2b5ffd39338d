import numpy as np
import pytest
import tensorflow as tf
from tiny_checkpoint import write_checkpoint

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import find_checkpoint, load_checkpoint_embedding, load_embedding_model
from ddl_tf.serving import export_model


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A training run's folder with two different checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    for seed, name in enumerate(("best", "last")):
        write_checkpoint(folder / "checkpoints" / f"{name}.keras", seed)
    return folder


@pytest.fixture(scope="module")
def faces():
    pixels = np.random.RandomState(0).randint(0, 256, [3, 32, 32, 3]).astype(np.uint8)
    return [tf.io.encode_png(image).numpy() for image in pixels]


def test_run_folder_is_its_best_checkpoint(run_folder, faces):
    paths = (*(run_folder / "checkpoints" / f"{name}.keras" for name in ("best", "last")), run_folder)
    best, last, folder = (embed_images(load_embedding_model(str(path)), faces) for path in paths)
    np.testing.assert_array_equal(folder, best)
    assert np.abs(best - last).max() > 1e-3


def test_exported_model_gives_the_embeddings_of_its_checkpoint(run_folder, faces, tmp_path):
    model = load_checkpoint_embedding(str(run_folder))
    path = str(export_model(model, "faces", str(tmp_path), flip=True, search=False))
    expected = embed_images(model, faces)
    np.testing.assert_allclose(embed_images(load_embedding_model(path), faces, flip=False), expected, atol=1e-5)
    with pytest.raises(InputError, match="is an exported model, not a checkpoint"):
        load_checkpoint_embedding(path)


def test_no_model(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"not a zip file")
    (tmp_path / "folder").mkdir()
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    usable = r"ONNX \(.*TensorFlow Lite.*--embeddings.*ddl_tf.prepare weights"
    others = ("net.h5", "net.ckpt", "net.params", "net.pdparams", "net.pth")
    for name in others:
        (tmp_path / name).write_bytes(b"weights")
    for name, message in (
        ("nowhere", r"no model at .*nowhere: give a \.keras checkpoint"),
        ("", r"no checkpoint in .*best\.keras"),
        ("broken.keras", r"broken\.keras"),
        ("foreign", r"holds no embedding model of `python -m ddl_tf\.export`"),
        *((name, usable) for name in ("folder", *others)),
    ):
        with pytest.raises(InputError, match=message) as error:
            load_embedding_model(str(tmp_path / name))
        assert "\n" not in str(error.value)
    # Of a run without a best checkpoint the last one counts.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.keras").touch()
    assert find_checkpoint(str(tmp_path)) == tmp_path / "checkpoints" / "last.keras"
