import itertools

import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.mining.columns import write_columns
from ddl_tf.mining.pairs import DROPPED_PAIRS, MinedPairs, PairRules, mine_pairs, pairs_table, read_pairs, write_pairs

COUNT = 120


@pytest.fixture
def faces():
    """Embeddings around 8 identities, spread so far that some pairs are outliers; identity and group."""
    rng = np.random.default_rng(3)
    identity = rng.integers(0, 8, COUNT)
    vectors = rng.normal(size=[8, 6])[identity] + 1.2 * rng.normal(size=[COUNT, 6])
    return vectors.astype(np.float32), identity, rng.integers(-1, 3, COUNT)


def naive_candidates(vectors, identity, group, number, across):
    """Similarity and images of every possible pair of a group, naively."""
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    return [
        (float(unit[first] @ unit[second]), first, second)
        for first, second in itertools.product(range(len(vectors)), repeat=2)
        if identity[first] == identity[second] and group[first] == number
        if (group[second] == 0 if across and number else group[second] == number and first < second)
    ]


def mine(faces, other=None, **rules):
    vectors, identity, group = faces
    return mine_pairs(lambda rows: vectors[rows], identity, group, PairRules(**rules), other)


@pytest.mark.parametrize("across", [False, True])
@pytest.mark.parametrize("choice", ["hardest", "semi_hard", "random"])
def test_equals_the_naive_twin(faces, across, choice):
    vectors, identity, group = faces
    nearest = np.random.default_rng(0).uniform(-0.2, 0.5, COUNT)
    mined = mine(faces, across=across, choice=choice, per_identity=2, other=nearest)
    for number in (0, 1, 2):
        pairs = naive_candidates(vectors, identity, group, number, across)
        dropped = {(first, second) for similarity, first, second in pairs if similarity <= 0}
        of_group = mined.dropped[mined.dropped["group"] == number]
        assert set(zip(of_group["first"], of_group["second"])) == dropped
        for person in range(8):
            kept = mined.kept[(mined.kept["group"] == number) & (mined.kept["identity"] == person)]
            able = sorted(pair for pair in pairs if identity[pair[1]] == person and pair[0] > 0)
            if choice == "semi_hard":
                able = [pair for pair in able if pair[0] > max(nearest[pair[1]], nearest[pair[2]])]
            if choice == "random":
                assert len(kept) == min(2, len(able))
                assert set(zip(kept["first"], kept["second"])) <= {pair[1:] for pair in able}
            else:
                assert list(zip(kept["first"], kept["second"])) == [pair[1:] for pair in able[:2]]
                np.testing.assert_allclose(kept["similarity"], [pair[0] for pair in able[:2]], atol=1e-6)


def test_seed_threshold_and_sampling(faces):
    mined = mine(faces, choice="random")
    pd.testing.assert_frame_equal(mined.kept, mine(faces, choice="random").kept)
    vectors, identity, group = faces
    other = mine_pairs(lambda rows: vectors[rows], identity, group, PairRules(choice="random"), seed=5)
    assert not mined.kept.equals(other.kept)
    low, high = mine(faces, threshold=-1.0), mine(faces, threshold=0.5)
    assert not len(low.dropped)
    assert len(high.dropped) > len(mine(faces).dropped)
    # Of many images of an identity some are drawn.
    zeros = np.zeros(COUNT, int)
    rules = PairRules(per_identity=10**6, threshold=-1.0, most_images=20)
    assert len(mine_pairs(lambda rows: vectors[rows], zeros, zeros, rules).kept) == 20 * 19 / 2
    for name, value in (("choice", "easy"), ("per_identity", 0), ("threshold", 1.0)):
        with pytest.raises(InputError, match=name):
            PairRules(**{name: value})
    with pytest.raises(InputError, match=r"other_similarity: run .*mine model"):
        mine(faces, choice="semi_hard")


def mine_random(faces, **rules):
    """Pairs by random embeddings."""
    vectors = np.random.default_rng(0).normal(size=[len(faces), 5])
    identity, group = (faces.index[name].to_numpy() for name in ("identity", "group"))
    return mine_pairs(lambda rows: vectors[rows], identity, group, PairRules(**rules))


def test_pairs_are_stored_beside_their_sets_and_read_from_all(two_sets):
    faces = Faces(two_sets)
    mined = mine_random(faces, across=True)
    write_pairs(faces, mined)
    read = read_pairs(faces)
    order = np.lexsort((read.group, read.second, read.first))
    expected = mined.kept.sort_values(["first", "second", "group"])
    for name in ("first", "second", "group"):
        np.testing.assert_array_equal(getattr(read, name)[order], expected[name])
    assert read_pairs(Faces(two_sets[1:])).first.max() < 24
    dropped = pd.concat([pd.read_csv(f"{path}/{DROPPED_PAIRS}") for path in two_sets])
    assert len(dropped) == len(mined.dropped) > 0
    assert (dropped["similarity"] <= 0).all()
    kept = pd.DataFrame({"group": [0, 0], "identity": [1, 1], "similarity": [0.2, 0.4]})
    outlier = pd.DataFrame({"group": [1], "identity": [1], "similarity": [-0.1]})
    table = pairs_table(MinedPairs(kept, outlier, {0: 0, 1: 1}))
    assert table[["pairs", "outliers dropped", "identities without"]].to_numpy().tolist() == [[2, 0, 0], [0, 1, 1]]


def test_missing_pairs_and_those_of_other_groups_are_refused(two_sets):
    first, both = Faces(two_sets[:1]), Faces(two_sets)
    with pytest.raises(InputError, match=r"no positive pairs are stored .*mine pairs"):
        read_pairs(first)
    write_pairs(first, mine_random(first))
    with pytest.raises(InputError, match=r"/b: has groups, but no positive pairs .*--data=.*/a,.*/b"):
        read_pairs(both)
    # A set without groups needs none.
    none = np.where(np.arange(len(both)) < both.spans[0][1], both.index["group"], -1)
    write_columns(both, {"group": none}, {"command": "rules"})
    assert len(read_pairs(Faces(two_sets)).first) == len(read_pairs(first).first)
    write_columns(first, {"group": 1 - first.index["group"].to_numpy()}, {"command": "rules"})
    with pytest.raises(InputError, match="do not fit the groups"):
        read_pairs(Faces(two_sets[:1]))
