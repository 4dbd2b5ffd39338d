import csv

import numpy as np
import pandas as pd
import pytest
from marked_photos import MarkDetector, green_embedding, marked_photo

from ddl_tf.common.errors import InputError
from ddl_tf.data import Faces, writer
from ddl_tf.images.pose import LANDMARK_COLUMNS
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.mining.measuring import measure_faces
from ddl_tf.photos import PhotoStoreSettings, finding, prepare_photos


@pytest.fixture
def photos(tmp_path):
    """Ann alone, then beside a larger stranger; Bob with a face at the border; and what has no face for us."""
    root = tmp_path / "photos"
    marked_photo(root / "ann" / "1.png", (20, 30, 100, 40))
    marked_photo(root / "ann" / "2.png", (5, 5, 60, 40), (120, 60, 120, 200))
    marked_photo(root / "ann" / "3.png", (100, 70, 90, 40), (0, 0, 99, 120))
    marked_photo(root / "bob" / "1.png", (180, 100, 110, 120))
    marked_photo(root / "bob" / "2.png", (10, 10, 50, 120, 128), (90, 90, 20, 120))
    marked_photo(root / "bob" / "3.png")
    (root / "bob" / "4.jpg").write_bytes(b"no image")
    marked_photo(root / "stray.png", (20, 30, 100, 40))
    return root


def settings(photos, name="set", **changes):
    return PhotoStoreSettings(root=str(photos), output=str(photos.parent / name), **changes)


def greens(output):
    faces = Faces([str(output)])
    return [int(faces.image(row)[56, 56, 1]) for row in range(len(faces))]


def test_a_folder_becomes_a_set(photos):
    described = prepare_photos(settings(photos), MarkDetector())
    assert described["images"] == 4
    assert described["problems"] == {"corrupt image": 1, "no face": 1, "no usable face": 1, "stray file": 1}
    faces = Faces([str(photos.parent / "set")])
    index = faces.index
    assert index["identity_key"].tolist() == ["ann", "ann", "ann", "bob"]
    assert [path.removeprefix(f"{photos}/") for path in index["photo"]] == [
        "ann/1.png",
        "ann/2.png",
        "ann/3.png",
        "bob/1.png",
    ]
    assert index["photo_faces"].tolist() == [1, 2, 2, 1]
    # The largest: of the second photo the stranger, of the third the face in the corner.
    np.testing.assert_allclose(greens(photos.parent / "set"), [40, 200, 120, 120], atol=3)
    np.testing.assert_array_equal(index[["box_left", "box_top", "box_right", "box_bottom"]].iloc[0], [20, 30, 120, 130])
    landmarks = index[list(LANDMARK_COLUMNS)].to_numpy().reshape(-1, 5, 2)
    np.testing.assert_allclose(landmarks[0], [20, 30] + (ARCFACE_TEMPLATE + 0.5) * 100 / 112 - 0.5)
    assert index["eye_distance_px"].iloc[0] == pytest.approx(35.24 * 100 / 112, abs=0.01)
    assert faces.image(0).shape == (112, 112, 3)
    with open(photos.parent / "set" / "problems.csv") as file:
        reasons = {row["kind"]: row["reason"] for row in csv.DictReader(file)}
    assert reasons["no usable face"] == "the surest is too small: 20 px, where 32 are needed"
    assert not (photos.parent / "set.faces").exists()


def test_mining_works_on_the_set_at_once(photos, tmp_path):
    prepare_photos(settings(photos), MarkDetector())
    faces = Faces([str(photos.parent / "set")])
    measured = measure_faces(faces, tmp_path / "parts")
    np.testing.assert_allclose(measured["measured_yaw"], faces.index["yaw"], atol=1e-4)
    np.testing.assert_allclose(measured["measured_eye_distance_px"], faces.index["eye_distance_px"], rtol=1e-6)


@pytest.mark.parametrize(
    ("face", "expected"),
    [("largest", [40, 200, 120, 120]), ("central", [40, 200, 40, 120]), ("agreed", [40, 40, 40, 120])],
)
def test_which_face_of_several(photos, face, expected):
    prepare_photos(settings(photos, face=face), MarkDetector(), green_embedding)
    np.testing.assert_allclose(greens(photos.parent / "set"), expected, atol=3)


