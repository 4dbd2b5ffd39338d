import hashlib
import subprocess

import numpy as np
import pytest
import tensorflow as tf
from tiny_store import stored

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import embed
from ddl_tf.evaluation import embedding_file as stored_embeddings
from ddl_tf.evaluation.embedding_file import Embeddings, fingerprint, is_fingerprint
from ddl_tf.layers import ArcFace, SampledHead
from ddl_tf.layers.sharded import ShardedHead
from ddl_tf.mining import view
from ddl_tf.mining.view import VIEW_COLUMNS, Viewer, embed_faces, measure_view
from ddl_tf.models import build_embedding_model, build_recognizer, save_checkpoint

IDENTITIES = 5


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("faces") / "set", count=2 * IDENTITIES, size=32)


@pytest.fixture(scope="module")
def model():
    return build_recognizer("plain_small", IDENTITIES, embedding_size=8, input_shape=(32, 32, 3))


@pytest.fixture
def known(tmp_path):
    """Embeddings of known values, and their identities; the last identity has one image."""
    rng = np.random.default_rng(0)
    identity = np.append(rng.integers(0, IDENTITIES - 1, 40), IDENTITIES - 1)
    vectors = (rng.normal(size=[IDENTITIES, 8])[identity] + 0.7 * rng.normal(size=[41, 8])).astype(np.float32)
    np.save(tmp_path / "known.npy", vectors)
    return Embeddings(tmp_path / "known.npy"), vectors, identity


