import numpy as np
import pandas as pd
import pytest
from tiny_store import stored

from ddl_tf.common.errors import InputError
from ddl_tf.images.decoding import decode_image, resize_images
from ddl_tf.models import build_recognizer, embedding_model
from ddl_tf.training import class_means
from ddl_tf.training.class_means import rows_per_identity, start_at_class_means


def test_rows_are_few_of_each_identity_in_each_group_and_random():
    index = pd.DataFrame({"identity": [3, 1, 3, 3, 1, 2, 3, 3], "group": [0, 0, 0, 0, 0, 0, 1, 1]})
    rows = rows_per_identity(index, 2, seed=0)
    counts = index.iloc[rows].value_counts().to_dict()
    assert counts == {(1, 0): 2, (2, 0): 1, (3, 0): 2, (3, 1): 2}
    np.testing.assert_array_equal(rows, np.unique(rows))
    assert any(rows_per_identity(index, 2, seed).tolist() != rows.tolist() for seed in range(1, 9))
    np.testing.assert_array_equal(rows_per_identity(index, 9, seed=0), np.arange(8))


def test_centers_point_to_their_people(tmp_path, monkeypatch):
    faces = stored(tmp_path / "set", count=30)
    model = build_recognizer("plain_small", faces.num_identities, embedding_size=16, input_shape=(32, 32, 3))
    head = model.get_layer("head")
    length = np.linalg.norm(head.class_centers.numpy(), axis=0).mean()
    monkeypatch.setattr(class_means, "IMAGES", 30)
    start_at_class_means(model, faces, seed=0)
    images = np.stack([resize_images(decode_image(image), (32, 32)) for image in faces.read(np.arange(30))])
    embeddings = embedding_model(model)(images).numpy()
    identity = faces.index["identity"].to_numpy()
    centers = head.class_centers.numpy().T
    for number in range(faces.num_identities):
        rows = embeddings[identity == number]
        mean = (rows / np.linalg.norm(rows, axis=1, keepdims=True)).mean(0)
        center = centers[number] / np.linalg.norm(centers[number])
        np.testing.assert_allclose(center, mean / np.linalg.norm(mean), atol=1e-5)
    # As long as random ones, within what is random in their lengths.
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), length, rtol=0.3)


def test_several_centers_a_class_are_refused(tmp_path):
    faces = stored(tmp_path / "set", count=10)
    shapes = {"embedding_size": 16, "input_shape": (32, 32, 3)}
    model = build_recognizer("plain_small", faces.num_identities, head="subcenter_arcface", **shapes)
    with pytest.raises(InputError, match="this head has several: start it at random"):
        start_at_class_means(model, faces, seed=0)
