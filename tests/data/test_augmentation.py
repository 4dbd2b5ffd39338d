import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage, optimize

from ddl_tf.common.errors import InputError
from ddl_tf.data import build_augmentation, render
from ddl_tf.data.settings import AugmentationSettings, strength_names

SIZE = 48


@pytest.fixture(scope="module")
def image():
    """A face, with detail and colour."""
    face, _ = render(identity=6, image=0, size=SIZE, hard=False)
    return face.astype(np.float32)


def build(flip=False, augment_probability=1.0, **settings):
    return build_augmentation(AugmentationSettings(flip, augment_probability=augment_probability, **settings))


def augmented(augment, image, rows, threads=4, group=-1):
    def to_row(row):
        return augment(tf.constant(image), tf.stack([tf.constant(5, tf.int64), row]), tf.constant(group, tf.int64))

    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    options = tf.data.Options()
    options.threading.private_threadpool_size = threads
    dataset = dataset.map(to_row, num_parallel_calls=threads).with_options(options)
    return np.stack(list(dataset.as_numpy_iterator()))


def alone(kind, image, strength=1.0, rows=24):
    return augmented(build(**{f"augment_{kind}": strength}), image, range(rows))


def test_flip_mirrors_half_of_the_images_and_nothing_else(image):
    images = augmented(build(flip=True), image, range(200))
    same = np.all(images == image, axis=(1, 2, 3))
    mirrored = np.all(images == image[:, ::-1], axis=(1, 2, 3))
    assert np.all(same ^ mirrored)
    assert 60 < mirrored.sum() < 140


def test_a_row_follows_from_its_seed_in_any_order_and_number_of_threads(image):
    # RandAugment, which takes long to trace, has its turn below.
    kinds = [name for name in strength_names() if name != "augment_randaugment"]
    augment, rows = build(flip=True, augment_probability=0.7, **dict.fromkeys(kinds, 0.5)), list(range(30))
    images = augmented(augment, image, rows, 1)
    np.testing.assert_array_equal(images, augmented(augment, image, rows[::-1], 4)[::-1])
    assert len({picture.tobytes() for picture in images}) == len(rows)
    assert images.shape == (30, SIZE, SIZE, 3)


def detail(images, image):
    return np.mean(np.diff(images, 2, axis=1) ** 2) + np.mean(np.diff(images, 2, axis=2) ** 2)


def error(images, image):
    return np.mean((images - image) ** 2)


def covered(images, image):
    return np.any(images != image, axis=-1).mean()


def colourfulness(images, image):
    return np.ptp(images, axis=-1).mean()


def shade(images, image):
    return np.abs(images.mean((1, 2)) - image.mean((0, 1))).mean()


# What grows (1) or falls (-1) with the strength of each kind.
MEASURES = {
    "crop": (error, 1),
    "randaugment": (error, 1),
    "occlusion": (covered, 1),
    "colour": (shade, 1),
    "grey": (colourfulness, -1),
    "blur": (detail, -1),
    "resolution": (detail, -1),
    "compression": (error, 1),
}


@pytest.mark.parametrize("kind", [name[len("augment_") :] for name in strength_names()])
def test_the_change_grows_with_the_strength_in_the_range_and_any_precision(image, kind):
    measure, sign = MEASURES[kind]
    augment = build(**{f"augment_{kind}": 1.0})
    weak, strong = alone(kind, image, 0.2), augmented(augment, image, range(24))
    assert sign * measure(image[np.newaxis], image) <= sign * measure(weak, image) < sign * measure(strong, image)
    assert strong.dtype == np.float32
    # Each image has an amount of its own, as far as there are as many pixels or qualities.
    assert len({picture.tobytes() for picture in strong}) > 12
    noise = np.random.default_rng(0).uniform(0, 255, [SIZE, SIZE, 3])
    images = augmented(augment, (255 * (noise > 128)).astype(np.float32), range(8))
    assert np.all((images >= 0) & (images <= 255))
    # The precision of a run is not that of the images.
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        again = augmented(build(**{f"augment_{kind}": 1.0}), image, range(24)[::-1])[::-1]
        assert tf.keras.mixed_precision.global_policy().name == "mixed_float16"
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    np.testing.assert_array_equal(again, strong)


def test_grey_blends_with_the_luma(image):
    luma = image @ np.array([0.2989, 0.587, 0.114])
    difference = luma[..., np.newaxis] - image
    shares = []
    for picture in alone("grey", image, 0.8, rows=60):
        shares.append(np.sum((picture - image) * difference) / np.sum(difference**2))
        np.testing.assert_allclose(picture, image + shares[-1] * difference, atol=0.02)
    assert 0 <= min(shares) < 0.1
    assert 0.7 < max(shares) <= 0.8


def resize_matrix(source, target):
    """Bilinear weights, each row of a target pixel; going down the triangle is as wide as the pixel."""
    scale = source / target
    width = max(scale, 1.0)
    weights = np.zeros([target, source])
    for row in range(target):
        for column in range(source):
            distance = abs(column + 0.5 - (row + 0.5) * scale) / width
            weights[row, column] = max(0.0, 1 - distance)
    return weights / weights.sum(1, keepdims=True)