def test_all_faces_are_listed_and_shown(photos):
    prepare_photos(settings(photos), MarkDetector())
    output = photos.parent / "set"
    table = pd.read_parquet(output / "photo_faces.parquet")
    assert table["taken"].sum() == 4
    assert (table["face"] >= 0).sum() == 8
    assert sorted(table.loc[~table["taken"] & (table["face"] >= 0), "refused"]) == [
        "",
        "",
        "too small: 20 px, where 32 are needed",
        "unsure: score 0.50, where 0.9 is needed",
    ]
    assert {path.name for path in output.glob("*.jpg")} == {"taken.jpg", "left_out.jpg"}
    assert not (photos.parent / "set.faces").exists()


def contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}


def test_an_interrupted_call_goes_on_to_the_same_bytes(photos, monkeypatch):
    monkeypatch.setattr(finding, "PART", 3)
    output = photos.parent / "set"
    prepare_photos(settings(photos), MarkDetector())
    undisturbed = contents(output)
    output.rename(photos.parent / "before")
    with pytest.raises(KeyboardInterrupt):
        prepare_photos(settings(photos), MarkDetector(stop_after=4))
    assert not output.exists()
    assert (photos.parent / "set.faces").is_dir()
    second = MarkDetector()
    prepare_photos(settings(photos), second)
    # The first part, of three photos, was kept.
    assert second.calls == 3
    assert contents(output) == undisturbed


def interrupted(*arguments):
    raise KeyboardInterrupt


def test_the_pictures_are_stored_with_the_set(photos, monkeypatch):
    """Whoever is stopped just before the set has its place finds the same files after the second call."""
    output = photos.parent / "set"
    prepare_photos(settings(photos), MarkDetector())
    undisturbed = contents(output)
    output.rename(photos.parent / "before")
    with monkeypatch.context() as patch:
        patch.setattr(writer, "publish", interrupted)
        with pytest.raises(KeyboardInterrupt):
            prepare_photos(settings(photos), MarkDetector())
    prepare_photos(settings(photos), MarkDetector())
    assert contents(output) == undisturbed


def test_parts_of_another_search_are_refused(photos, monkeypatch):
    monkeypatch.setattr(finding, "PART", 3)
    with pytest.raises(KeyboardInterrupt):
        prepare_photos(settings(photos), MarkDetector(stop_after=4))
    with pytest.raises(InputError, match=r"set\.faces holds unfinished work with rules="):
        prepare_photos(settings(photos, least_face=50), MarkDetector())


def write_csv(path, *lines):
    path.write_text("\n".join(lines) + "\n")
    return str(path)


def test_a_flat_folder_with_a_csv_file(photos):
    listed = write_csv(
        photos / "list.csv",
        "path,identity,group,age,place",
        "ann/1.png,007,0,31,gate",
        "bob/1.png,8,1,,yard",
        "bob/3.png,8,1,4,",
    )
    chosen = PhotoStoreSettings(csv=listed, output=str(photos.parent / "set"))
    described = prepare_photos(chosen, MarkDetector())
    index = Faces([str(photos.parent / "set")]).index
    assert index["identity_key"].tolist() == ["007", "8"]
    assert index["group"].tolist() == [0, 1]
    assert index["place"].tolist() == ["gate", "yard"]
    assert index["age"].iloc[0] == 31
    assert np.isnan(index["age"].iloc[1])
    assert described["problems"] == {"no face": 1}


def test_landmarks_of_another_detector_stand_in_for_the_search(photos):
    points = (ARCFACE_TEMPLATE * 0.8 + [30, 40]).ravel()
    header = "path,identity," + ",".join(finding.GIVEN_LANDMARKS)
    found = ",".join(map(str, points))
    listed = write_csv(photos / "list.csv", header, f"ann/1.png,ann,{found}", "bob/1.png,bob" + "," * 10)
    described = prepare_photos(PhotoStoreSettings(csv=listed, output=str(photos.parent / "set")))
    index = Faces([str(photos.parent / "set")]).index
    np.testing.assert_allclose(index[list(LANDMARK_COLUMNS)].iloc[0], points, rtol=1e-9)
    np.testing.assert_allclose(
        index[["box_left", "box_top", "box_right", "box_bottom"]].iloc[0], [30, 40, 119.6, 129.6], atol=1e-6
    )
    assert np.isnan(index["face_score"].iloc[0])
    assert described["problems"] == {"empty identity": 1, "no landmarks": 1}


