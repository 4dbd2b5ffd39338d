import json

import numpy as np
import pandas as pd
import pytest
from marked_photos import MarkDetector, marked_photo
from tiny_sets import picture, samples, store

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.people_settings import PeopleSettings, add_columns, open_people
from ddl_tf.photos import preparing


@pytest.fixture
def faces(tmp_path):
    for name in ("ann/1.jpg", "ann/2.jpg", "007/1.jpg"):
        (tmp_path / "faces" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "faces" / name).write_bytes(picture(len(name)))
    with open_people(PeopleSettings(root=str(tmp_path / "faces"))) as opened:
        return opened


def test_columns_of_people_and_of_images(faces, tmp_path):
    of_people, of_images = tmp_path / "people.csv", tmp_path / "images.csv"
    of_people.write_text("person,hair,born\n007,short,1920\nann,long,\nnobody,x,1\n")
    of_images.write_text("yaw,key\n30,ann/2.jpg\n-2.5,007/1.jpg\n")
    columns = add_columns(faces, [str(of_people), str(of_images)]).columns
    expected = {"hair": ["short", "long", "long"], "born": [1920, np.nan, np.nan], "yaw": [-2.5, np.nan, 30]}
    pd.testing.assert_frame_equal(columns, pd.DataFrame(expected), check_dtype=False)
    # A later file has the last word.
    of_images.write_text("key,hair\n007/1.jpg,grey\n")
    columns = add_columns(faces, [str(of_people), str(of_images)]).columns
    assert columns["hair"].tolist()[0] == "grey"
    for text, message in (
        ("hair\nlong\n", "columns.csv: has the columns hair; one of `key` and `person` must say"),
        ("key,person\na,b\n", "columns.csv: has the columns key, person; one of"),
        ("person,hair\nann,a\nann,b\n", "columns.csv: the person 'ann' is there twice"),
        ("person,hair\nAnn,a\n", "columns.csv: no person of it is in the set, which has '007' and others"),
    ):
        (tmp_path / "columns.csv").write_text(text)
        with pytest.raises(InputError, match=message):
            add_columns(faces, [str(tmp_path / "columns.csv")])


def test_stored_sets_are_opened(tmp_path):
    store(samples(6), tmp_path / "set")
    with open_people(PeopleSettings(data=[str(tmp_path / "set")])) as faces:
        assert (faces.name, len(faces.images)) == ("set", 6)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"no people: give --data \(stored sets\), or --root"),
        ({"data": ["a"], "root": "b"}, "--data=a and --root=b together: give --data"),
        ({"data": ["a"], "detect": True}, "--detect finds faces in the photos of --root"),
        ({"root": "a", "least_face": 50.0}, "--least_face=50.0 would be ignored: it needs --detect"),
        ({"data": ["a"], "face": "central"}, "--face=central would be ignored: it needs --detect"),
        ({"root": "nowhere", "detect": True}, "nowhere: no such folder"),
    ],
)
def test_what_makes_no_sense(settings, message):
    with pytest.raises(InputError, match=message), open_people(PeopleSettings(**settings)):
        pass


@pytest.fixture
def photos(tmp_path, monkeypatch):
    """Photos of Ann and Bob, one of them without a face, and a detector that counts its calls."""
    detector = MarkDetector()
    monkeypatch.setattr(preparing.PhotoStoreSettings, "detector", lambda settings: detector)
    root = tmp_path / "photos"
    marked_photo(root / "ann" / "1.png", (20, 30, 100, 40))
    marked_photo(root / "ann" / "2.png", (100, 60, 110, 60), (0, 0, 60, 200))
    marked_photo(root / "bob" / "1.png", (20, 30, 100, 120))
    marked_photo(root / "bob" / "2.png")
    return root, detector


def test_faces_of_photos(photos, tmp_path, monkeypatch):
    root, detector = photos
    # Without a place to store them in, they are gone after the block.
    places = tmp_path / "temporary"
    places.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(places))
    with open_people(PeopleSettings(root=str(root), detect=True)) as faces:
        assert (faces.name, faces.people.tolist()) == ("photos", ["ann", "ann", "bob"])
        assert faces.keys == [str(root / name) for name in ("ann/1.png", "ann/2.png", "bob/1.png")]
        assert faces.left_out == {"no face": 1}
        assert {"yaw", "eye_distance_px", "face_score"} <= set(faces.columns)
        assert len(list(faces.images)) == 3
        assert list(places.iterdir())
    assert not list(places.iterdir())
    assert detector.calls == 4


def test_stored_faces_are_used_again_until_photos_or_rules_change(photos, tmp_path):
    root, detector = photos

    def keys(**changes):
        with open_people(
            PeopleSettings(root=str(root), detect=True, store=str(tmp_path / "store"), **changes)
        ) as faces:
            return faces.keys, [bytes(image) for image in faces.images]

    first = keys()
    assert detector.calls == 4
    assert keys() == first
    assert detector.calls == 4
    assert sorted(path.name for path in (tmp_path / "store" / "photos").iterdir()) == ["faces", "faces.json"]
    # Another rule: the second photo's smaller face is no longer there, which changes nothing; and another photo.
    assert keys(least_face=70.0) == first
    assert detector.calls == 8
    marked_photo(root / "bob" / "3.png", (10, 10, 80, 120))
    assert len(keys()[0]) == 4
    assert detector.calls == 13
    # Interrupted, and given again.
    record = tmp_path / "store" / "photos" / "faces.json"
    marked_photo(root / "bob" / "4.png", (10, 10, 80, 120))
    detector._stop_after = 15
    with pytest.raises(KeyboardInterrupt):
        keys()
    assert json.loads(record.read_text())["root"] == str(root)
    detector._stop_after = None
    assert len(keys()[0]) == 5
    detector._stop_after = detector.calls + 2
    with pytest.raises(KeyboardInterrupt):
        keys(least_face=61.0)
    detector._stop_after = None
    # What was begun otherwise is not gone on with, nor removed; finished, it is replaced, and what is the user's stays.
    with pytest.raises(InputError, match=r"faces\.faces holds unfinished work with rules="):
        keys(least_face=62.0)
    (tmp_path / "store" / "photos" / "faces" / "notes.txt").write_text("mine")
    assert len(keys(least_face=61.0)[0]) == len(keys(least_face=62.0)[0]) == 5
    assert (tmp_path / "store" / "photos" / "faces" / "notes.txt").read_text() == "mine"
    # What is not known to be ours is not removed.
    record.unlink()
    with pytest.raises(InputError, match="faces is in the way, and not of this command"):
        keys(least_face=60.0)
    record.write_text("{")
    assert len(keys(least_face=60.0)[0]) == 5
