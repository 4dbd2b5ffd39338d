import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.images.decoding import resize_images
from ddl_tf.models.image_size import image_size


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_sum_of_the_image_and_its_mirror_image(tiny_model, pictures, two_replicas):
    encoded, pixels = pictures
    plain = tiny_model(pixels.astype(np.float32), training=False).numpy()
    mirrored = tiny_model(pixels[:, :, ::-1].astype(np.float32), training=False).numpy()
    for batch_size in (4, 64):
        flipped = embed_images(tiny_model, encoded, batch_size=batch_size)
        np.testing.assert_allclose(flipped, _unit(plain + mirrored), atol=1e-5)
        alone = embed_images(tiny_model, encoded, flip=False, batch_size=batch_size)
        np.testing.assert_allclose(alone, _unit(plain), atol=1e-5)
        assert np.abs(alone - flipped).max() > 0.01
    with two_replicas.scope():
        replicated = tf.keras.models.clone_model(tiny_model)
    replicated.set_weights(tiny_model.get_weights())
    np.testing.assert_allclose(embed_images(replicated, encoded, batch_size=4), flipped, atol=1e-5)


class Images(list):
    """Counts what is read; one image is missing."""

    def __init__(self, images, missing=None):
        super().__init__(images)
        self.missing, self.read = missing, []

    def __getitem__(self, index):
        if index == self.missing:
            raise FileNotFoundError(2, "No such file", f"face{index}.jpg")
        self.read.append(index)
        return super().__getitem__(index)


def test_reading(tiny_model, pictures, monkeypatch):
    """One image after the other; without a thread that tunes the data set, for which its end would wait."""
    predict, options, images = tiny_model.predict, [], Images(pictures[0])
    monkeypatch.setattr(tiny_model, "predict", lambda x, **how: options.append(x.options()) or predict(x, **how))
    embed_images(tiny_model, images)
    assert images.read == list(range(len(images)))
    assert options[0].autotune.enabled is False
    with pytest.raises(FileNotFoundError, match=r"face9\.jpg"):
        embed_images(tiny_model, Images(pictures[0], missing=9), batch_size=4)


def test_undecodable_image_is_named(tiny_model, pictures):
    for index, broken in ((0, b""), (13, b"\xff\xd8\xff\xe0 a JPEG's first bytes")):
        encoded = list(pictures[0])
        encoded[index] = broken
        with pytest.raises(InputError, match=f"^verification set lfw: image {index} .*{len(broken)} bytes") as error:
            embed_images(tiny_model, encoded, "lfw", batch_size=4)
        assert "\n" not in str(error.value)


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


def test_image_size(tiny_model):
    assert image_size(tiny_model) == (16, 16)
    any_size = tf.keras.Sequential([tf.keras.Input([None, None, 3]), tf.keras.layers.GlobalAveragePooling2D()])
    with pytest.raises(InputError, match=r"\(None, None, None, 3\): expected .* fixed size"):
        image_size(any_size)


def test_resize_leaves_the_size_alone_and_averages_otherwise(tiny_model):
    pixels = np.random.RandomState(1).randint(0, 256, [2, 12, 12, 3]).astype(np.uint8)
    np.testing.assert_array_equal(resize_images(pixels, (12, 12)), pixels.astype(np.float32))
    fine = np.indices([64, 64]).sum(axis=0)[:, :, np.newaxis] % 2 * 255 * np.ones(3)
    # A checkerboard of single pixels is grey from afar; without antialiasing it would stay black and white.
    np.testing.assert_allclose(resize_images(fine, (8, 8)), 127.5, atol=8)
    large = tf.io.encode_png(pixels[0]).numpy()
    resized = tf.image.resize(pixels[:1], [16, 16], antialias=True)
    expected = _unit(tiny_model(resized, training=False).numpy())
    np.testing.assert_allclose(embed_images(tiny_model, [large], flip=False), expected, atol=1e-5)
