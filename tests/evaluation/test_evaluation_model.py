import numpy as np
import pytest
import tensorflow as tf
from tiny_checkpoint import write_checkpoint

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import find_checkpoint, load_checkpoint_embedding, load_embedding_model
from ddl_tf.serving import export_model


def test_run_folder_is_its_best_checkpoint_and_an_export_gives_its_embeddings(tmp_path):
    for seed, name in enumerate(("best", "last")):
        write_checkpoint(tmp_path / "checkpoints" / f"{name}.keras", seed)
    pixels = np.random.RandomState(0).randint(0, 256, [3, 32, 32, 3]).astype(np.uint8)
    faces = [tf.io.encode_png(image).numpy() for image in pixels]
    paths = (tmp_path / "checkpoints" / "best.keras", tmp_path)
    best, folder = (embed_images(load_embedding_model(str(path)), faces) for path in paths)
    np.testing.assert_array_equal(folder, best)
    path = str(export_model(load_checkpoint_embedding(str(tmp_path)), "faces", str(tmp_path), flip=True, search=False))
    np.testing.assert_allclose(embed_images(load_embedding_model(path), faces, flip=False), best, atol=1e-5)
    with pytest.raises(InputError, match="is an exported model, not a checkpoint"):
        load_checkpoint_embedding(path)


def test_no_model(tmp_path):
    (tmp_path / "broken.keras").write_bytes(b"not a zip file")
    (tmp_path / "folder").mkdir()
    tf.saved_model.save(tf.Module(), str(tmp_path / "foreign"))
    (tmp_path / "net.h5").write_bytes(b"weights")
    (tmp_path / "net.pth").write_bytes(b"weights")
    for name, message in (
        ("nowhere", r"no model at .*nowhere: give a \.keras checkpoint"),
        ("", r"no checkpoint in .*best\.keras"),
        ("broken.keras", r"broken\.keras"),
        ("foreign", r"holds no embedding model of `python -m ddl_tf\.export`"),
        *((name, r"ONNX \(.*TensorFlow Lite.*ddl_tf.prepare weights") for name in ("folder", "net.h5", "net.pth")),
    ):
        with pytest.raises(InputError, match=message) as error:
            load_embedding_model(str(tmp_path / name))
        assert "\n" not in str(error.value)
    # Of a run without a best checkpoint the last one counts.
    (tmp_path / "checkpoints").mkdir()
    (tmp_path / "checkpoints" / "last.keras").touch()
    assert find_checkpoint(str(tmp_path)) == tmp_path / "checkpoints" / "last.keras"
