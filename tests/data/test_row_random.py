import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_config
from scipy import stats

from ddl_tf.data.degradations import RandomResolution, layers
from ddl_tf.data.row_random import RowFactor, RowRandom, core, geometric, seed_by_row, uniform

IMAGE = np.random.default_rng(0).uniform(0, 255, [16, 16, 3]).astype(np.float32)


def random(row=0):
    return RowRandom(tf.constant([3, row]))


def test_draws_follow_from_the_seed_and_their_number():
    one, again, other = random(), random(), random(1)
    first, second = one.uniform([5]), one.uniform([5])
    np.testing.assert_array_equal(again.uniform([5]), first)
    np.testing.assert_array_equal(again.uniform([5]), second)
    assert not np.allclose(first, second)
    assert not np.allclose(first, other.uniform([5]))
    whole = one.uniform([1000], 3, 6, tf.int32).numpy()
    assert set(whole) == {3, 4, 5}


@pytest.mark.parametrize(
    ("factor", "distribution"),
    [
        (lambda r: uniform(r, -2.0, 4.0), stats.uniform(-2, 6)),
        (lambda r: geometric(r, 100.0, 10.0), stats.loguniform(10, 100)),
        (lambda r: geometric(r, 1.0, 14.0), stats.loguniform(1, 14)),
        (lambda r: seeded(core.UniformFactorSampler(0.2, 0.7), r), stats.uniform(0.2, 0.5)),
        (lambda r: seeded(core.NormalFactorSampler(3.0, 0.5, -90.0, 90.0), r), stats.norm(3, 0.5)),
    ],
)
def test_factors_have_their_distribution(factor, distribution):
    drawn = factor(random())([4000]).numpy()
    assert stats.kstest(drawn, distribution.cdf).pvalue > 0.01


def seeded(sampler, row_random):
    layer = RandomResolution(sampler)
    return seed_by_row(layer, row_random).reduction


def test_a_normal_factor_stays_between_its_bounds():
    drawn = seeded(core.NormalFactorSampler(0.5, 1.0, 0.0, 1.0), random())([2000]).numpy()
    assert drawn.min() == 0
    assert drawn.max() == 1
    assert 0.25 < np.mean((drawn == 0) | (drawn == 1)) / 2 < 0.37


def test_layers_in_layers_draw_from_the_row_too():
    def make(row):
        tf.random.set_seed(row * 7 + tf.random.uniform((), 0, 100, tf.int32).numpy())
        return seed_by_row(layers.RandAugment((0, 255), magnitude=0.4), random(row))

    # Called as a layer is, without tracing: the draws of the branches that are taken.
    results = [[make(row)(tf.constant(IMAGE)).numpy() for row in (0, 1, 2, 3)] for _ in range(2)]
    np.testing.assert_array_equal(*results)
    assert not np.allclose(results[0][0], results[0][1])
    for module in (make(0), *make(0).submodules):
        assert isinstance(module._random_generator, RowRandom)
        samplers = [value for value in vars(module).values() if isinstance(value, core.FactorSampler)]
        assert all(isinstance(sampler, (RowFactor, core.ConstantFactorSampler)) for sampler in samplers)


def test_another_kind_of_factor_is_refused():
    class Other(core.FactorSampler):
        pass

    with pytest.raises(TypeError, match="Other"):
        seed_by_row(RandomResolution(Other()), random())


def test_resolution_is_a_keras_layer():
    check_config(RandomResolution(core.UniformFactorSampler(1.0, 4.0)))
    same = RandomResolution(core.ConstantFactorSampler(1.0))
    np.testing.assert_allclose(same(IMAGE), IMAGE, atol=1e-3)
    # More than there is: one pixel remains.
    single = RandomResolution(core.ConstantFactorSampler(99.0))(IMAGE).numpy()
    np.testing.assert_allclose(single, np.broadcast_to(single[0, 0], IMAGE.shape), atol=1e-3)
    batch = RandomResolution(core.ConstantFactorSampler(3.0))(np.stack([IMAGE, IMAGE])).numpy()
    np.testing.assert_allclose(batch[0], RandomResolution(core.ConstantFactorSampler(3.0))(IMAGE), atol=1e-3)
