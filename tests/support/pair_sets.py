"""Helpers of the tests of pair lists: a set as plain tuples, embeddings of its people, and the set as a .bin file."""

import pickle

import numpy as np

from ddl_tf.protocols.pair_sets import read_bin


def tuples(pair_set):
    """(first key, second key, same, fold) of each pair."""
    rows = zip(pair_set.first, pair_set.second, pair_set.same, pair_set.fold)
    return [(pair_set.keys[a], pair_set.keys[b], bool(same), int(fold)) for a, b, same, fold in rows]


def embed(images, seed=0):
    """Unit rows that follow from the bytes of each image and nothing else."""
    generators = (np.random.default_rng([seed, len(image), *image[200:260]]) for image in images)
    rows = np.array([random.normal(size=16) + 1.0 for random in generators], np.float32)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def as_bin(pair_set, path):
    """Store the pairs as InsightFace's packers do, fold after fold, and read them again."""
    order = np.argsort(pair_set.fold, kind="stable")
    images = [bytes(pair_set.images[k]) for n in order for k in (pair_set.first[n], pair_set.second[n])]
    path.write_bytes(pickle.dumps((images, [bool(pair_set.same[n]) for n in order]), protocol=2))
    return read_bin(str(path))


def assert_same_numbers(first, second):
    """The results of two readings of one set, to rounding; a TAR at a FAR that so few pairs do not reach is None."""
    assert first.keys() == second.keys()
    for name, value in first.items():
        if isinstance(value, dict):
            assert_same_numbers(value, second[name])
        elif value is None:
            assert second[name] is None
        elif not isinstance(value, str):
            np.testing.assert_allclose(value, second[name], rtol=1e-12, err_msg=name)
