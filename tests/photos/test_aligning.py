import csv

import numpy as np
import pytest
from marked_photos import MarkDetector, marked_photo
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.detection import photo_faces
from ddl_tf.photos import AlignSettings, align_folder


@pytest.fixture
def root(tmp_path):
    marked_photo(tmp_path / "scface" / "day 1" / "001_cam1.png", (20, 30, 100, 40))
    marked_photo(tmp_path / "scface" / "day 1" / "002_cam1.png", (20, 30, 20, 40))
    marked_photo(tmp_path / "scface" / "003.png", (5, 5, 60, 40), (120, 60, 110, 200))
    Image.open(tmp_path / "scface" / "003.png").save(tmp_path / "scface" / "004.JPG", quality=100, subsampling=0)
    marked_photo(tmp_path / "scface" / "005.png")
    (tmp_path / "scface" / "notes.txt").write_text("none")
    return tmp_path / "scface"


def settings(root, **changes):
    return AlignSettings(root=str(root), output=str(root.parent / "aligned"), **changes)


def test_every_face_has_the_name_of_its_image(root):
    counts = align_folder(settings(root), MarkDetector())
    assert counts == {"no usable face": 1, "corrupt image": 1, "no face": 1, "written": 3}
    output = root.parent / "aligned"
    written = {str(path.relative_to(output)) for path in output.rglob("*") if path.is_file()}
    assert written == {"day 1/001_cam1.png", "003.png", "004.JPG", "left_out.csv", ".aligned.json", ".lock"}
    face = photo_faces((root / "003.png").read_bytes(), MarkDetector())[1]
    np.testing.assert_array_equal(np.asarray(Image.open(output / "003.png")), face.crop)
    assert Image.open(output / "004.JPG").format == "JPEG"
    with (output / "left_out.csv").open() as file:
        left_out = {row["source"].removeprefix(f"{root}/"): row["reason"] for row in csv.DictReader(file)}
    assert left_out == {
        "005.png": "no face was found in it",
        "day 1/002_cam1.png": "the surest is too small: 20 px, where 32 are needed",
        "notes.txt": "it is no image",
    }


def test_an_interrupted_call_goes_on_with_what_is_not_there(root):
    with pytest.raises(KeyboardInterrupt):
        align_folder(settings(root), MarkDetector(stop_after=1))
    kept = {path: path.stat().st_mtime_ns for path in (root.parent / "aligned").rglob("*.png")}
    assert align_folder(settings(root), MarkDetector())["written"] == 3
    assert {path: path.stat().st_mtime_ns for path in kept} == kept


def test_what_is_not_of_the_command_stays(root):
    output = root.parent / "aligned"
    output.mkdir()
    (output / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match="holds what is not of this command"):
        align_folder(settings(root), MarkDetector())
    (output / "mine.txt").unlink()
    align_folder(settings(root), MarkDetector())
    with pytest.raises(InputError, match="holds faces of other images or settings"):
        align_folder(settings(root, face="central"), MarkDetector())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"root": None}, "--root is missing"),
        ({"root": "nowhere"}, "nowhere: no such folder"),
        ({"output": "{root}/aligned"}, "is in --root"),
    ],
)
def test_what_is_wrong_is_said(root, changes, message):
    values = {name: value and value.format(root=root) for name, value in changes.items()}
    with pytest.raises(InputError, match=message):
        align_folder(AlignSettings(**{"root": str(root), "output": "out", **values}), MarkDetector())
