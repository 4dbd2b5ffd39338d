import numpy as np
import pytest

from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.mining.occluders import bar, patch, sunglasses, surgical_mask

LEFT_EYE, RIGHT_EYE, NOSE, LEFT_MOUTH, RIGHT_MOUTH = ARCFACE_TEMPLATE.round().astype(int)


def at(hidden, *points):
    return [hidden[y, x] for x, y in points]


def test_a_mask_hides_mouth_and_nose_and_leaves_the_eyes():
    hidden, pleats = surgical_mask(112, 112, 1.0)
    assert at(hidden, NOSE, LEFT_MOUTH, RIGHT_MOUTH, (56, 105)) == [1] * 4
    assert at(hidden, LEFT_EYE, RIGHT_EYE, (56, 30)) == [0] * 3
    assert 0.2 < hidden.mean() < 0.4
    assert (pleats.min(), pleats.max()) == (pytest.approx(0.78), 1)
    assert at(surgical_mask(112, 112, 0.1)[0], NOSE, LEFT_MOUTH, RIGHT_MOUTH) == [0, 1, 1]
    shares = [surgical_mask(112, 112, strength)[0].mean() for strength in (0.1, 0.4, 0.7, 1.0)]
    assert np.all(np.diff(shares) > 0.01)


def test_sunglasses_hide_the_eyes_by_their_strength():
    dark, light = sunglasses(112, 112, 1.0), sunglasses(112, 112, 0.4)
    assert at(dark, LEFT_EYE, RIGHT_EYE, LEFT_MOUTH, RIGHT_MOUTH, NOSE, (56, 20)) == [1, 1, 0, 0, 0, 0]
    assert at(light, LEFT_EYE, RIGHT_EYE) == pytest.approx([0.4, 0.4])
    # The frame is as solid in both.
    assert (light == 1).sum() > 50
    for size in ((56, 56), (250, 200)):
        mask, glasses = surgical_mask(*size, 1.0)[0], sunglasses(*size, 1.0)
        assert mask.shape == glasses.shape == size
        assert mask.mean() == pytest.approx(surgical_mask(112, 112, 1.0)[0].mean(), abs=0.01)
        assert glasses.mean() == pytest.approx(dark.mean(), abs=0.01)


@pytest.mark.parametrize("draw", [bar, patch])
def test_bars_and_patches_hide_their_share(draw):
    for share in (0.0, 0.05, 0.7, 1.0):
        drawn = np.stack([draw(96, 128, share, np.random.default_rng(seed)) for seed in range(8)])
        assert drawn.shape == (8, 96, 128)
        assert 0 <= drawn.min() <= drawn.max() <= 1
        np.testing.assert_allclose(drawn.mean((1, 2)), share, atol=0.012)
        assert share in (0, 1) or np.std(drawn, axis=0).max() > 0.2
    # A patch is a rectangle.
    hidden = patch(100, 100, 0.25, np.random.default_rng(0))
    np.testing.assert_allclose(hidden, np.outer(hidden.max(1), hidden.max(0)), atol=1e-6)
