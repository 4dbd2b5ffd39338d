import numpy as np
import pytest
import tensorflow as tf
from scipy import stats

from ddl_tf.common.keras_cv_import import import_keras_cv
from ddl_tf.data.degradations import RowRandom, resolution, seed_by_row

core, layers = import_keras_cv().core, import_keras_cv().layers
IMAGE = np.random.default_rng(0).uniform(0, 255, [16, 16, 3]).astype(np.float32)


def random(row=0):
    return RowRandom(tf.constant([3, row]))


def test_draws_follow_from_the_seed_and_their_number():
    row, again, another_row = random(), random(), random(1)
    first, second = row.uniform([5]), row.uniform([5])
    np.testing.assert_array_equal(again.uniform([5]), first)
    np.testing.assert_array_equal(again.uniform([5]), second)
    assert not np.allclose(first, second)
    assert not np.allclose(first, another_row.uniform([5]))
    assert set(row.uniform([1000], 3, 6, tf.int32).numpy()) == {3, 4, 5}


def test_every_halving_is_as_likely_as_another():
    row = random()
    drawn = [row.geometric(100.0, 10.0).numpy() for _ in range(300)]
    assert stats.kstest(drawn, stats.loguniform(10, 100).cdf).pvalue > 0.01


@pytest.mark.parametrize(
    ("sampler", "distribution"),
    [
        (core.UniformFactorSampler(0.2, 0.7), stats.uniform(0.2, 0.5)),
        (core.NormalFactorSampler(3.0, 0.5, -90.0, 90.0), stats.norm(3, 0.5)),
    ],
)
def test_factors_of_layers_have_their_distribution(sampler, distribution):
    drawn = seed_by_row(layers.RandomColorDegeneration(sampler), random()).factor([4000]).numpy()
    assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01


def test_a_normal_factor_stays_between_its_bounds():
    sampler = core.NormalFactorSampler(0.5, 1.0, 0.0, 1.0)
    drawn = seed_by_row(layers.RandomColorDegeneration(sampler), random()).factor([2000]).numpy()
    assert (drawn.min(), drawn.max()) == (0, 1)
    assert 0.25 < np.mean((drawn == 0) | (drawn == 1)) / 2 < 0.37


def test_layers_in_layers_draw_from_the_row_too():
    def make(row):
        tf.random.set_seed(row * 7 + tf.random.uniform((), 0, 100, tf.int32).numpy())
        return seed_by_row(layers.RandAugment((0, 255), magnitude=0.4), random(row))

    # Called as a layer is, without tracing: the draws of the branches that are taken.
    results = [[make(row)(tf.constant(IMAGE)).numpy() for row in (0, 1, 2)] for _ in range(2)]
    np.testing.assert_array_equal(*results)
    assert not np.allclose(results[0][0], results[0][1])
    layer = make(0)
    for module in (layer, *layer.submodules):
        assert isinstance(module._random_generator, RowRandom)
        samplers = [value for value in vars(module).values() if isinstance(value, core.FactorSampler)]
        assert all(isinstance(sampler, core.ConstantFactorSampler) for sampler in samplers)


def test_another_kind_of_factor_is_refused():
    class Other(core.FactorSampler):
        pass

    with pytest.raises(TypeError, match="Other"):
        seed_by_row(layers.RandomColorDegeneration(Other()), random())


def test_the_resolution_ends_at_one_pixel(monkeypatch):
    monkeypatch.setattr(RowRandom, "geometric", lambda *_: tf.constant(99.0))
    single = resolution(tf.constant(IMAGE), 1.0, random()).numpy()
    np.testing.assert_allclose(single, np.broadcast_to(single[0, 0], IMAGE.shape), atol=1e-3)
    monkeypatch.setattr(RowRandom, "geometric", lambda *_: tf.constant(1.0))
    np.testing.assert_allclose(resolution(tf.constant(IMAGE), 1.0, random()), IMAGE, atol=1e-3)
