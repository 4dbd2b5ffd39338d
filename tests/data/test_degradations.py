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
    for module in (layer, *layer.submodules):
        assert isinstance(module._random_generator, RowRandom)
        samplers = [value for value in vars(module).values() if isinstance(value, core.FactorSampler)]
        assert all(isinstance(sampler, core.ConstantFactorSampler) for sampler in samplers)


def test_the_resolution_ends_at_one_pixel(monkeypatch):
    monkeypatch.setattr(RowRandom, "geometric", lambda *_: tf.constant(99.0))
    single = resolution(tf.constant(IMAGE), 1.0, random()).numpy()
    np.testing.assert_allclose(single, np.broadcast_to(single[0, 0], IMAGE.shape), atol=1e-3)
    monkeypatch.setattr(RowRandom, "geometric", lambda *_: tf.constant(1.0))
    np.testing.assert_allclose(resolution(tf.constant(IMAGE), 1.0, random()), IMAGE, atol=1e-3)
