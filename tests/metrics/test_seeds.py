import itertools

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.seeds import compare_seeds


def test_against_the_formulas():
    a, b = [0.91, 0.95, 0.92, 0.94, 0.93, 0.96], [0.90, 0.92, 0.93, 0.90, 0.91, 0.92]
    compared = compare_seeds(a, b)
    mean, error = np.subtract(a, b).mean(), np.subtract(a, b).std(ddof=1) / np.sqrt(6)
    # 2.570582 is the quantile of Student's t with five degrees of freedom.
    assert (compared.low, compared.high) == pytest.approx((mean - 2.570582 * error, mean + 2.570582 * error), abs=1e-8)
    expected = (6, pytest.approx(np.mean(a)), pytest.approx(np.mean(b)), pytest.approx(mean))
    assert (compared.seeds, compared.a, compared.b, compared.difference) == expected
    assert compared.p < 0.05


def test_wilcoxon_against_all_signs():
    a, b = np.array([0.1, 0.2, 0.35, 0.5, 0.7, -0.15]), np.zeros(6)
    ranks = np.argsort(np.argsort(abs(a))) + 1
    observed = ranks[a > 0].sum()
    sums = np.array([np.dot(ranks, signs) for signs in itertools.product([0, 1], repeat=6)])
    naive = 2 * min(np.mean(sums >= observed), np.mean(sums <= observed))
    assert compare_seeds(a, b).wilcoxon_p == pytest.approx(naive)
    assert compare_seeds([1.0, 0.9], [1.0, 0.9])[3:] == (0.0, 0.0, 0.0, 1.0, 1.0)


@pytest.mark.parametrize(
    "a, b, message",
    [
        ([0.9, 0.8], [0.8], "2 and 1 runs"),
        ([0.9, np.nan], [0.8, 0.8], "all must be finite"),
        ([0.9, 0.8], [0.8, 0.7], "differ by 0.1 for every seed"),
    ],
)
def test_refusals(a, b, message):
    with pytest.raises(InputError, match=message):
        compare_seeds(a, b)
