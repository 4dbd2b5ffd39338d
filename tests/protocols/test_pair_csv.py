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


HEADER, PEOPLE = "first,second,same", "first,second,same,first_person,second_person"
GOOD = (HEADER, "ann 1.jpg,ann 2.JPG,1", "bob 1.jpeg,bob 2.PNG,TRUE", "ann 1.jpg,bob 1.jpeg,0", "cy.jpg,bob 2.PNG,no")


def test_a_list(folder, capsys):
    path = write(folder, *GOOD)
    pair_set = read_pair_csv(path)
    assert pair_set.name == "mine"
    assert pair_set.same.tolist() == [True, True, False, False]
    named = [(pair_set.keys[a], pair_set.keys[b]) for a, b in zip(pair_set.first, pair_set.second)]
    assert named == [tuple(line.split(",")[:2]) for line in GOOD[1:]]
    assert list(pair_set.images) == [(folder / name).read_bytes() for name in pair_set.keys]
    assert pair_set.people is pair_set.pair_columns is None
    np.testing.assert_array_equal(pair_set.fold, [0, 1, 2, 3])  # contiguous tenths of four pairs
    # Folds are numbered in order.
    for folds, expected in (("10 2 2 1", [2, 1, 1, 0]), ("b a a c", [1, 0, 0, 2]), ("001 1 2 2", [0, 0, 1, 1])):
        lines = [f"{HEADER},fold", *(f"{line},{fold}" for line, fold in zip(GOOD[1:], folds.split()))]
        assert read_pair_csv(write(folder, *lines)).fold.tolist() == expected
    path = write(folder, f"\ufeff{HEADER}", "no/where.jpg,no/there.jpg,1", "no/there.jpg,no/where.jpg,1")
    pair_set = read_pair_csv(path, check_images=False)
    assert (pair_set.keys, len(pair_set.same)) == (["no/where.jpg", "no/there.jpg"], 2)
    assert "1 of the pairs are listed again" in capsys.readouterr().err


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
        ((*GOOD, "ann 2.JPG,bob 1.jpeg,1"), r"line 4: ann 1\.jpg and bob 1\.jpeg are different here, the same by"),
        ((f"{HEADER},fold", "ann 1.jpg,ann 2.JPG,1,"), "line 2: no fold"),
        ((f"{HEADER},first_person", "ann 1.jpg,ann 2.JPG,1,ann"), "first_person alone"),
        ((PEOPLE, "ann 1.jpg,ann 2.JPG,0,a,a"), "mark other than the people .*line 2: marked 0, of 'a' and 'a'"),
        ((PEOPLE, "ann 1.jpg,ann 2.JPG,1,a,a", "ann 1.jpg,cy.jpg,0,b,c"), "image of two people .*line 3: 'b' and 'c'"),
        ((HEADER, "ann 1.jpg,ann 2.JPG"), "line 2: 2 cells under 3 column names"),
    ],
)
def test_refused(folder, lines, message):
    with pytest.raises(InputError, match=message) as error:
        read_pair_csv(write(folder, *lines))
    assert "\n" not in str(error.value)


def test_stored_and_read_alike(folder, tmp_path):
    """A stored set keeps names, people and further columns, so that its numbers and intervals are those of the list."""
    people = ["ann,ann", "007,007", "ann,007", "7,007"]
    further = zip(GOOD[1:], people, (0, 1, 0, 1), "abab", (1.5, 2, 3, 4))
    lines = [",".join(map(str, values)) for values in further]
    path = write(folder, f"{PEOPLE},fold,gate,yaw", *lines)
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


BFW = ",fold,p1,p2,label,id1,id2,att1,att2,vgg16,resnet50,senet50,a1,a2,g1,g2,e1,e2,sphereface"


def bfw_line(number, first, second, label, ids, groups, score):
    """A line of BFW's table: groups such as "asian_females"."""
    short = [f"{group[0].upper()}{group.split('_')[1][0].upper()}" for group in groups]
    letters = [text[place] for place in (1, 0) for text in short]
    cells = [number, 1 + number % 5, first, second, label, *ids, *groups, score, 0.5, 0.5, *short, *letters, -0.009]
    return ",".join(map(str, cells))


def bfw_lines(people=("asian_females", "asian_females", "black_males", "black_males"), each=3):
    """All pairs of images of people of groups, named and numbered as there."""
    images = [
        (person, f"{group}/n{person:06d}/00{n}_01.jpg") for person, group in enumerate(people) for n in range(each)
    ]
    pairs = [(a, b) for place, a in enumerate(images) for b in images[place + 1 :]]
    return [
        bfw_line(number, a[1], b[1], int(a[0] == b[0]), (a[0], b[0]), (people[a[0]], people[b[0]]), 0.25)
        for number, (a, b) in enumerate(pairs)
    ]


