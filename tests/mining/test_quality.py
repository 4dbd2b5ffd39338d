import io
import itertools
import math

import numpy as np
import pandas as pd
import pytest
from PIL import Image, ImageFilter
from scipy.stats import spearmanr

from ddl_tf.importers.recordio import recordio_source
from ddl_tf.mining.degradation import degrade_image, parse_degradation
from ddl_tf.mining.quality import QUALITY_COLUMNS, measure_many, measure_quality, native_resolution
from ddl_tf.synthetic.faces import render
from ddl_tf.synthetic.shots import plan_shots


def encoded(pixels, image_format="PNG"):
    out = io.BytesIO()
    Image.fromarray(np.asarray(pixels, np.uint8)).save(out, image_format)
    return out.getvalue()


def refuse(position, reason):
    raise AssertionError(f"image {position}: {reason}")


@pytest.fixture(scope="module")
def faces():
    """Easy faces of 112 px."""
    return [shot.draw().image for shot in plan_shots(range(30), 1, 0, 112, 0.0)]


def naive_native_resolution(grey):
    """Reconstruct the image from ever more cosines, until little enough is lost."""
    height, width = grey.shape
    longer = max(height, width)
    waves = {}
    for v in range(height):
        for u in range(width):
            down = [math.cos(math.pi * v * (y + 0.5) / height) for y in range(height)]
            across = [math.cos(math.pi * u * (x + 0.5) / width) for x in range(width)]
            wave = np.outer(down, across)
            wave /= np.sqrt((wave**2).sum())
            waves[v, u] = wave, (grey * wave).sum()
    corner = [amplitude**2 for (v, u), (_, amplitude) in waves.items() if v >= 3 * height // 4 and u >= 3 * width // 4]
    noise = np.mean(corner)

    def lost(side):
        kept, left_out = np.zeros_like(grey), 0
        for (v, u), (wave, amplitude) in waves.items():
            if min(longer * math.hypot(v / height, u / width), longer - 1) < side:
                kept += amplitude * wave
            else:
                left_out += 1
        return ((grey - kept) ** 2).sum() - noise * left_out

    allowed = 0.003 * (lost(1)) + 0.25 * height * width
    for side in range(1, longer + 1):
        if lost(side) <= allowed:
            more = lost(side - 1) if side > 1 else lost(1)
            return side - (allowed - lost(side)) / (more - lost(side))
    raise AssertionError("an image with all its pixels loses nothing")


def test_native_resolution_is_that_of_the_naive_twin():
    shape, rng = (10, 14), np.random.default_rng(3)
    grey = np.asarray(Image.fromarray(rng.integers(0, 256, (6, 6), np.uint8)).resize(shape[::-1], 3), float)
    grey += rng.normal(0, 3, shape)
    measured = native_resolution(grey)
    assert 2 < measured < max(shape) - 1
    assert measured == pytest.approx(naive_native_resolution(grey), rel=1e-3)


@pytest.mark.parametrize("condition", ["", "+jpeg:50", "+noise:5+light:0.5"])
def test_measured_resolution_follows_the_true_one(faces, condition):
    true = np.tile([8, 12, 16, 24, 32, 48, 64, 80, 96, 112], 3)
    copies = [
        degrade_image(face, parse_degradation(f"resolution:{side}{condition}"), np.random.default_rng(row))[0]
        for row, (face, side) in enumerate(zip(faces, true))
    ]
    measured = pd.DataFrame(measure_many(copies, refuse))["measured_resolution_px"]
    # Over 1,000 images it is 0.98 to 0.99, and a ratio of 1.0 to 1.2 (`benchmarks/measures.py`).
    assert spearmanr(measured, true).statistic > 0.96
    assert 0.9 < np.median(measured / true) < 1.25


def test_measures_agree_with_those_beside_celeba(real_faces):
    source = recordio_source(str(real_faces / "celeba" / "train.rec"), str(real_faces / "celeba" / "train.csv"))
    samples = list(itertools.islice(source.read(0), 0, None, 60))
    truth = pd.DataFrame([sample.columns for sample in samples])
    measured = pd.DataFrame(measure_many([sample.image for sample in samples], refuse))
    # Of all 15,980: 0.999, 0.993 and 0.765.
    for name, column, least in (
        ("measured_brightness", "luminance", 0.995),
        ("measured_sharpness", "laplacian_variance", 0.98),
        ("measured_resolution_px", "eye_distance_px", 0.7),
    ):
        assert spearmanr(measured[name], truth[column]).statistic > least, name


def test_sharpness_brightness_and_contrast_are_those_of_the_naive_twin():
    pixels = render(2, 0)[0]
    values = measure_quality(encoded(pixels))
    grey = np.asarray(Image.fromarray(pixels).convert("L"), float)[16:96, 16:96]
    laplacian = np.zeros_like(grey)
    for y in range(80):
        for x in range(80):
            near = [(y - 1, x), (y + 1, x), (y, x - 1), (y, x + 1)]
            around = [grey[min(max(v, 0), 79), min(max(u, 0), 79)] for v, u in near]
            laplacian[y, x] = sum(around) - 4 * grey[y, x]
    assert values["measured_sharpness"] == pytest.approx(laplacian.var(), rel=1e-4)
    assert values["measured_brightness"] == pytest.approx(grey.mean(), rel=1e-4)
    assert values["measured_contrast"] == pytest.approx(grey.std(), rel=1e-4)
    assert values["measured_image_px"] == 112


def test_sharpness_is_measured_at_a_common_size():
    face = Image.fromarray(render(2, 0, size=224)[0])
    small = face.resize((112, 112), Image.Resampling.BICUBIC)
    large, half = (measure_quality(encoded(image)) for image in (face, small))
    assert large["measured_sharpness"] == pytest.approx(half["measured_sharpness"], rel=0.02)
    assert (large["measured_image_px"], half["measured_image_px"]) == (224, 112)
    blurred = measure_quality(encoded(face.filter(ImageFilter.GaussianBlur(4))))
    assert blurred["measured_sharpness"] < 0.1 * large["measured_sharpness"]
    assert blurred["measured_resolution_px"] < 0.5 * large["measured_resolution_px"]


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 3), (112, 80), (5, 5, 3), (20, 10, 4)])
def test_every_shape_has_finite_measures(shape):
    pixels = np.random.default_rng(0).integers(0, 256, shape)
    values = measure_quality(encoded(pixels))
    assert tuple(values) == QUALITY_COLUMNS
    assert np.isfinite(list(values.values())).all()
    assert 1 <= values["measured_resolution_px"] <= max(shape[:2]) == values["measured_image_px"]


def test_an_image_of_one_colour_has_no_content():
    values = measure_quality(encoded(np.full((112, 112, 3), 90)))
    assert list(values.values()) == [112, 1, 0, 90, 0]


def test_undecodable_images_are_nan_and_reported(faces):
    reported = []
    images = [faces[0], b"no image", faces[1], b"", *faces]
    measured = pd.DataFrame(measure_many(iter(images), lambda position, reason: reported.append((position, reason))))
    assert reported == [(1, "it is no image"), (3, "it is empty")]
    assert list(np.flatnonzero(measured.isna().all(axis=1))) == [1, 3]
    assert list(measured.columns) == list(QUALITY_COLUMNS)
    pd.testing.assert_frame_equal(
        measured.drop([1, 3]).reset_index(drop=True),
        pd.DataFrame([measure_quality(image) for image in [faces[0], faces[1], *faces]]),
    )
