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


def recall(found, expected):
    return np.mean([len(set(ours) & set(theirs)) / len(theirs) for ours, theirs in zip(found, expected)])


def test_exact_search_is_a_sort():
    rows, queries = vectors(500, 24), vectors(40, 24, 1)
    similarity, numbers = filled("exact", rows).search(queries, 7)
    expected, order = naive(rows, queries, 7)
    np.testing.assert_array_equal(numbers, order)
    np.testing.assert_allclose(similarity, expected, atol=1e-6)


def clusters(rng):
    """People: images around 100 centers."""
    return unit(rng.normal(size=[100, 128])[rng.integers(0, 100, 2500)] + 0.5 * rng.normal(size=[2500, 128]))


def cone(rng):
    """The similarity of strangers is 0.2 on average, as of a network that has yet to learn."""
    return unit(rng.normal(size=[2500, 128]) + 0.5)


def few_dimensions(rng):
    return unit(rng.normal(size=[2500, 8]) @ rng.normal(size=[8, 128]))


def single_coordinates(rng):
    """All in the first few coordinates, which a code for each of them would not stand for."""
    return unit(rng.normal(size=[2500, 128]) * np.r_[np.ones(6), np.full(122, 0.01)])


@pytest.mark.parametrize("make", [vectors, clusters, cone, few_dimensions, single_coordinates])
def test_recall_of_the_approximate_search(make):
    rng = np.random.default_rng(0)
    rows = vectors(2500, 128) if make is vectors else make(rng)
    queries = unit(rows[:100] + 0.05 * rng.normal(size=[100, 128]))
    _, order = naive(rows, queries, 10)
    similarity, numbers = filled("approximate", rows).search(queries, 10)
    assert recall(numbers, order) >= 0.98
    # Its similarities are no estimates.
    own = np.einsum("qd,qkd->qk", queries, rows[numbers])
    np.testing.assert_allclose(similarity, own, atol=1e-5)
    np.testing.assert_array_equal(numbers[:, 0], order[:, 0])


@pytest.mark.parametrize("dim", [5, 7, 33])
def test_any_length_of_vectors(dim):
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


@pytest.mark.parametrize("kind", KINDS)
def test_all_of_a_few_are_found(kind):
    rows = vectors(5, 16)
    _, numbers = filled(kind, rows).search(rows, 5)
    np.testing.assert_array_equal(np.sort(numbers, axis=1), np.tile(np.arange(5), [5, 1]))


def test_bad_files(tmp_path):
    (tmp_path / "damaged").write_bytes(b"abc")
    with pytest.raises(InputError, match=r"damaged: no index to read .*reindex"):
        VectorIndex.read(tmp_path / "damaged")
    with pytest.raises(FileNotFoundError):
        VectorIndex.read(tmp_path / "missing")
    with pytest.raises(InputError, match="index 'fast': use one of exact, approximate"):
        VectorIndex(4, "fast")


def test_a_full_disk_is_an_os_error():
    with pytest.raises(OSError, match="No space left"):
        filled("exact", vectors(5000, 16)).write(Path("/dev/full"))