def cosine(a, b):
    return float(a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def test_rows_come_in_any_order_and_mean_centers_equal_the_naive_twin_in_blocks(known, monkeypatch, capsys):
    embeddings, vectors, identity = known
    for positions in ([3, 4, 5, 1, 0, 40], [], list(range(41)), [5, 5, 6]):
        np.testing.assert_array_equal(embeddings.rows(np.array(positions, int)), vectors[positions])
    np.testing.assert_array_equal(np.concatenate([rows for _, rows in embeddings.chunks(7)]), vectors)
    monkeypatch.setattr(view, "_BLOCK_ELEMENTS", 50)
    columns = measure_view(embeddings, identity, IDENTITIES)
    assert "1 images are the only one" in capsys.readouterr().err
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in range(len(vectors)):
        mine = (identity == identity[row]) & (np.arange(len(vectors)) != row)
        near = cosine(unit[row], unit[mine].mean(0)) if mine.any() else np.nan
        far = max(cosine(unit[row], unit[identity == o].mean(0)) for o in range(IDENTITIES) if o != identity[row])
        view_of = {name: values[row] for name, values in columns.items()}
        assert view_of["feature_norm"] == pytest.approx(np.linalg.norm(vectors[row]), rel=1e-5)
        assert view_of["center_similarity"] == pytest.approx(near, abs=1e-5, nan_ok=True)
        assert view_of["other_similarity"] == pytest.approx(far, abs=1e-5)
        assert view_of["center_margin"] == pytest.approx(near - far, abs=1e-5, nan_ok=True)
    own_only = measure_view(embeddings, identity, IDENTITIES, other_centers=False)
    assert set(own_only) == {"feature_norm", "center_similarity"}
    np.testing.assert_allclose(own_only["center_similarity"], columns["center_similarity"], rtol=1e-6)


def test_the_head_s_centers_and_logits(known):
    embeddings, vectors, identity = known
    head = ArcFace(IDENTITIES, margin=0.3, scale=10.0)
    head.build([None, 8])
    columns = measure_view(embeddings, identity, IDENTITIES, head)
    assert set(columns) == set(VIEW_COLUMNS)
    centers = head.class_centers.numpy().T
    for row in range(len(vectors)):
        similarities = [cosine(vectors[row], center) for center in centers]
        nearest = similarities.pop(identity[row])
        assert columns["center_similarity"][row] == pytest.approx(nearest, abs=1e-5)
        assert columns["other_similarity"][row] == pytest.approx(max(similarities), abs=1e-5)
        assert columns["target_logit"][row] == pytest.approx(10 * np.cos(np.arccos(nearest) + 0.3), abs=1e-3)
    # Heads of compact logits are seen as the head that they wrap.
    for kind in (SampledHead, ShardedHead):
        compact = kind(ArcFace(IDENTITIES, margin=0.3, scale=10.0), sample_rate=0.5)
        compact.build([None, 8])
        compact.assign_centers(centers)
        for name, values in measure_view(embeddings, identity, IDENTITIES, compact).items():
            np.testing.assert_allclose(values, columns[name], atol=1e-4)


def test_faces_are_embedded_as_the_model_does_and_taken_up_again(faces, model, tmp_path, monkeypatch):
    monkeypatch.setattr(stored_embeddings, "CHUNK", 8)
    embedder = tf.keras.Model(model.input["image"], model.output["embedding"])
    made = embed_faces(embedder, faces, tmp_path / "e", {"model": 1}, batch_size=4)
    encoded = faces.read(np.arange(len(faces)))
    decoded = [tf.io.decode_jpeg(jpeg, channels=3, dct_method="INTEGER_ACCURATE") for jpeg in encoded]
    expected = embedder(np.stack(decoded).astype(np.float32))
    np.testing.assert_allclose(made.rows(np.arange(len(faces))), expected, rtol=1e-4, atol=1e-5)

    predict, calls = embed.predict_embeddings, []

    def stop_in_the_second_chunk(*arguments):
        calls.append(len(arguments[-1]))
        if len(calls) == 2:
            raise KeyboardInterrupt
        return predict(*arguments)

    monkeypatch.setattr(embed, "predict_embeddings", stop_in_the_second_chunk)
    with pytest.raises(KeyboardInterrupt):
        embed_faces(embedder, faces, tmp_path / "f", {"model": 1}, batch_size=4)
    again = embed_faces(embedder, faces, tmp_path / "f", {"model": 1}, batch_size=4)
    assert calls == [8, 2, 2]
    np.testing.assert_array_equal(again.rows(np.arange(len(faces))), made.rows(np.arange(len(faces))))
    for number, count in ((1, 3), (2, 5)):
        embed_faces(embedder, faces, tmp_path / "f", {"model": number})
        assert len(calls) == count


def test_embeddings_that_are_not_finite_are_refused(faces, tmp_path):
    model = build_embedding_model("plain_small", 8, (32, 32, 3))
    model.get_layer("neck").set_weights([weight * np.nan for weight in model.get_layer("neck").get_weights()])
    with pytest.raises(InputError, match="embedding of image 0 is not finite"):
        embed_faces(model, faces, tmp_path, {})


def test_viewer_and_heads_that_do_not_fit(faces, model, tmp_path):
    larger = build_recognizer("plain_small", IDENTITIES + 1, embedding_size=8, input_shape=(32, 32, 3))
    no_head = build_embedding_model("plain_small", 8, (32, 32, 3))
    for name, network in (("model", model), ("larger", larger), ("no_head", no_head)):
        save_checkpoint(network, tmp_path / f"{name}.keras")
    viewer = Viewer(str(tmp_path / "model.keras"))
    columns = viewer.measure(faces, tmp_path / "e", viewer.head(faces), True)
    assert set(columns) == set(VIEW_COLUMNS)
    assert all(np.isfinite(values).all() and len(values) == len(faces) for values in columns.values())
    with pytest.raises(InputError, match=r"6 identities, the sets 5: .*--centers=mean"):
        Viewer(str(tmp_path / "larger.keras")).head(faces)
    with pytest.raises(InputError, match="has no head"):
        Viewer(str(tmp_path / "no_head.keras")).head(faces)
    with pytest.raises(InputError, match="no model is given"):
        Viewer(None)


def test_a_fingerprint_is_what_sha256sum_says(tmp_path):
    (tmp_path / "a" / "variables").mkdir(parents=True)
    (tmp_path / "a" / "saved_model.pb").write_bytes(b"one")
    (tmp_path / "a" / "variables" / "index").write_bytes(b"two")
    of_folder = "find -L . -type f | LC_ALL=C sort | xargs sha256sum | sha256sum"
    for line, path in (("sha256sum saved_model.pb", "a/saved_model.pb"), (of_folder, "a")):
        printed = subprocess.run(line, shell=True, cwd=tmp_path / "a", capture_output=True, text=True, check=True)
        assert printed.stdout.split()[0] == fingerprint(tmp_path / path)
    # Records of old name a model by its file name too.
    model = tmp_path / "a" / "saved_model.pb"
    old = hashlib.sha256(b"saved_model.pb" + b"one").hexdigest()
    other = hashlib.sha256(b"last.keras" + b"one").hexdigest()
    accepted = [is_fingerprint(value, model) for value in (old, fingerprint(model), other, None)]
    assert accepted == [True, True, False, False]
