import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.data.augmentation import build_augmentation
from ddl_tf.errors import InputError


@pytest.fixture(scope="module")
def image():
    """A smooth picture that is not symmetric, as photographs are."""
    x = np.linspace(0, 1, 40)
    return np.stack([np.outer(x, x), np.outer(x, 1 - x), np.outer(x**2, np.ones(40))], -1).astype(np.float32) * 200


def augmented(augment, image, rows, threads):
    def to_row(row):
        return augment(tf.constant(image), tf.stack([tf.constant(5, tf.int64), row]))

    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    return np.stack(list(dataset.map(to_row, num_parallel_calls=threads).as_numpy_iterator()))


def test_flip_mirrors_half_of_the_images_and_nothing_else(image):
    images = augmented(build_augmentation(), image, range(200), 4)
    same = np.all(images == image, axis=(1, 2, 3))
    mirrored = np.all(images == image[:, ::-1], axis=(1, 2, 3))
    assert np.all(same ^ mirrored)
    assert 60 < mirrored.sum() < 140


def test_a_row_follows_from_its_seed_in_any_order_and_number_of_threads(image):
    augment = build_augmentation(strength=1.0)
    rows = list(range(30))
    one = augmented(augment, image, rows, 1)
    np.testing.assert_array_equal(one, augmented(augment, image, rows[::-1], 4)[::-1])
    np.testing.assert_array_equal(one, augmented(build_augmentation(strength=1.0), image, rows, 4))
    assert len({picture.tobytes() for picture in one}) == len(rows)


def test_strength_grows_and_stays_in_range(image):
    changes = []
    for strength in (0.1, 0.5, 1.0):
        images = augmented(build_augmentation(flip=False, strength=strength), image, range(60), 4)
        assert images.shape[1:] == image.shape
        assert images.min() >= 0
        assert images.max() <= 255
        changes.append(np.abs(images - image).mean())
    assert 0 < changes[0] < changes[1] < changes[2]
    # The picture is still the same picture.
    assert np.corrcoef(images.mean(0).ravel(), image.ravel())[0, 1] > 0.9


def test_off_changes_nothing(image):
    np.testing.assert_array_equal(augmented(build_augmentation(flip=False), image, range(5), 2), [image] * 5)


@pytest.mark.parametrize("strength", [-0.1, 1.5])
def test_bad_strength_is_named(strength):
    with pytest.raises(InputError, match=str(strength)):
        build_augmentation(strength=strength)