@pytest.mark.parametrize(
    ("lines", "message"),
    [
        (["path,identity,x1", "ann/1.png,ann,3"], "there is no column 'y1'; give all of x1, y1, ..., x5, y5"),
        (["path,identity,yaw", "ann/1.png,ann,3"], "there is a column 'yaw', which is measured here; rename it"),
    ],
)
def test_a_list_with_wrong_columns_is_refused(photos, lines, message):
    listed = write_csv(photos / "list.csv", *lines)
    with pytest.raises(InputError, match=message):
        prepare_photos(PhotoStoreSettings(csv=listed, output=str(photos.parent / "set")), MarkDetector())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"face": "agreed"}, "--face=agreed needs a model that compares faces: give --model"),
        ({"root": None}, "--root and --csv are missing"),
        ({"sheet_images": 0}, "--sheet_images=0: must be at least 1"),
        ({"least_score": 1.5}, "the least score of a face must be between 0 and 1, got 1.5"),
        ({"least_score": 1.0, "least_face": 200}, "there is no image to store"),
        ({"on_error": "refuse"}, r"bob/2\.png: no usable face"),
    ],
)
def test_what_is_wrong_is_said(photos, changes, message):
    with pytest.raises(InputError, match=message):
        prepare_photos(
            PhotoStoreSettings(**{"root": str(photos), "output": str(photos.parent / "set"), **changes}), MarkDetector()
        )


def test_a_set_that_is_there_is_refused_before_the_search(photos):
    prepare_photos(settings(photos), MarkDetector())
    again = MarkDetector()
    with pytest.raises(InputError, match="exists: choose another --output"):
        prepare_photos(settings(photos), again)
    assert again.calls == 0


def test_a_folder_of_one_photo(tmp_path):
    marked_photo(tmp_path / "photos" / "ann" / "1.png", (20, 30, 100, 40))
    assert prepare_photos(settings(tmp_path / "photos"), MarkDetector())["images"] == 1


def test_a_photo_with_twenty_faces(tmp_path):
    marks = [(60 * column + 5, 60 * row + 5, 40 + row, 40) for row in range(4) for column in range(5)]
    marked_photo(tmp_path / "photos" / "ann" / "1.png", *marks)
    prepare_photos(settings(tmp_path / "photos"), MarkDetector())
    index = Faces([str(tmp_path / "set")]).index
    assert index["photo_faces"].tolist() == [20]
    assert index["box_right"].iloc[0] - index["box_left"].iloc[0] == 43


def test_a_set_is_replaced_again_and_again(photos):
    for _ in range(3):
        prepare_photos(settings(photos, overwrite=True), MarkDetector())
        assert not (photos.parent / "set.replaced").exists()
        assert (photos.parent / "set" / "photo_faces.parquet").is_file()


def test_faces_of_photos_that_changed_meanwhile_are_not_taken_up(photos, monkeypatch):
    """A part knows its photos by their places: one photo for another would give it the other's faces."""
    monkeypatch.setattr(finding, "PART", 3)
    with pytest.raises(KeyboardInterrupt):
        prepare_photos(settings(photos), MarkDetector(stop_after=4))
    (photos / "ann" / "1.png").unlink()
    marked_photo(photos / "ann" / "9.png", (20, 30, 100, 200))
    with pytest.raises(InputError, match=r"set\.faces holds unfinished work with files="):
        prepare_photos(settings(photos), MarkDetector())


def test_photos_of_a_list_that_changed_meanwhile_are_not_taken_up(photos, monkeypatch):
    monkeypatch.setattr(finding, "PART", 1)
    listed = write_csv(photos / "list.csv", "path,identity", "ann/1.png,ann", "bob/1.png,bob", "nowhere.png,bob")
    chosen = PhotoStoreSettings(csv=listed, output=str(photos.parent / "set"))
    with pytest.raises(KeyboardInterrupt):
        prepare_photos(chosen, MarkDetector(stop_after=1))
    marked_photo(photos / "bob" / "1.png", (180, 100, 90, 40))
    with pytest.raises(InputError, match="holds unfinished work with files="):
        prepare_photos(chosen, MarkDetector())
