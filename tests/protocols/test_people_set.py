import numpy as np
import pandas as pd
import pytest
from tiny_sets import list_source, picture, samples, store, store_source

from ddl_tf.common.errors import InputError
from ddl_tf.importers.source import Problem, Sample
from ddl_tf.protocols.pair_sets import PairSet, pair_source, pairs_table
from ddl_tf.protocols.people_set import folder_people, stored_people


def test_stored_sets(tmp_path):
    store(samples(7, yaw=3.5, hair="long", box_left=4.0, left_eye_x=8.0, key="other"), tmp_path / "one")
    faces = stored_people([str(tmp_path / "one")])
    assert faces.name == "one"
    assert list(faces.images) == [picture(n) for n in range(7)]
    assert faces.people.tolist() == ["person 0"] * 3 + ["person 1"] * 3 + ["person 2"]
    assert faces.keys[:2] == ["person 0, row 0", "person 0, row 1"]
    # Nothing of where things lie in the photo.
    assert list(faces.columns) == ["group", "number", "yaw", "hair"]
    assert list(faces.table()) == ["person", *faces.columns]
    assert faces.source == {"data": [str(tmp_path / "one")]}
    # People of two sets are different ones, whatever their names are.
    photos = [Sample(picture(n), n // 2, f"item {n}", columns={"photo": f"{n}.jpg"}) for n in range(4)]
    store_source(list_source([*photos, Problem("no face", "x.jpg", "")]), tmp_path / "b" / "one", on_error="skip")
    both = stored_people([str(tmp_path / "one"), str(tmp_path / "b" / "one")])
    assert both.name == "one_one"
    assert len(set(both.people)) == 5
    assert both.people[-1] == f"{tmp_path}/b/one/1"
    assert both.left_out == {"no face": 1}
    alone = stored_people([str(tmp_path / "b" / "one")])
    assert alone.keys == ["0.jpg", "1.jpg", "2.jpg", "3.jpg"]
    assert list(alone.columns) == ["photo"]


def test_stored_sets_that_are_refused(tmp_path):
    folder = str(tmp_path / "alone")
    store(samples(3), folder)
    with pytest.raises(InputError, match="alone: all 3 images show one person, person 0"):
        stored_people([folder])
    with pytest.raises(InputError, match="nowhere: not a stored set"):
        stored_people([str(tmp_path / "nowhere")])
    images = [picture(n) for n in range(4)]
    pair_set = PairSet("p", images, np.array([0, 2]), np.array([1, 3]), np.array([True, False]), np.array([0, 0]))
    store_source(pair_source(pair_set, "bin", "p"), tmp_path / "pairs")
    pairs_table(pair_set).to_parquet(tmp_path / "pairs" / "pairs.parquet")
    with pytest.raises(InputError, match="pairs: a verification set, which has its own pairs; use `evaluate pairs"):
        stored_people([str(tmp_path / "pairs")])


def faces_folder(root, names, size=16):
    for number, name in enumerate(names):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(picture(number, size, "PNG" if name.lower().endswith("png") else "JPEG"))
    return str(root)


def test_folder(tmp_path, capsys):
    names = ["ann/1.jpg", "ann/holiday/2.PNG", "bob/1.jpeg"]
    root = faces_folder(tmp_path / "faces", names)
    faces = folder_people(root)
    assert capsys.readouterr().err == ""
    assert (faces.name, faces.keys, faces.people.tolist()) == ("faces", names, ["ann", "ann", "bob"])
    assert list(faces.images) == [(tmp_path / "faces" / name).read_bytes() for name in names]
    assert faces.source == {"root": root}
    pd.testing.assert_frame_equal(faces.table(), pd.DataFrame({"person": faces.people}))
    # What is no image is counted, hidden files are not.
    for name in ("stray.jpg", "ann/notes.txt", "ann/.hidden"):
        (tmp_path / "faces" / name).write_bytes(b"")
    assert folder_people(root).keys == names
    err = capsys.readouterr().err
    assert err == f"{root}: 2 files are left out, such as ann/notes.txt: no .jpg, .jpeg or .png in a person's folder\n"


def test_plain_photos_are_noticed(tmp_path, capsys):
    from PIL import Image

    root = faces_folder(tmp_path / "photos", ["ann/1.jpg", "bob/1.jpg", "bob/2.jpg", "cy/1.jpg"])
    for name in ("bob/1.jpg", "bob/2.jpg"):
        Image.new("RGB", (30, 20)).save(tmp_path / "photos" / name)
    folder_people(root)
    assert capsys.readouterr().err == ""
    # A damaged one has no size.
    (tmp_path / "photos" / "ann" / "1.jpg").write_bytes(b"no image")
    Image.new("RGB", (30, 20)).save(tmp_path / "photos" / "cy" / "1.jpg")
    folder_people(root)
    assert "most images are not square, such as 30 x 20 px; if these are plain photos" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ([], "0 images; give at least two people"),
        (["ann/1.jpg"], "1 image; give at least two people"),
        (["ann/1.jpg", "ann/2.jpg"], "all 2 images show one person, ann"),
        (["ann/1.jpg", "bob/2.jpg"], "2 people with one image each"),
        (["1.jpg", "2.jpg", "3.jpg"], "0 images"),
    ],
)
def test_folders_that_are_refused(tmp_path, names, message):
    (tmp_path / "faces").mkdir()
    with pytest.raises(InputError, match=f"faces: {message}"):
        folder_people(faces_folder(tmp_path / "faces", names))
    with pytest.raises(InputError, match="nowhere: no such folder"):
        folder_people(str(tmp_path / "nowhere"))
