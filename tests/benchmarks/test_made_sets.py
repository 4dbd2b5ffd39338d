import numpy as np
import pandas as pd
import pytest
from hard_faces import made_sets
from hard_faces.made_sets import (
    NO_NUMBER,
    SEED,
    Places,
    all_pairs,
    celeba,
    cfp,
    distractors,
    pairs_of_folds,
    with_students,
)
from tiny_sets import picture, write_recordio

from ddl_tf.data.store import Faces
from ddl_tf.data.writer import write_set
from ddl_tf.miniatures.pairs import write_bin, write_cfp
from ddl_tf.mining.degradation import degrade_image, parse_degradation
from ddl_tf.protocols.pair_sets import read_bin, read_stored

STUDENTS = ["resolution:8", "mask:0.5-1"]
# Of each image of the small CelebA.
LABELS = [0, 1, 1, 1, 2, 3, 3]


@pytest.fixture(scope="module")
def places(tmp_path_factory):
    root = tmp_path_factory.mktemp("places")
    for name in ("celeba", "sets"):
        (root / name).mkdir()
    write_recordio(root / "celeba", [(label, picture(place, 32)) for place, label in enumerate(LABELS)])
    write_cfp(root / "cfp")
    write_bin(root)
    places = Places(root / "celeba", root / "cfp", root / "lfw.bin", root / "sets")
    celeba()(places, root / "sets/celeba")
    cfp(1, 2)(places, root / "sets/cfp")
    return places


def stored(path):
    faces = Faces([str(path)])
    return faces, faces.index, faces.read(np.arange(len(faces)))


@pytest.mark.parametrize("name, least, rows", [("celeba", 2, [1, 2, 3, 5, 6]), ("cfp", 1, None)])
def test_students(places, tmp_path, name, least, rows):
    _, index, originals = stored(places.sets / name)
    rows = np.flatnonzero(index["group"] == 0).tolist() if rows is None else rows
    with_students(name, STUDENTS, least)(places, tmp_path / "students")
    _, made, images = stored(tmp_path / "students")
    expected = [(row, group) for row in rows for group in (0, 1, 2)]
    assert list(zip(made["source_row"], made["group"])) == expected
    assert made["identity_key"].tolist() == [index["identity_key"][row] for row, _ in expected]
    for image, (row, group), (_, record) in zip(images, expected, made.iterrows()):
        if group == 0:
            assert image == originals[row]
        else:
            random = np.random.default_rng([SEED, row, group])
            again, strengths = degrade_image(originals[row], parse_degradation(STUDENTS[group - 1]), random)
            assert image == again
            assert {column: record[column] for column in strengths} == pytest.approx(strengths)
    with_students(name, [], least)(places, tmp_path / "alone")
    _, made, images = stored(tmp_path / "alone")
    assert made["group"].tolist() == [0] * len(rows)
    assert images == [originals[row] for row in rows]


@pytest.mark.parametrize("degradation, profiles", [(None, False), ("resolution:8-16", False), (None, True)])
def test_all_pairs_against_loops(places, tmp_path, monkeypatch, degradation, profiles):
    sources = []
    monkeypatch.setattr(
        made_sets, "write_set", lambda source, *rest, **more: sources.append(source) or write_set(source, *rest, **more)
    )
    folds = (2, 4)
    all_pairs(folds, degradation, profiles)(places, tmp_path / "8px")
    made = read_stored(str(tmp_path / "8px"))
    index = Faces([str(tmp_path / "8px")]).index
    files = []
    # Two people of each fold, in the order of their names.
    for person in (2, 3, 6, 7):
        for view in ("frontal", "profile"):
            for number in range(2):
                path = places.cfp / f"Data/Images/{person + 1:03d}/{view}/{number + 1:02d}.jpg"
                files.append((person // 2 + 1, f"{person + 1:03d}", view, number, path.read_bytes()))
    sharp = [file for file in files if file[2] == "frontal"]
    probes = [file for file in files if file[2] == "profile"] if profiles else sharp if degradation else []
    expected = [(who, number, int(not probes), image) for _, who, _, number, image in sharp]
    for place, (_, who, _, number, image) in enumerate(probes):
        if degradation:
            image, strengths = degrade_image(
                image, parse_degradation(degradation), np.random.default_rng([SEED, place])
            )
            assert index["resolution_px"][len(sharp) + place] == strengths["resolution_px"]
        expected.append((who, NO_NUMBER if profiles else number, 1, image))
    assert list(zip(made.people, index["number"], index["probe"], made.images)) == expected
    pairs = []
    for a, (fold, who, *_) in enumerate(sharp):
        for b, (other_fold, other, *_) in enumerate(probes or sharp):
            apart = a != b if degradation else True if profiles else a < b
            if fold == other_fold and apart:
                pairs.append((a, b + (len(sharp) if probes else 0), who == other, fold - 1))
    assert list(zip(made.first, made.second, made.same, made.fold)) == pairs
    # An interrupted making goes on.
    (source,) = sources
    whole = list(source.read(0))
    assert [list(source.read(start)) for start in (0, 5, len(whole))] == [whole, whole[5:], []]


def test_pairs_of_a_fold_of_cfp_are_as_many_as_they_should_be():
    people = pd.DataFrame({"person": np.repeat(np.arange(50).astype(str), 10), "fold": 3})
    assert len(pairs_of_folds(people, None, False)) == 500 * 499 // 2
    copies = pairs_of_folds(people, people, True)
    assert (len(copies), copies["same"].sum()) == (500 * 499, 50 * 90)


def test_distractors(places, tmp_path):
    distractors()(places, tmp_path / "distractors")
    _, index, images = stored(tmp_path / "distractors")
    # The people of CelebA who have one image.
    assert images[:2] == [picture(place, 32) for place in (0, 4)]
    lfw = read_bin(str(places.lfw_bin))
    assert len(images) == 2 + len(set(lfw.images))
    assert set(images[2:]) == set(lfw.images)
    assert index["identity"].tolist() == list(range(len(images)))