def test_the_list_of_bfw_is_read_as_it_is_published(folder):
    lines = bfw_lines()
    pair_set = read_pair_csv(write(folder, BFW, *lines), check_images=False)
    assert (len(pair_set.images), len(pair_set.same), int(pair_set.same.sum())) == (12, 66, 12)
    assert pair_set.keys[0] == "asian_females/n000000/000_01.jpg"
    assert pair_set.people.tolist() == [str(person) for person in np.repeat(range(4), 3)]
    assert sorted(set(pair_set.fold)) == [0, 1, 2, 3, 4]
    assert list(pair_set.columns) == ["att", "a", "g", "e"]
    assert pair_set.columns["att"].tolist() == ["asian_females"] * 6 + ["black_males"] * 6
    assert pair_set.columns["g"].tolist() == ["F"] * 6 + ["M"] * 6
    assert pair_set.columns["e"].tolist() == ["A"] * 6 + ["B"] * 6
    assert list(pair_set.pair_columns) == ["", "vgg16", "resnet50", "senet50", "sphereface"]
    # An image that is of two groups.
    lines[1] = lines[1].replace("asian_females,asian_females,0.25", "white_females,asian_females,0.25")
    with pytest.raises(InputError, match=r"1 image of two values .*line 3: att1 or att2 is other than a line before"):
        read_pair_csv(write(folder, BFW, *lines), check_images=False)
    with pytest.raises(InputError, match=r"there is no column 'first', .*; or it has p1,p2,label as that of BFW"):
        read_pair_csv(write(folder, "p1,p2", "a,b"), check_images=False)


def test_columns_of_either_image_of_ones_own_list(folder):
    lines = ["first,second,same,first_age,second_age,score1,score2", "a,b,1,20,,1,2", "c,a,0,45,20,3,4"]
    pair_set = read_pair_csv(write(folder, *lines), check_images=False)
    np.testing.assert_array_equal(pair_set.columns["age"], [20, np.nan, 45])
    # Others are of the pair.
    assert list(pair_set.pair_columns) == ["score1", "score2"]


def test_error_rates_by_the_groups_of_bfw(folder, capsys):
    people = [f"{race}_{sex}" for race in ("asian", "black") for sex in ("females", "males")] * 3
    path = write(folder, BFW, *bfw_lines(people))
    rows = np.random.default_rng(0).normal(size=[12, 8]).repeat(3, axis=0)
    rows = (rows + 0.8 * np.random.default_rng(1).normal(size=rows.shape)).astype(np.float32)
    np.save(folder / "rows.npy", rows)
    common = {"pairs_csv": [path], "embeddings": [str(folder / "rows.npy")], "replicates": 40}
    pairs(PairsSettings(by=["e", "att"], fmr=[0.1], store=str(folder / "out"), **common))
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert list(result["groups"]) == list(result["differences"]) == ["e", "att"]
    assert list(result["groups"]["e"]) == ["A", "B", "two groups"]
    assert list(result["differences"]["e"]["pairs"]) == ["A and B"]
    # By hand: both images of black people, of two people.
    unit = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    threshold = result["differences"]["e"]["threshold"]["1e-1"]
    race, person = np.repeat([name[0] for name in people], 3), np.repeat(np.arange(12), 3)
    first, second = np.triu_indices(36, 1)
    inside = (race[first] == "b") & (race[second] == "b") & (person[first] != person[second])
    fmr = np.mean(np.sum(unit[first] * unit[second], axis=1)[inside] >= threshold)
    assert result["groups"]["e"]["B"]["fmr"]["1e-1"] == pytest.approx(fmr)
    assert len(result["intervals"]["differences@e@garbe@1e-1"]) == 2
    for text in ("mine, by groups:", "by e, at the threshold", "differences by att, at FMR:", "GARBE"):
        assert text in printed.err
    table = pd.read_csv(folder / "out" / "mine" / "images.csv")
    assert table["att"].tolist() == np.repeat(people, 3).tolist()
    for settings, message in (
        ({"by": ["race"]}, "mine: --by=race: no such column is known of the images, but person, att, a, g, e"),
        ({"by": ["e"], "fmr": [2.0]}, "--fmr=2: give rates above 0"),
        ({"by": ["e"], "edges": [0.0, 1.0]}, "mine: --edges are of one column of numbers"),
    ):
        with pytest.raises(InputError, match=message):
            pairs(PairsSettings(**common, **settings))


def test_the_groups_stay_with_a_stored_set(folder):
    path = write(
        folder, "first,second,same,first_race,second_race", "ann 1.jpg,ann 2.JPG,1,x,x", "cy.jpg,bob 1.jpeg,0,y,x"
    )
    prepare_pairs(PairCSVSettings(csv=path, output=str(folder / "set")))
    assert read_stored(str(folder / "set")).columns["race"].tolist() == ["x", "x", "y", "x"]
