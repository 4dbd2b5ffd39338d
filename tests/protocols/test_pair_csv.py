"""Pairs of one's own: what a list may say, what is refused, and that it is evaluated as the official sets are."""

import json

import numpy as np
import pandas as pd
import pytest
from tiny_sets import picture

from ddl_tf.common.errors import InputError
from ddl_tf.evaluate import PairsSettings, pairs
from ddl_tf.evaluation.pairs import evaluate_pair_set
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.prepare import PairCSVSettings
from ddl_tf.prepare import pairs as prepare_pairs
from ddl_tf.protocols.pair_csv import read_pair_csv
from ddl_tf.protocols.pair_sets import read_stored

NAMES = ("ann 1.jpg", "ann 2.JPG", "bob 1.jpeg", "bob 2.PNG", "cy.jpg")


@pytest.fixture
def folder(tmp_path):
    for number, name in enumerate(NAMES):
        (tmp_path / name).write_bytes(picture(number, image_format="PNG" if name.endswith("PNG") else "JPEG"))
    return tmp_path


def write(folder, *lines):
    path = folder / "mine.csv"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8", errors="surrogateescape")
    return str(path)


HEADER = "first,second,same"
GOOD = (HEADER, "ann 1.jpg,ann 2.JPG,1", "bob 1.jpeg,bob 2.PNG,TRUE", "ann 1.jpg,bob 1.jpeg,0", "cy.jpg,bob 2.PNG,no")


def test_a_list(folder):
    path = write(folder, *GOOD)
    pair_set = read_pair_csv(path)
    assert pair_set.name == "mine"
    assert pair_set.same.tolist() == [True, True, False, False]
    named = [(pair_set.keys[a], pair_set.keys[b]) for a, b in zip(pair_set.first, pair_set.second)]
    assert named == [tuple(line.split(",")[:2]) for line in GOOD[1:]]
    assert list(pair_set.images) == [(folder / name).read_bytes() for name in pair_set.keys]
    assert pair_set.people is pair_set.pair_columns is None
    np.testing.assert_array_equal(pair_set.fold, [0, 1, 2, 3])  # contiguous tenths of four pairs
    # A byte order mark is read past.
    (folder / "mine.csv").write_bytes(b"\xef\xbb\xbf" + (folder / "mine.csv").read_bytes())
    assert read_pair_csv(path).same.sum() == 2


@pytest.mark.parametrize(
    ("folds", "expected"), [("10 2 2 1", [2, 1, 1, 0]), ("b a a c", [1, 0, 0, 2]), ("001 1 2 2", [0, 0, 1, 1])]
)
def test_folds_are_numbered_in_order(folder, folds, expected):
    lines = ["first,second,same,fold", *(f"{line},{fold}" for line, fold in zip(GOOD[1:], folds.split()))]
    assert read_pair_csv(write(folder, *lines)).fold.tolist() == expected


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (("\udcff\udcfe\0\x01",), r"mine\.csv"),
        (("ann 1.jpg ann 2.JPG 1",), r"no column 'first'.*the first line of a list of pairs names its columns"),
        ((HEADER,), "there are no pairs in it"),
        ((HEADER, "ann 1.jpg,nobody.jpg,1"), r"line 2: there is no image .*nobody\.jpg"),
        ((HEADER, "ann 1.jpg,ann 1.jpg,1"), r"pair of an image with itself .*line 2: ann 1\.jpg"),
        ((HEADER, "ann 1.jpg,,1"), "missing value .*line 2: an image has no name"),
        ((HEADER, "ann 1.jpg,ann 2.JPG,maybe"), r"line 2: same is 'maybe': use 1 \(one person\) or 0"),
        ((HEADER, "ann 1.jpg,ann 2.JPG,2"), "same is '2'"),
        ((*GOOD, "ann 2.JPG,ann 1.jpg,0"), r"line 6: ann 2\.JPG and ann 1\.jpg are different here, the same by other"),
        ((*GOOD, "ann 2.JPG,bob 1.jpeg,1"), r"line 4: ann 1\.jpg and bob 1\.jpeg are different here, the same by"),
        ((f"{HEADER},fold", "ann 1.jpg,ann 2.JPG,1,"), "line 2: no fold"),
        ((f"{HEADER},first_person", "ann 1.jpg,ann 2.JPG,1,ann"), "first_person alone"),
        (
            (f"{HEADER},first_person,second_person", "ann 1.jpg,ann 2.JPG,0,ann,ann"),
            "mark other than the people .*line 2: marked 0, of 'ann' and 'ann'",
        ),
        (
            (f"{HEADER},first_person,second_person", "ann 1.jpg,ann 2.JPG,1,a,a", "ann 1.jpg,bob 1.jpeg,0,b,c"),
            "image of two people .*line 3: 'b' and 'c'",
        ),
        ((HEADER, "ann 1.jpg,ann 2.JPG"), "line 2: 2 cells under 3 column names"),
    ],
)
def test_refused(folder, lines, message):
    with pytest.raises(InputError, match=message) as error:
        read_pair_csv(write(folder, *lines))
    assert "\n" not in str(error.value)


