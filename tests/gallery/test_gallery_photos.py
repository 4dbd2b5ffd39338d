"""Photos in folders and CSV files, and what a network gets of them."""

import io
import os

import numpy as np
import pytest
from false_sizes import png
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.gallery.photos import LANDMARK_COLUMNS, Photo, csv_photos, face_bytes, folder_photos, split_problems
from ddl_tf.images.alignment import align_face
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.importers.source import Problem
from ddl_tf.synthetic.shots import render


@pytest.fixture(scope="module")
def face():
    return render(identity=1, image=0, size=112)[0]


def write(path, pixels, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path, **options)
    return str(path)


def pixels_of(encoded):
    return np.asarray(Image.open(io.BytesIO(encoded)))


def test_a_folder_of_people(face, tmp_path):
    for name in ("ben/2.png", "ben/1.png", "anna/old/1.png", "stray.png", ".hidden/1.png", "anna/.hidden.png"):
        write(tmp_path / name, face)
    photos, problems = split_problems(folder_photos(str(tmp_path), of_people=True))
    listed = [(photo.person, os.path.relpath(photo.path, tmp_path)) for photo in photos]
    assert listed == [("anna", "anna/old/1.png"), ("ben", "ben/1.png"), ("ben", "ben/2.png")]
    assert problems == [Problem("stray file", str(tmp_path / "stray.png"), "it is in no person's folder")]
    photos, problems = split_problems(folder_photos(str(tmp_path), of_people=False))
    assert ({photo.person for photo in photos}, len(photos), problems) == ({""}, 4, [])


def test_links_in_a_circle_pipes_and_names_that_are_no_utf8(face, tmp_path):
    folder = tmp_path / "photos"
    write(folder / "anna" / "1.png", face)
    write(folder / "jos\udce9" / "1.png", face)
    for name in ("a", "b"):
        (folder / "anna" / name).symlink_to(folder / "anna")
        (folder / "anna" / f"up{name}").symlink_to(folder)
    (folder / "ben").symlink_to(tmp_path / "elsewhere")
    write(tmp_path / "elsewhere" / "1.png", face)
    os.mkfifo(folder / "anna" / "pipe.png")
    photos, problems = split_problems(folder_photos(str(folder), of_people=True))
    assert [os.path.relpath(photo.path, folder) for photo in photos] == ["anna/1.png", "ben/1.png"]
    listed = [(problem.kind, problem.source) for problem in problems]
    assert listed == [("no file", f"{folder}/anna/pipe.png"), ("file name", f"{folder}/jos\\xe9/1.png")]
    assert face_bytes(Photo(f"{folder}/anna/pipe.png"), (32, 32)).kind == "no file"


def test_a_csv_file_with_landmarks(tmp_path):
    file = tmp_path / "list.csv"
    points = np.arange(10) + 0.5
    lines = [
        "person,path,score," + ",".join(LANDMARK_COLUMNS),
        "007,photos/a.jpg,1," + ",".join(map(str, points)),
        "8,,1," + ",".join(map(str, points)),
        ",b.jpg,1," + ",".join(map(str, points)),
        "9,c.jpg,1," + ",".join(map(str, points[:9])) + ",",
    ]
    file.write_text("\n".join(lines))
    photos, problems = split_problems(csv_photos(str(file), of_people=True))
    (photo,) = photos
    assert (photo.person, photo.path) == ("007", str(tmp_path / "photos" / "a.jpg"))
    np.testing.assert_array_equal(photo.landmarks, points.reshape(5, 2))
    assert [(problem.kind, problem.source, problem.reason) for problem in problems] == [
        ("missing value", f"{file}, line 3", "no path"),
        ("missing value", f"{file}, line 4", "no person"),
        ("no landmarks", f"{file}, line 5 (c.jpg)", "one of x1 to y5 is no number"),
    ]


