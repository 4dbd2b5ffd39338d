"""Random numbers for keras_cv's layers that follow from each row's seed.

keras_cv's layers draw from generators with a state (`layer._random_generator`) or, where a layer has a range for a
factor, from `tf.random` itself. What a row gets would depend on how many rows were drawn before and by which thread,
and a resumed run would not go on as an undisturbed one. `seed_by_row` replaces both.
"""

from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ddl_tf.common.keras_cv_import import import_keras_cv

core = import_keras_cv().core


class RowRandom:
    """The source of random numbers for one row; it stands in for a `tf.random.Generator`.

    A draw follows from the seed and the number of the draw.

    Args:
        seed: `[2]` int.
    """

    def __init__(self, seed: tf.Tensor) -> None:
        self._seed = seed
        self._draws = 0

    def uniform(self, shape: Any, minval: Any = 0, maxval: Any = 1, dtype: Any = tf.float32, **_: Any) -> tf.Tensor:
        """Draw as `tf.random.Generator.uniform`.

        Args:
            shape: of the result.
            minval: lower bound, included.
            maxval: upper bound, not included.
            dtype: of the result.

        Returns:
            Uniform random numbers.
        """
        self._draws += 1
        seed = tf.random.experimental.stateless_fold_in(self._seed, self._draws)
        return tf.random.stateless_uniform(shape, seed, minval=minval, maxval=maxval, dtype=dtype)


class RowFactor(core.FactorSampler):  # type: ignore[name-defined]
    """A layer's factor, drawn from the row's random numbers.

    Args:
        random: of the row.
        quantile: the factor as a function of a share, which is drawn from [0, 1).
    """

    def __init__(self, random: RowRandom, quantile: Callable[[tf.Tensor], tf.Tensor]) -> None:
        self._random = random
        self._quantile = quantile

    def __call__(self, shape: Any = (), dtype: Any = "float32") -> tf.Tensor:
        """Draw.

        Args:
            shape: of the result.
            dtype: of the result.

        Returns:
            Factors.
        """
        return tf.cast(self._quantile(self._random.uniform(shape)), dtype)


def uniform(random: RowRandom, start: float, end: float) -> RowFactor:
    """Make a factor of which every value is as likely as another.

    Args:
        random: of the row.
        start: one end of its range.
        end: the other end.

    Returns:
        The factor.
    """
    return RowFactor(random, lambda share: start + (end - start) * share)


def geometric(random: RowRandom, start: float, end: float) -> RowFactor:
    """Make a factor of which every halving is as likely as another.

    Args:
        random: of the row.
        start: one end of its range, above 0.
        end: the other end, above 0.

    Returns:
        The factor.
    """
    return RowFactor(random, lambda share: start * (end / start) ** share)


def _by_row(sampler: Any, random: RowRandom) -> RowFactor:
    if isinstance(sampler, core.UniformFactorSampler):
        return uniform(random, sampler.lower, sampler.upper)
    if isinstance(sampler, core.NormalFactorSampler):
        return RowFactor(
            random,
            lambda share: tf.clip_by_value(
                sampler.mean + sampler.stddev * tf.math.ndtri(share), sampler.min_value, sampler.max_value
            ),
        )
    raise TypeError(f"no random numbers of a row are made for {type(sampler).__name__}")


def seed_by_row(layer: tf.keras.layers.Layer, random: RowRandom) -> Any:
    """Let a layer, and the layers in it, draw from the random numbers of a row.

    Args:
        layer: a layer of keras_cv.
        random: of the row.

    Returns:
        The same layer.
    """
    for module in (layer, *layer.submodules):
        module._random_generator = random
        for name, value in list(vars(module).items()):
            if isinstance(value, core.FactorSampler) and not isinstance(value, (RowFactor, core.ConstantFactorSampler)):
                setattr(module, name, _by_row(value, random))
    return layer
