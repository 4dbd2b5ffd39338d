import itertools

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ddl_tf.mining import copies
from ddl_tf.mining.copies import Copies, choose_originals, find_copies


@pytest.fixture(scope="module")
def thumbnails():
    """Sixty pictures; then copies of some with noise, mirrored, the same again, and two of one colour."""
    rng = np.random.default_rng(0)
    coarse = rng.integers(0, 256, [60, 4, 4]).astype(np.uint8)
    pictures = np.stack([np.asarray(Image.fromarray(one).resize((16, 16), Image.Resampling.BICUBIC)) for one in coarse])
    noisy = np.clip(pictures[:20] + rng.normal(0, [[[4.0]], [[20.0]]] * 10, [20, 16, 16]), 0, 255).astype(np.uint8)
    flat = rng.integers(100, 102, [2, 16, 16]).astype(np.uint8)
    return np.concatenate([pictures, noisy, pictures[30:40, :, ::-1], pictures[50:53], flat])


def naive(thumbnails, least):
    """All pairs, one by one."""
    pairs = {}
    for first, second in itertools.combinations(range(len(thumbnails)), 2):
        if min(thumbnails[first].std(), thumbnails[second].std()) < 2:
            continue
        for mirrored in (False, True):
            other = thumbnails[second][:, ::-1] if mirrored else thumbnails[second]
            alike = np.corrcoef(thumbnails[first].ravel(), other.ravel())[0, 1]
            if alike >= max(least, pairs.get((first, second), (0,))[0]):
                pairs[first, second] = alike, mirrored
    return pairs


@pytest.mark.parametrize("least", [0.98, 0.9, 0.6])
def test_pairs_are_those_of_the_naive_twin_in_blocks(thumbnails, least, monkeypatch):
    monkeypatch.setattr(copies, "_BLOCK", 17)
    monkeypatch.setattr(copies, "_CANDIDATES", 5)
    found = find_copies(np.arange(len(thumbnails)), thumbnails, least)
    expected = naive(thumbnails, least)
    assert len(expected) > 20
    pairs = list(zip(found.near["first"], found.near["second"]))
    assert pairs == sorted(expected)
    np.testing.assert_allclose(found.near["similarity"], [expected[pair][0] for pair in pairs], atol=1e-5)
    assert found.near["mirrored"].tolist() == [expected[pair][1] for pair in pairs]
    np.testing.assert_array_equal(found.same, np.arange(len(thumbnails)))


def test_images_with_the_same_pixels_are_compared_once(thumbnails):
    digests = np.arange(len(thumbnails))
    digests[90:93] = [50, 51, 52]
    found = find_copies(digests, thumbnails, 0.98)
    np.testing.assert_array_equal(found.same[90:93], [50, 51, 52])
    assert not {90, 91, 92} & {*found.near["first"], *found.near["second"]}


@pytest.mark.parametrize("count", [0, 1])
def test_a_set_without_pictures_has_no_copies(count):
    found = find_copies(np.arange(count), np.full([count, 16, 16], 7, np.uint8), 0.98)
    assert len(found.near) == 0
    assert found.same.tolist() == list(range(count))


def near(*pairs):
    table = pd.DataFrame(pairs, columns=["first", "second", "similarity"])
    return table.assign(mirrored=False)


def test_the_best_of_each_picture_stays():
    # 0 is like 1, 1 is like 2, but 0 is not like 2; 3 has the pixels of 1, 4 those of 0; 5 is alone.
    found = Copies(np.array([0, 1, 2, 1, 0, 5]), near((0, 1, 0.99), (1, 2, 0.985)))
    original, similarity = choose_originals(found, np.array([1, 0, 2, 0, 1, 0]))
    assert original.tolist() == [1, -1, 1, 1, 1, -1]
    np.testing.assert_allclose(similarity, [0.99, np.nan, 0.985, 1, 0.99, np.nan], rtol=1e-6)
    # If the middle is the worst, both ends stay, and it is a copy of the more similar one.
    original, _ = choose_originals(found, np.array([0, 2, 1, 2, 0, 0]))
    assert original.tolist() == [-1, 0, -1, 0, 0, -1]


def test_nothing_that_stays_is_a_copy_and_every_copy_is_like_what_stays(thumbnails):
    found = find_copies(np.arange(len(thumbnails)) % 90, thumbnails, 0.7)
    rank = np.random.default_rng(1).permutation(len(thumbnails)) // 3
    original, _ = choose_originals(found, rank)
    alike = {frozenset(pair) for pair in zip(found.near["first"], found.near["second"])}
    stays = np.flatnonzero(original < 0)
    assert not any(frozenset(pair) in alike for pair in itertools.combinations(stays.tolist(), 2))
    for image in np.flatnonzero(original >= 0).tolist():
        assert original[image] in stays
        first = int(found.same[image])
        assert original[image] == first or frozenset((first, int(original[image]))) in alike
