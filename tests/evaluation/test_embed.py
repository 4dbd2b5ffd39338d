from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.images.decoding import resize_images
from ddl_tf.importers.image_files import LazyImages


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_sum_of_the_image_and_its_mirror_image(tiny_model, pictures, two_replicas):
    encoded, pixels = pictures
    plain = tiny_model(pixels.astype(np.float32), training=False).numpy()
    mirrored = tiny_model(pixels[:, :, ::-1].astype(np.float32), training=False).numpy()
    for batch_size in (4, 64):
        flipped = embed_images(tiny_model, encoded, batch_size=batch_size)
        np.testing.assert_allclose(flipped, _unit(plain + mirrored), atol=1e-5)
    alone = embed_images(tiny_model, encoded, flip=False, batch_size=4)
    np.testing.assert_allclose(alone, _unit(plain), atol=1e-5)
    with two_replicas.scope():
        replicated = tf.keras.models.clone_model(tiny_model)
    replicated.set_weights(tiny_model.get_weights())
    np.testing.assert_allclose(embed_images(replicated, encoded, batch_size=4), flipped, atol=1e-5)


def test_resizing_averages(tiny_model):
    """A checkerboard of single pixels is grey from afar; without antialiasing it would stay black and white."""
    fine = np.indices([64, 64]).sum(axis=0)[:, :, np.newaxis] % 2 * 255 * np.ones(3)
    np.testing.assert_allclose(resize_images(fine, (8, 8)), 127.5, atol=8)
    other = np.random.RandomState(1).randint(0, 256, [1, 12, 12, 3]).astype(np.uint8)
    resized = tf.image.resize(other, [16, 16], antialias=True)
    rows = embed_images(tiny_model, [tf.io.encode_png(other[0]).numpy()], flip=False)
    np.testing.assert_allclose(rows, _unit(tiny_model(resized, training=False).numpy()), atol=1e-5)


def test_undecodable_and_unreadable_images_are_named(tiny_model, pictures):
    for index, broken in ((0, b""), (13, b"\xff\xd8\xff\xe0 a JPEG's first bytes")):
        encoded = list(pictures[0])
        encoded[index] = broken
        with pytest.raises(InputError, match=f"^verification set lfw: image {index} .*{len(broken)} bytes") as error:
            embed_images(tiny_model, encoded, "lfw", batch_size=4)
        assert "\n" not in str(error.value)
    missing = LazyImages(21, lambda n: Path("face9.jpg").read_bytes() if n == 9 else pictures[0][n], str)
    with pytest.raises(FileNotFoundError, match=r"face9\.jpg"):
        embed_images(tiny_model, missing, batch_size=4)


def test_not_finite_and_zero_embeddings(tiny_model, pictures):
    broken = tf.keras.models.clone_model(tiny_model)
    broken.set_weights([np.full_like(weights, np.nan) for weights in tiny_model.get_weights()])
    with pytest.raises(InputError, match=r"set cfp_ff: .*image 0 is not finite \(21 of 21"):
        embed_images(broken, pictures[0], "cfp_ff")
    broken.set_weights([np.zeros_like(weights) for weights in tiny_model.get_weights()])
    np.testing.assert_array_equal(embed_images(broken, pictures[0]), np.zeros([21, 8]))
    assert embed_images(tiny_model, []).shape == (0, 8)
    with pytest.raises(InputError, match="batch_size=0"):
        embed_images(tiny_model, pictures[0], batch_size=0)
