import dataclasses
import json

import numpy as np
import pytest
from arms import made_sets
from arms.made_sets import SEED, celeba, cfp, cfp_pairs, degraded_pairs, with_students
from PIL import Image
from tiny_sets import picture, write_recordio

from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.images.pillow_images import load_image
from ddl_tf.importers.source import Source
from ddl_tf.miniatures.pairs import write_cfp
from ddl_tf.mining.degradation import degrade_image, parse_degradation
from ddl_tf.protocols.pair_sets import read_stored
from ddl_tf.synthetic.faces import synthetic_samples

STUDENTS = ["resolution:8", "mask:0.5-1"]


@pytest.fixture
def faces(tmp_path):
    """Twelve faces of three people, of which the column `size` is 0 to 11."""
    drawn = [
        dataclasses.replace(sample, columns={"size": float(number)})
        for number, sample in enumerate(synthetic_samples(3, 4, size=32))
    ]
    source = Source("list", "faces", len(drawn), lambda start: iter(drawn[start:]))
    write_set(source, StoreSettings(output=str(tmp_path / "faces")))
    return Faces([str(tmp_path / "faces")])


def stored(path):
    faces = Faces([str(path)])
    return faces, faces.index, faces.read(np.arange(len(faces)))


def test_students(faces, tmp_path):
    make = with_students("faces", STUDENTS, easy="size >= 8", hard="size < 3", rest=True)
    make(tmp_path, tmp_path / "students")
    made, index, images = stored(tmp_path / "students")
    originals = faces.read(np.arange(12))
    expected = [(row, group) for row in range(8, 12) for group in (0, 1, 2)]
    expected += [(row, 1) for row in range(3)] + [(row, -1) for row in range(3, 8)]
    assert list(zip(index["source_row"], index["group"])) == expected
    assert made.num_identities == faces.num_identities
    assert index["identity_key"].tolist() == [faces.index["identity_key"][row] for row, _ in expected]
    for image, row, (_, record) in zip(images, (row for row, _ in expected), index.iterrows()):
        if not record["degradation"]:
            assert image == originals[row]
            assert (record["resolution_px"], record["mask"], record["occlusion"]) == (32, 0, 0)
        else:
            group = record["group"]
            assert record["degradation"] == STUDENTS[group - 1]
            random = np.random.default_rng([SEED, row, group])
            again, strengths = degrade_image(originals[row], parse_degradation(STUDENTS[group - 1]), random)
            assert image == again
            assert {name: record[name] for name in strengths} == pytest.approx(strengths)
    assert index.loc[1, "resolution_px"] == 8
    assert 0.5 <= index.loc[2, "mask"] <= 1


@pytest.mark.parametrize(
    "rules, expected",
    [
        ({}, [(row, group) for row in range(0, 12, 2) for group in (0, 1)]),
        # An easy image is not hard too.
        (
            {"easy": "size >= 8", "hard": "size >= 7"},
            [(row, group) for row in range(8, 12) for group in (0, 1)] + [(7, 1)],
        ),
    ],
)
def test_who_has_students(rules, expected, faces, tmp_path):
    with_students("faces", STUDENTS[:1], **rules)(tmp_path, tmp_path / "students")
    _, index, _ = stored(tmp_path / "students")
    assert list(zip(index["source_row"], index["group"])) == expected


def test_an_interrupted_making_goes_on(faces, tmp_path, monkeypatch):
    sources = []
    monkeypatch.setattr(made_sets, "write_set", lambda source, *_: sources.append(source))
    with_students("faces", STUDENTS, easy="size >= 8", hard="size < 3", rest=True)(tmp_path, tmp_path / "students")
    whole = list(sources[0].read(0))
    assert len(whole) == sources[0].count == 4 * 3 + 3 + 5
    for start in range(len(whole) + 1):
        assert list(sources[0].read(start)) == whole[start:]


def test_degraded_pairs(tmp_path):
    write_cfp(tmp_path / "data" / "cfp")
    read, folder = cfp_pairs(2), tmp_path / "test" / "cfp_ff_8px"
    degraded_pairs(read, "resolution:8")(tmp_path, folder)
    pairs, made = read(tmp_path), read_stored(str(folder))
    assert made.name == "cfp_ff_8px"
    assert made.same.tolist() == pairs.same.tolist()
    assert made.fold.tolist() == pairs.fold.tolist()
    assert not set(made.first.tolist()) & set(made.second.tolist())
    for first, second, a, b in zip(made.first, made.second, pairs.first, pairs.second):
        assert made.images[first] == pairs.images[a]
        random = np.random.default_rng([SEED, b])
        assert made.images[second] == degrade_image(pairs.images[b], parse_degradation("resolution:8"), random)[0]
        small = load_image(made.images[second]).resize((8, 8), Image.Resampling.BOX)
        sharp = load_image(pairs.images[b]).resize((8, 8), Image.Resampling.BOX)
        assert np.abs(np.asarray(small, float) - np.asarray(sharp, float)).mean() < 8
        assert (made.columns.loc[first, "resolution_px"], made.columns.loc[second, "resolution_px"]) == (112, 8)


def test_cfp_for_training(tmp_path):
    write_cfp(tmp_path / "data" / "cfp")
    cfp(1)(tmp_path, tmp_path / "cfp_1")
    faces, index, _ = stored(tmp_path / "cfp_1")
    assert faces.num_identities == 2
    assert sorted(index["group"]) == [0] * 4 + [1] * 4
    # Only the frontal ones have students.
    with_students("cfp_1", STUDENTS)(tmp_path, tmp_path / "students")
    assert sorted(stored(tmp_path / "students")[1]["group"]) == [0] * 4 + [1] * 4 + [2] * 4


@pytest.mark.parametrize("with_table", [True, False])
def test_celeba_with_its_table(tmp_path, with_table):
    folder = tmp_path / "data" / "celeba"
    write_recordio(folder, [(0, picture(1)), (0, b"no image"), (1, picture(2))])
    if with_table:
        (folder / "train.csv").write_text("index,label,eye_distance_px\n1,0,40.0\n2,0,3.0\n3,1,11.0\n")
    celeba()(tmp_path, tmp_path / "celeba")
    _, index, images = stored(tmp_path / "celeba")
    assert images == [picture(1), picture(2)]
    assert ("eye_distance_px" in index) == with_table
    if with_table:
        assert index["eye_distance_px"].tolist() == [40.0, 11.0]
    assert json.loads((tmp_path / "celeba" / "dataset.json").read_text())["images"] == 2
