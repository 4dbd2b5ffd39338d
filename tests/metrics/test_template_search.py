import math

import numpy as np
import pytest

from ddl_tf.metrics import template_search as module
from ddl_tf.metrics.template_search import open_set_tpir, pooled_tpir, search_galleries


def _features(seed=0):
    random = np.random.RandomState(seed)
    galleries = [random.normal(size=[count, 6]) for count in (9, 14)]
    mate = random.randint(-1, 23, 50)
    probes = random.normal(size=[50, 6])
    probes[mate >= 0] += np.concatenate(galleries)[mate[mate >= 0]]
    return *([one / np.linalg.norm(one, axis=1, keepdims=True) for one in (probes, *galleries)]), mate


@pytest.mark.parametrize("cells", [1, 100, 2**23])
def test_search_is_the_naive_one(monkeypatch, cells):
    monkeypatch.setattr(module, "_CELLS", cells)
    probes, first, second, mate = _features()
    found = search_galleries(probes, [first, second], mate, keep=40)
    everybody, others = np.concatenate([first, second]), []
    for number, probe in enumerate(probes):
        similarity = [float(np.dot(probe, one)) for one in everybody]
        own = similarity[mate[number]] if mate[number] >= 0 else -np.inf
        assert found.mate[number] == pytest.approx(own)
        for gallery, members in enumerate([range(9), range(9, 23)]):
            rest = [similarity[one] for one in members if one != mate[number]]
            assert found.best_other[gallery, number] == pytest.approx(max(rest))
            assert found.above[gallery, number] == sum(one >= own for one in rest) or mate[number] < 0
            others += rest
    np.testing.assert_allclose(found.largest_others, sorted(others, reverse=True)[:40])


def test_fewer_others_than_are_kept():
    probes, first, second, mate = _features()
    others = search_galleries(probes, [first, second], mate, keep=5000).largest_others
    assert len(others) == 50 * 23 - np.sum(mate >= 0)
    found = search_galleries(probes, [first, second[:0]], np.full(50, -1), keep=3)
    assert np.all(found.best_other[1] == -np.inf)
    assert np.all(found.mate == -np.inf)


def test_a_tie_counts_against_the_mate():
    gallery = np.array([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
    found = search_galleries(np.array([[1.0, 0.0]]), [gallery], np.array([1]), keep=2)
    assert found.above.tolist() == [[1]]


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5])
def test_pooled_tpir_is_the_naive_one(rate):
    probes, first, second, mate = _features()
    mate = np.abs(mate)
    found = search_galleries(probes, [first, second], mate, keep=25)
    similarity = probes @ np.concatenate([first, second]).T
    own = similarity[np.arange(50), mate].copy()
    similarity[np.arange(50), mate] = -2
    threshold = sorted(similarity.ravel(), reverse=True)[math.ceil(50 * rate) - 1]
    assert pooled_tpir(found, 50, rate) == pytest.approx(np.mean(own > threshold), abs=1e-12)
    # Two more probes have no image.
    assert pooled_tpir(found, 52, 0.01) == pytest.approx(pooled_tpir(found, 50, 0.01) * 50 / 52)


def test_open_set_tpir_is_the_best_that_the_rate_allows():
    random = np.random.RandomState(0)
    found, mate = random.random(200) < 0.9, random.normal(0.5, 0.2, 200)
    non_mated = random.normal(0.3, 0.1, 130)
    for fpir in (0.001, 0.01, 0.1, 1.0):
        thresholds = [-np.inf, *non_mated]
        allowed = [one for one in thresholds if np.mean(non_mated > one) <= fpir]
        assert open_set_tpir(found, mate, non_mated, fpir) == np.mean(found & (mate > min(allowed)))