def test_resolution_is_lost_as_by_a_plain_resize_down_and_up(image):
    candidates = []
    for side in range(1, SIZE + 1):
        both = resize_matrix(side, SIZE) @ resize_matrix(SIZE, side)
        candidates.append(np.einsum("ij,jkc,lk->ilc", both, image, both, optimize=True))
    sides = []
    for picture in alone("resolution", image, rows=60):
        errors = [np.abs(picture - candidate).max() for candidate in candidates]
        sides.append(1 + int(np.argmin(errors)))
        assert min(errors) < 0.1
    # 1/14 of 48 pixels; of the halvings each is as likely as another.
    assert min(sides) in (3, 4)
    assert max(sides) > 40
    np.testing.assert_allclose(np.mean(np.log(sides)), np.log(48 / np.sqrt(14)), atol=0.25)


def test_blur_is_a_gaussian(image):
    radius = int(np.ceil(3 * 0.03 * SIZE))

    def naive(deviation):
        return ndimage.gaussian_filter(image, (deviation, deviation, 0), mode="reflect", truncate=radius / deviation)

    deviations = []
    for blurred in alone("blur", image, rows=10):
        best = optimize.minimize_scalar(
            lambda deviation, blurred=blurred: np.mean((naive(deviation) - blurred) ** 2),
            bounds=(0.05, 2.0),
            method="bounded",
            options={"xatol": 1e-6},
        )
        np.testing.assert_allclose(blurred, naive(best.x), atol=0.1)
        deviations.append(best.x)
    assert max(deviations) <= 0.03 * SIZE + 1e-3


def test_compression_is_that_of_another_jpeg_library(image):
    candidates = {}
    for quality in range(10, 101):
        encoded = io.BytesIO()
        Image.fromarray(image.astype(np.uint8)).save(encoded, "JPEG", quality=quality)
        candidates[quality] = np.asarray(Image.open(encoded), np.float32)
    qualities = []
    for picture in alone("compression", image, rows=40):
        errors = {quality: np.abs(picture - candidate).mean() for quality, candidate in candidates.items()}
        qualities.append(min(errors, key=errors.get))
        # TensorFlow takes the quicker and less exact of two transforms.
        assert min(errors.values()) < 1.5
    assert min(qualities) < 15
    assert max(qualities) > 85


def test_occlusion_is_a_rectangle_of_one_colour(image):
    colours = []
    for picture in alone("occlusion", image, 0.6, rows=40):
        changed = np.any(picture != image, axis=-1)
        if not changed.any():
            continue
        rows, columns = np.flatnonzero(changed.any(1)), np.flatnonzero(changed.any(0))
        rectangle = picture[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
        assert np.all(rectangle == rectangle[0, 0])
        assert max(rectangle.shape) <= 0.7 * 0.6 * SIZE + 1
        colours.append(tuple(rectangle[0, 0]))
    assert len(set(colours)) == len(colours) > 30


def test_crop_scales_and_shifts(image):
    # The place of every pixel as its colour, and a third channel that tells the image from what is around it.
    place = np.linspace(50, 200, SIZE)
    marked = np.stack([*np.meshgrid(place, place), np.full([SIZE, SIZE], 255.0)], -1).astype(np.float32)
    zooms, edges = [], 0
    for picture in alone("crop", marked, rows=60):
        inside = picture[..., 2] > 254.9
        edges += not inside.all()
        for channel, axis in ((0, 1), (1, 0)):
            steps = np.diff(picture[..., channel], axis=axis)
            both = (inside[:, 1:] & inside[:, :-1]) if axis else (inside[1:] & inside[:-1])
            zooms.append(np.median(steps[both]) / (place[1] - place[0]))
            np.testing.assert_allclose(steps[both], np.median(steps[both]), atol=0.01)
    # From half of the area (and an aspect of up to 1.2) to a margin of 0.1 on each side.
    assert np.sqrt(0.5 / 1.2) - 0.02 < min(zooms) < 0.75
    assert 1.1 < max(zooms) < 1.23
    assert 10 < edges < 60


def test_off_gives_the_image_itself(image):
    tensor = tf.constant(image)
    assert build()(tensor, tf.constant([0, 0])) is tensor
    nobody = build(augment_probability=0.0, augment_blur=1.0, augment_grey=1.0)
    np.testing.assert_array_equal(augmented(nobody, image, range(20)), [image] * 20)


def test_a_kind_draws_the_same_beside_others(image):
    grey = alone("grey", image)
    both = augmented(build(flip=True, augment_grey=1.0), image, range(24))
    mirrored = np.array([not np.allclose(a, b, atol=0.01) for a, b in zip(both, grey)])
    assert 4 < mirrored.sum() < 20
    np.testing.assert_allclose(both[mirrored], grey[mirrored][:, :, ::-1], atol=0.01)


def test_each_kind_touches_its_share(image):
    augment = build(augment_probability=0.3, augment_grey=1.0, augment_occlusion=1.0)
    images = augmented(augment, image, range(300))
    # The corners of a face are coloured background, and nearly never in the rectangle.
    both_channels = np.ptp(images[:, 0, 0], axis=-1) - np.ptp(image[0, 0])
    touched = np.any(images != image, axis=(1, 2, 3))
    assert 60 < (np.abs(both_channels) > 0.01).sum() < 120
    assert 120 < touched.sum() < 185


def test_a_bad_setting_is_named():
    shares = [(name, value) for name in (*strength_names(), "augment_probability") for value in (-0.1, 1.5, np.nan)]
    messages = {share: f"--{share[0]} must be from 0 to 1, got {share[1]}" for share in shares}
    messages["augment_groups", (0, -2)] = "--augment_groups: there is no group -2"
    for (name, value), message in messages.items():
        with pytest.raises(InputError, match=message):
            AugmentationSettings(**{name: value})
