import io

import numpy as np
import pytest
import tensorflow as tf
from PIL import Image
from scipy import ndimage, optimize, stats

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_cv_import import import_keras_cv
from ddl_tf.common.keras_version import all_layers
from ddl_tf.data import build_augmentation, render
from ddl_tf.data.degradations import RowRandom, resolution, seed_by_row
from ddl_tf.data.settings import AugmentationSettings, strength_names

SIZE = 48


@pytest.fixture(scope="module")
def image():
    """A face, with detail and colour."""
    face, _ = render(identity=6, image=0, size=SIZE, hard=False)
    return face.astype(np.float32)


def build(flip=False, augment_probability=1.0, **settings):
    return build_augmentation(AugmentationSettings(flip, augment_probability=augment_probability, **settings))


def augmented(augment, image, rows):
    dataset = tf.data.Dataset.from_tensor_slices(np.asarray(rows, np.int64))
    dataset = dataset.map(lambda row: augment(tf.constant(image), tf.stack([np.int64(5), row])), num_parallel_calls=4)
    return np.stack(list(dataset.as_numpy_iterator()))


def alone(kind, image, strength=1.0, rows=24):
    return augmented(build(**{f"augment_{kind}": strength}), image, range(rows))


# What grows (1) or falls (-1) with the strength of each kind.
MEASURES = {
    **dict.fromkeys(["crop", "randaugment", "compression"], (lambda images, image: np.mean((images - image) ** 2), 1)),
    "occlusion": (lambda images, image: np.any(images != image, axis=-1).mean(), 1),
    "colour": (lambda images, image: np.abs(images.mean((1, 2)) - image.mean((0, 1))).mean(), 1),
    "grey": (lambda images, image: np.ptp(images, axis=-1).mean(), -1),
    # Detail.
    **dict.fromkeys(["blur", "resolution"], (lambda images, _: np.mean(np.diff(images, 2, axis=1) ** 2), -1)),
}


@pytest.mark.parametrize("kind", MEASURES)
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
    middles = (np.arange(target) + 0.5) * scale
    weights = np.maximum(1 - np.abs(np.arange(source) + 0.5 - middles[:, np.newaxis]) / width, 0)
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
        error = lambda deviation, blurred=blurred: np.mean((naive(deviation) - blurred) ** 2)  # noqa: E731
        deviations.append(optimize.minimize_scalar(error, bounds=(0.05, 2.0), options={"xatol": 1e-6}).x)
        np.testing.assert_allclose(blurred, naive(deviations[-1]), atol=0.1)
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


def test_flip_mirrors_half_of_the_images_and_a_kind_draws_the_same_beside_it(image):
    grey = alone("grey", image)
    both = augmented(build(flip=True, augment_grey=1.0), image, range(24))
    mirrored = np.array([not np.allclose(a, b, atol=0.01) for a, b in zip(both, grey)])
    assert 4 < mirrored.sum() < 20
    np.testing.assert_allclose(both[mirrored], grey[mirrored][:, :, ::-1], atol=0.01)
    # Without any, it is the image itself.
    tensor = tf.constant(image)
    assert build()(tensor, tf.constant([0, 0])) is tensor


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


core, layers = import_keras_cv().core, import_keras_cv().layers
IMAGE = np.random.default_rng(0).uniform(0, 255, [16, 16, 3]).astype(np.float32)


def random(row=0):
    return RowRandom(tf.constant([3, row]))


def test_draws_have_their_distribution():
    def drawn(sampler, count):
        return seed_by_row(layers.RandomColorDegeneration(sampler), random()).factor([count]).numpy()

    row = random()
    for numbers, distribution in (
        # Every halving is as likely as another.
        ([row.geometric(100.0, 10.0).numpy() for _ in range(300)], stats.loguniform(10, 100)),
        (drawn(core.UniformFactorSampler(0.2, 0.7), 4000), stats.uniform(0.2, 0.5)),
        (drawn(core.NormalFactorSampler(3.0, 0.5, -90.0, 90.0), 4000), stats.norm(3, 0.5)),
    ):
        assert stats.kstest(numbers, distribution.cdf).pvalue > 0.01
    bounded = drawn(core.NormalFactorSampler(0.5, 1.0, 0.0, 1.0), 2000)
    assert (bounded.min(), bounded.max()) == (0, 1)
    assert 0.25 < np.mean((bounded == 0) | (bounded == 1)) / 2 < 0.37
    with pytest.raises(TypeError, match="Other"):
        drawn(type("Other", (core.FactorSampler,), {})(), 1)


def test_layers_in_layers_draw_from_the_row_too():
    def make(row):
        tf.random.set_seed(row * 7 + tf.random.uniform((), 0, 100, tf.int32).numpy())
        return seed_by_row(layers.RandAugment((0, 255), magnitude=0.4), random(row))

    # Called as a layer is, without tracing: the draws of the branches that are taken.
    results = [[make(row)(tf.constant(IMAGE)).numpy() for row in (0, 1, 2)] for _ in range(2)]
    np.testing.assert_array_equal(*results)
    assert not np.allclose(results[0][0], results[0][1])
    layer = make(0)
    for module in (layer, *all_layers(layer)):
        assert isinstance(module._random_generator, RowRandom)
        samplers = [value for value in vars(module).values() if isinstance(value, core.FactorSampler)]
        assert all(isinstance(sampler, core.ConstantFactorSampler) for sampler in samplers)


def test_the_resolution_ends_at_one_pixel(monkeypatch):
    monkeypatch.setattr(RowRandom, "geometric", lambda *_: tf.constant(99.0))
    single = resolution(tf.constant(IMAGE), 1.0, random()).numpy()
    np.testing.assert_allclose(single, np.broadcast_to(single[0, 0], IMAGE.shape), atol=1e-3)
    monkeypatch.setattr(RowRandom, "geometric", lambda *_: tf.constant(1.0))
    np.testing.assert_allclose(resolution(tf.constant(IMAGE), 1.0, random()), IMAGE, atol=1e-3)
