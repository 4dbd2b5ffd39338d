import dataclasses

import numpy as np
import pytest
from arms import made_sets
from arms.made_sets import SEED, cfp_pairs, degraded_pairs, with_students

from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
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


def test_students(faces, tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(made_sets, "write_set", lambda source, *rest: made.append(source) or write_set(source, *rest))
    make = with_students("faces", STUDENTS, easy="size >= 8", hard="size < 3", rest=True)
    make(tmp_path, tmp_path / "students")
    _, index, images = stored(tmp_path / "students")
    originals = faces.read(np.arange(12))
    expected = [(row, group) for row in range(8, 12) for group in (0, 1, 2)]
    expected += [(row, 1) for row in range(3)] + [(row, -1) for row in range(3, 8)]
    assert list(zip(index["source_row"], index["group"])) == expected
    assert index["identity_key"].tolist() == [faces.index["identity_key"][row] for row, _ in expected]
    for image, (row, group), (_, record) in zip(images, expected, index.iterrows()):
        if not record["degradation"]:
            assert image == originals[row]
            assert (record["resolution_px"], record["mask"], record["occlusion"]) == (32, 0, 0)
        else:
            assert record["degradation"] == STUDENTS[group - 1]
            random = np.random.default_rng([SEED, row, group])
            again, strengths = degrade_image(originals[row], parse_degradation(STUDENTS[group - 1]), random)
            assert image == again
            assert {name: record[name] for name in strengths} == pytest.approx(strengths)
    # An interrupted making goes on; an easy image is not hard too.
    whole = list(made[0].read(0))
    for start in range(made[0].count + 1):
        assert list(made[0].read(start)) == whole[start:]
    with_students("faces", STUDENTS[:1], easy="size >= 8", hard="size >= 7")(tmp_path, tmp_path / "other")
    index = stored(tmp_path / "other")[1]
    assert list(zip(index["source_row"], index["group"])) == [(n, g) for n in range(8, 12) for g in (0, 1)] + [(7, 1)]


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
        assert (made.columns.loc[first, "resolution_px"], made.columns.loc[second, "resolution_px"]) == (112, 8)
