import numpy as np

from ddl_tf.mining import neighbours
from ddl_tf.mining.neighbours import nearest_identities


def test_equals_the_naive_twin_in_blocks(monkeypatch):
    monkeypatch.setattr(neighbours, "_BLOCK_ELEMENTS", 120)
    centers = np.random.default_rng(0).normal(size=[50, 8]).astype(np.float32)
    centers /= np.linalg.norm(centers, axis=1, keepdims=True)
    for among, count in ((list(range(50)), 6), ([3, 7, 8, 20, 41, 44, 49], 3)):
        naive = np.repeat(np.arange(50)[:, None], count, axis=1)
        for row in among:
            others = [column for column in among if column != row]
            naive[row] = sorted(others, key=lambda column: -float(centers[row] @ centers[column]))[:count]
        identities = np.array(among) if len(among) < 50 else None
        np.testing.assert_array_equal(nearest_identities(centers, count, identities), naive)
    assert nearest_identities(centers[:3], 10).shape == (3, 2)
    assert nearest_identities(centers[:1], 10).shape == (1, 0)
