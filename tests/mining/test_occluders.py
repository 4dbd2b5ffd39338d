import numpy as np
import pytest

from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.mining import occluders

LEFT_EYE, RIGHT_EYE, NOSE, LEFT_MOUTH, RIGHT_MOUTH = ARCFACE_TEMPLATE.round().astype(int)


def at(hidden, point):
    return hidden[point[1], point[0]]


def test_a_mask_hides_mouth_and_nose_and_leaves_the_eyes():
    hidden, pleats = occluders.surgical_mask(112, 112, 1.0)
    for point in (NOSE, LEFT_MOUTH, RIGHT_MOUTH, (56, 105)):
        assert at(hidden, point) == 1
    for point in (LEFT_EYE, RIGHT_EYE, (56, 30)):
        assert at(hidden, point) == 0
    assert 0.2 < hidden.mean() < 0.4
    assert pleats.min() == pytest.approx(0.78)
    assert pleats.max() == 1


def test_a_mask_worn_low_leaves_the_nose():
    low, _ = occluders.surgical_mask(112, 112, 0.1)
    assert at(low, NOSE) == 0
    assert at(low, LEFT_MOUTH) == at(low, RIGHT_MOUTH) == 1
    shares = [occluders.surgical_mask(112, 112, strength)[0].mean() for strength in (0.1, 0.4, 0.7, 1.0)]
    assert np.all(np.diff(shares) > 0.01)


def test_sunglasses_hide_the_eyes_by_their_strength():
    dark, light = occluders.sunglasses(112, 112, 1.0), occluders.sunglasses(112, 112, 0.4)
    for point in (LEFT_EYE, RIGHT_EYE):
        assert at(dark, point) == 1
        assert at(light, point) == pytest.approx(0.4)
    for point in (LEFT_MOUTH, RIGHT_MOUTH, NOSE, (56, 20)):
        assert at(dark, point) == 0
    # The frame is as solid in both.
    assert (light == 1).sum() > 50


@pytest.mark.parametrize("size", [(56, 56), (112, 112), (250, 200)])
def test_shapes_scale_with_the_image(size):
    mask, _ = occluders.surgical_mask(*size, 1.0)
    glasses = occluders.sunglasses(*size, 1.0)
    assert mask.shape == glasses.shape == size
    assert mask.mean() == pytest.approx(occluders.surgical_mask(112, 112, 1.0)[0].mean(), abs=0.01)
    assert glasses.mean() == pytest.approx(occluders.sunglasses(112, 112, 1.0).mean(), abs=0.01)


@pytest.mark.parametrize("draw", [occluders.bar, occluders.patch])
@pytest.mark.parametrize("share", [0.0, 0.05, 0.7, 1.0])
def test_bars_and_patches_hide_their_share(draw, share):
    places = []
    for seed in range(8):
        hidden = draw(96, 128, share, np.random.default_rng(seed))
        assert hidden.shape == (96, 128)
        assert hidden.min() >= 0
        assert hidden.max() <= 1
        assert hidden.mean() == pytest.approx(share, abs=0.012)
        places.append(hidden)
    if 0 < share < 1:
        assert np.std(places, axis=0).max() > 0.2


def test_a_patch_is_a_rectangle():
    hidden = occluders.patch(100, 100, 0.25, np.random.default_rng(0))
    rows, columns = hidden.max(1), hidden.max(0)
    np.testing.assert_allclose(hidden, np.outer(rows, columns), atol=1e-6)
