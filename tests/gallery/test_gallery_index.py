"""The vector index against NumPy."""

from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.gallery.index import KINDS, VectorIndex


def unit(rows):
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def vectors(count, dim, seed=0):
    return unit(np.random.default_rng(seed).normal(size=[count, dim]))


def naive(rows, queries, k):
    """Sort all similarities."""
    products = queries.astype(np.float64) @ rows.astype(np.float64).T
    order = np.argsort(-products, axis=1)[:, :k]
    return np.take_along_axis(products, order, axis=1), order


def filled(kind, rows):
    index = VectorIndex(rows.shape[1], kind)
    index.add(rows)
    return index


def shapes(rng):
    """Rows without a shape, of 100 people, of similar strangers, in few dimensions, in few coordinates."""
    noise = rng.normal(size=[2500, 128])
    yield unit(noise)
    yield unit(rng.normal(size=[100, 128])[rng.integers(0, 100, 2500)] + 0.5 * noise)
    yield unit(noise + 0.5)
    yield unit(rng.normal(size=[2500, 8]) @ rng.normal(size=[8, 128]))
    # A code for each coordinate would not stand for them.
    yield unit(noise * np.r_[np.ones(6), np.full(122, 0.01)])


def test_recall_of_the_approximate_search():
    rng = np.random.default_rng(0)
    for rows in shapes(rng):
        queries = unit(rows[:100] + 0.05 * rng.normal(size=[100, 128]))
        _, order = naive(rows, queries, 10)
        similarity, numbers = filled("approximate", rows).search(queries, 10)
        recall = [len(set(ours) & set(theirs)) / 10 for ours, theirs in zip(numbers, order)]
        assert np.mean(recall) >= 0.98
        # Its similarities are no estimates.
        products = np.einsum("qd,qkd->qk", queries, rows[numbers])
        np.testing.assert_allclose(similarity, products, atol=1e-5)
        np.testing.assert_array_equal(numbers[:, 0], order[:, 0])


def test_exact_search_is_a_sort_and_any_length_of_vectors_can_be_approximated():
    rows, queries = vectors(500, 24), vectors(40, 24, 1)
    similarity, numbers = filled("exact", rows).search(queries, 7)
    expected, order = naive(rows, queries, 7)
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_allclose(similarity, expected, atol=1e-6)
    for dim in (5, 7, 33):
        rows = vectors(300, dim)
        similarity, numbers = filled("approximate", rows).search(rows, 1)
        np.testing.assert_array_equal(numbers[:, 0], np.arange(300))
        np.testing.assert_allclose(similarity, 1, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_vectors_are_added_and_read_again(kind, tmp_path):
    rows, queries = vectors(900, 32), vectors(50, 32, 1)
    index = VectorIndex(32, kind)
    for start in range(0, 600, 97):
        index.add(rows[start : min(start + 97, 600)])
    index.write(tmp_path / "index.faiss")
    read = VectorIndex.read(tmp_path / "index.faiss")
    assert (read.kind, read.dim, len(read)) == (kind, 32, 600)
    read.add(rows[600:])
    at_once = filled(kind, rows)
    for ours, theirs in zip(read.search(queries, 9), at_once.search(queries, 9)):
        np.testing.assert_array_equal(ours, theirs)
    np.testing.assert_array_equal(read.vectors(np.array([899, 3])), rows[[899, 3]])
    assert read.vectors(np.array([], int)).shape == (0, 32)
    # All of a few are found.
    _, numbers = filled(kind, rows[:5]).search(rows[:5], 5)
    np.testing.assert_array_equal(np.sort(numbers, axis=1), np.tile(np.arange(5), [5, 1]))


def test_bad_files(tmp_path):
    (tmp_path / "damaged").write_bytes(b"abc")
    with pytest.raises(InputError, match=r"damaged: no index to read .*reindex"):
        VectorIndex.read(tmp_path / "damaged")
    with pytest.raises(FileNotFoundError):
        VectorIndex.read(tmp_path / "missing")
    with pytest.raises(InputError, match="index 'fast': use one of exact, approximate"):
        VectorIndex(4, "fast")
    with pytest.raises(OSError, match="No space left"):
        filled("exact", vectors(5000, 16)).write(Path("/dev/full"))
