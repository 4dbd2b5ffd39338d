import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import find_checkpoint, load_checkpoint_embedding, load_embedding_model
from ddl_tf.models import build_recognizer
from ddl_tf.serving import export_model


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    """A training run's folder with two different checkpoints."""
    folder = tmp_path_factory.mktemp("run")
    (folder / "checkpoints").mkdir()
    for seed, name in enumerate(("best", "last")):
        tf.keras.utils.set_random_seed(seed)
        build_recognizer("plain_small", 10, embedding_size=64, input_shape=(32, 32, 3)).save(
            folder / "checkpoints" / f"{name}.keras"
        )
    return folder


@pytest.fixture(scope="module")
def faces():
    pixels = np.random.RandomState(0).randint(0, 256, [3, 32, 32, 3]).astype(np.uint8)
    return [tf.io.encode_png(one).numpy() for one in pixels]


def test_run_folder_is_its_best_checkpoint(run_folder, faces):
    paths = (*(run_folder / "checkpoints" / f"{name}.keras" for name in ("best", "last")), run_folder)
    best, last, folder = (embed_images(load_embedding_model(str(path)), faces) for path in paths)
    np.testing.assert_array_equal(folder, best)
    assert np.abs(best - last).max() > 1e-3


def test_last_checkpoint_where_there_is_no_best(tmp_path):
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.keras").touch()
    assert find_checkpoint(str(tmp_path)) == tmp_path / "checkpoints" / "last.keras"


@pytest.mark.parametrize("flip", [True, False])
def test_exported_model_gives_the_embeddings_of_its_checkpoint(run_folder, faces, tmp_path, flip):
    model = load_checkpoint_embedding(str(run_folder))
    path = str(export_model(model, "faces", str(tmp_path), flip=flip))
    expected = embed_images(model, faces, flip=flip)
    np.testing.assert_allclose(embed_images(load_embedding_model(path), faces, flip=False), expected, atol=1e-5)
    with pytest.raises(InputError, match="is an exported model, not a checkpoint"):
        load_checkpoint_embedding(path)


def test_foreign_saved_model(tmp_path):
    tf.saved_model.save(tf.Module(), str(tmp_path))
    with pytest.raises(InputError, match=r"holds no embedding model of `python -m ddl_tf\.export`") as error:
        load_embedding_model(str(tmp_path))
    assert "\n" not in str(error.value)


def test_no_model(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"not a zip file")
    for name, message in (
        ("nowhere", r"no model at .*nowhere: give a \.keras checkpoint"),
        ("", r"no checkpoint in .*best\.keras"),
        ("broken.keras", r"broken\.keras"),
    ):
        with pytest.raises(InputError, match=message):
            load_embedding_model(str(tmp_path / name))


def test_of_a_network_of_another_kind_the_usable_ones_are_named(tmp_path):
    (tmp_path / "folder").mkdir()
    for name in ("folder", "net.h5", "net.ckpt", "net.params", "net.pdparams", "net.pth"):
        if name != "folder":
            (tmp_path / name).write_bytes(b"weights")
        with pytest.raises(InputError, match=r"ONNX \(.*TensorFlow Lite.*--embeddings.*ddl_tf.prepare weights"):
            load_embedding_model(str(tmp_path / name))
