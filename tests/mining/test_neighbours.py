import numpy as np
import pytest

from ddl_tf.mining import neighbours
from ddl_tf.mining.neighbours import nearest_identities


@pytest.fixture
def centers():
    centers = np.random.default_rng(0).normal(size=[50, 8]).astype(np.float32)
    return centers / np.linalg.norm(centers, axis=1, keepdims=True)


def naive(centers, count, among):
    nearest = np.repeat(np.arange(len(centers))[:, None], count, axis=1)
    for row in among:
        others = [column for column in among if column != row]
        nearest[row] = sorted(others, key=lambda column: -float(centers[row] @ centers[column]))[:count]
    return nearest


def test_equals_the_naive_twin_in_blocks(centers, monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK_ELEMENTS", 120)
    np.testing.assert_array_equal(nearest_identities(centers, 6), naive(centers, 6, range(50)))
    among = np.array([3, 7, 8, 20, 41, 44, 49])
    np.testing.assert_array_equal(nearest_identities(centers, 3, among), naive(centers, 3, among.tolist()))
    assert nearest_identities(centers[:3], 10).shape == (3, 2)
    assert nearest_identities(centers[:1], 10).shape == (1, 0)
