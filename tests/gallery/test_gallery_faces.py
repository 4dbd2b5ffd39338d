"""The faces of plain photos: which are taken, and what is said where none is."""

import io

import numpy as np
import pytest
from group_photos import SIDE, GroupPhotos, face_of
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.detection import FaceRules, FoundFaces
from ddl_tf.gallery.faces import FaceFinder, agreed_rows, shared_faces
from ddl_tf.gallery.photos import FaceBox, Photo
from ddl_tf.importers.source import Problem


@pytest.fixture
def group(tmp_path):
    return GroupPhotos(tmp_path)


def pixels_of(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_all_faces_from_left_to_right(group):
    """A face at whole pixels is cut out as it was put in."""
    photo = Photo(group.write("a.png", (1, 0, 250, 20), (2, 0, 10, 150), (3, 1, 130, 90)), "anna")
    cuts = FaceFinder(group).cut(photo, (24, 24))
    assert [face.name for face, _ in cuts] == [f"{photo.path} #{number}" for number in (1, 2, 3)]
    assert cuts[0][0].box == FaceBox(1, 30, 170, 112, 252, 0.99)
    assert {face.person for face, _ in cuts} == {"anna"}
    for (_, encoded), shot in zip(cuts, [(2, 0), (3, 1), (1, 0)]):
        np.testing.assert_array_equal(pixels_of(encoded), face_of(*shot))
    # A network of larger images.
    cuts = FaceFinder(group).cut(photo, (150, 140))
    assert pixels_of(cuts[0][1]).shape == (150, 150, 3)
    smaller = Image.open(io.BytesIO(cuts[0][1])).resize((SIDE, SIDE), Image.Resampling.BILINEAR)
    assert np.abs(np.asarray(smaller).astype(float) - face_of(2)).mean() < 3


def test_one_face_of_a_person(group):
    path = group.write("a.png", (1, 0, 0, 0), (2, 0, 144, 94))
    ((face, _),) = FaceFinder(group, FaceRules(), "central").cut(Photo(path), (24, 24))
    assert face.box.number == 2
    found = group.find(np.asarray(Image.open(path)))
    found.boxes[0, :2] = 2
    ((face, _),) = FaceFinder(group, FaceRules(), "largest").cut(Photo(path), (24, 24))
    assert face.box.number == 1


def test_photos_without_a_face_that_can_be_used(group, tmp_path):
    empty, unsure = group.write("empty.png"), group.write("unsure.png", (1, 0, 0, 0), scores=[0.5])
    (tmp_path / "text.jpg").write_bytes(b"\xff\xd8\xff no photo")
    for path, problem in (
        (empty, ("no face", "no face was found in it")),
        (unsure, ("no usable face", "the surest is unsure: score 0.50, where 0.9 is needed")),
        (str(tmp_path / "missing.jpg"), ("missing file", "No such file or directory")),
        (str(tmp_path), ("no file", "it is a folder, a pipe, a socket or a device")),
    ):
        assert FaceFinder(group).cut(Photo(path), (24, 24)) == Problem(problem[0], path, problem[1])
    assert FaceFinder(group).cut(Photo(str(tmp_path / "text.jpg")), (24, 24)).kind == "corrupt image"
    # An unsure face beside a sure one has no number and no content.
    path = group.write("both.png", (1, 0, 0, 0), (2, 0, 200, 0), scores=[0.5])
    (face, _), (refused, content) = FaceFinder(group).cut(Photo(path), (24, 24))
    assert (face.box.number, face.box.left) == (1, 220)
    assert (refused.box.number, refused.box.left, content) == (0, 20, None)


def test_a_detector_that_is_none_is_no_problem_of_a_photo(group):
    class Other:
        name = "other"

        def find(self, image):
            return FoundFaces(np.zeros([1, 4]), np.zeros([5, 2]), np.ones(1))

    with pytest.raises(InputError, match=r"'other' gave boxes \[1, 4\] and landmarks \[5, 2\]"):
        FaceFinder(Other()).cut(Photo(group.write("a.png", (1, 0, 0, 0))), (24, 24))


def test_the_face_that_other_photos_agree_on():
    anna, ben, stranger = np.eye(3)
    rows = [
        ("a", "1.jpg", 1, stranger, 90),
        ("a", "1.jpg", 2, anna, 40),
        ("b", "1.jpg", 1, ben, 90),
        ("a", "2.jpg", 1, anna, 40),
        # The only photo of somebody.
        ("c", "3.jpg", 1, ben, 50),
        ("c", "3.jpg", 2, stranger, 60),
    ]
    faces = [Photo(path, who, box=FaceBox(number, 0, 0, side, side, 1)) for who, path, number, _, side in rows]
    assert agreed_rows(faces, np.array([row[3] for row in rows])) == [1, 2, 3, 5]
    assert agreed_rows([], np.zeros([0, 3])) == []


def test_a_face_of_two_people():
    box = FaceBox(1, 0, 0, 50, 50, 1)
    faces = [Photo(path, who, box=box) for path, who in (("a", "ben"), ("a", "anna"), ("b", "ben"), ("b", "ben"))]
    (problem,) = shared_faces(faces)
    assert (problem.kind, problem.source) == ("face of two people", "a #1")
    assert "the same face would be anna and ben" in problem.reason