def test_a_photo_is_aligned_by_its_landmarks_also_where_it_is_stored_turned(face, tmp_path):
    """A face turned, scaled and shifted into a larger photo, whose stored pixels a tag turns into the upright one."""
    angle, scale, shift = 0.4, 1.7, np.array([140.0, 40.0])
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    inverse = np.linalg.inv(turn)
    offset = -inverse @ shift
    data = np.column_stack([inverse, offset]).ravel().tolist()
    scene = Image.fromarray(face).transform((400, 340), Image.Transform.AFFINE, data, Image.Resampling.BICUBIC)
    # Pillow counts from the corner of a pixel.
    points = (ARCFACE_TEMPLATE + 0.5) @ turn.T + shift - 0.5
    scene = np.asarray(scene)
    expected = align_face(scene, points, 112)
    # The face comes back as it was before it was turned.
    assert np.abs(expected.astype(float) - face)[8:-8, 8:-8].mean() < 4
    turned = [scene, scene[:, ::-1], np.rot90(scene, 2), scene[::-1], scene.swapaxes(0, 1), np.rot90(scene)]
    turned += [np.rot90(scene, 2).swapaxes(0, 1), np.rot90(scene, -1)]
    for orientation, stored in enumerate(turned, 1):
        exif = Image.Exif()
        exif[0x0112] = orientation
        path = write(tmp_path / f"{orientation}.png", np.ascontiguousarray(stored), exif=exif)
        np.testing.assert_array_equal(pixels_of(face_bytes(Photo(path, "", points), (112, 112))), expected)
        np.testing.assert_array_equal(pixels_of(face_bytes(Photo(path), (112, 112))), scene)
    assert pixels_of(face_bytes(Photo(path, "", points), (150, 140))).shape == (150, 150, 3)


def test_aligned_faces_stay_as_they_are_and_other_formats_are_decoded(face, tmp_path):
    for name in ("face.jpg", "face.png"):
        assert face_bytes(Photo(write(tmp_path / name, face)), (32, 32)) == (tmp_path / name).read_bytes()
    path = write(tmp_path / "face.webp", face, lossless=True)
    np.testing.assert_array_equal(pixels_of(face_bytes(Photo(path), (32, 32))), face)
    # 16 bits.
    grey = face[..., 0]
    path = write(tmp_path / "a.png", grey.astype(np.uint16) * 257)
    aligned = pixels_of(face_bytes(Photo(path, "", ARCFACE_TEMPLATE), (112, 112)))
    np.testing.assert_array_equal(aligned, np.repeat(grey[..., np.newaxis], 3, axis=2))


def test_folders_without_photos_and_csv_files_without_columns(tmp_path):
    file = tmp_path / "lists" / "list.csv"
    (tmp_path / "empty").mkdir()
    file.parent.mkdir()
    file.write_text("path,x1,y1\na.jpg,1,2\n")
    for read, path, of_people, message in (
        (folder_photos, tmp_path / "empty", True, "no files in it"),
        (folder_photos, tmp_path / "missing", True, "no such folder"),
        (csv_photos, file, False, "no column 'x2'; give all of"),
        (csv_photos, file, True, "no column 'person'"),
    ):
        with pytest.raises(InputError, match=message):
            read(str(path), of_people)
    file.write_text("path\na.jpg\n")
    assert csv_photos(str(file), of_people=False) == [Photo(str(file.parent / "a.jpg"))]


def test_bad_photos_are_named(face, tmp_path):
    write(tmp_path / "a.jpg", face)
    whole = (tmp_path / "a.jpg").read_bytes()
    for name, content, kind, reason in (
        ("empty.jpg", b"", "corrupt image", "it is empty"),
        ("text.jpg", b"no image at all", "corrupt image", "it is no image"),
        ("half.jpg", whole[: len(whole) // 2], "corrupt image", " "),
        ("large.png", png(9000, 9000), "too large", "81,000,000 pixels"),
        ("bomb.png", png(30_000, 30_000), "corrupt image", " "),
    ):
        (tmp_path / name).write_bytes(content)
        for landmarks in (None, ARCFACE_TEMPLATE):
            problem = face_bytes(Photo(str(tmp_path / name), "", landmarks), (32, 32))
            assert (problem.kind, problem.source) == (kind, str(tmp_path / name))
            assert reason in problem.reason
    assert face_bytes(Photo(str(tmp_path / "none.jpg")), (32, 32)).kind == "missing file"
    problem = face_bytes(Photo(str(tmp_path / "a.jpg"), "", np.ones([5, 2])), (32, 32))
    assert problem.kind == "bad landmarks"
    assert "not all one point" in problem.reason