def test_a_doubled_pair_is_reported_also_without_images(folder, capsys):
    path = write(folder, HEADER, "no/where.jpg,no/there.jpg,1", "no/there.jpg,no/where.jpg,1")
    pair_set = read_pair_csv(path, check_images=False)
    assert (pair_set.keys, len(pair_set.same)) == (["no/where.jpg", "no/there.jpg"], 2)
    assert "1 of the pairs are listed again" in capsys.readouterr().err


def test_stored_and_read_alike(folder, tmp_path):
    """A stored set keeps names, people and further columns, so that its numbers and intervals are those of the list."""
    people = ["ann,ann", "007,007", "ann,007", "7,007"]
    further = zip(GOOD[1:], people, (0, 1, 0, 1), "abab", (1.5, 2, 3, 4))
    lines = [",".join(map(str, values)) for values in further]
    path = write(folder, "first,second,same,first_person,second_person,fold,gate,yaw", *lines)
    listed = read_pair_csv(path)
    assert dict(zip(listed.keys, listed.people)) == dict(zip(NAMES, ("ann", "ann", "007", "007", "7")))
    assert listed.pair_columns["yaw"].tolist() == [1.5, 2, 3, 4]
    prepare_pairs(PairCSVSettings(csv=path, output=str(tmp_path / "mine")))
    stored = read_stored(str(tmp_path / "mine"))
    for name in ("first", "second", "same", "fold", "people"):
        np.testing.assert_array_equal(getattr(stored, name), getattr(listed, name))
    assert (stored.name, list(stored.keys), list(stored.images)) == (listed.name, listed.keys, list(listed.images))
    pd.testing.assert_frame_equal(stored.pair_columns.astype(str), listed.pair_columns.astype(str))
    results = [evaluate_pair_set(pair_set, np.eye(5), 0) for pair_set in (stored, listed)]
    assert results[0].result == results[1].result
    assert results[0].scores["pair_gate"].tolist() == list("abab")
    prepare_pairs(PairCSVSettings(csv=write(folder, *GOOD), output=str(tmp_path / "nameless")))
    assert read_stored(str(tmp_path / "nameless")).people is None


def test_evaluated_by_name(folder, capsys):
    """Embeddings in the order of the list's images: each pair's similarity is that of its two names."""
    path = write(folder, *GOOD)
    angle = dict(zip(NAMES, (0.0, 0.1, 2.0, 2.1, 4.0)))
    np.save(folder / "e.npy", [[np.cos(angle[key]), np.sin(angle[key])] for key in read_pair_csv(path).keys])
    pairs(PairsSettings(pairs_csv=[path], embeddings=[str(folder / "e.npy")], replicates=0))
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert (result["set"], result["pairs"], result["auc"]) == ("mine", 4, 1.0)
    assert result["mean_same"] == pytest.approx(np.cos(0.1))
    assert result["mean_different"] == pytest.approx((np.cos(2.0) + np.cos(1.9)) / 2)
    with pytest.raises(InputError, match="--pairs_root=faces without --pairs_csv"):
        load_sets(VerificationSets(pairs_root="faces"))
