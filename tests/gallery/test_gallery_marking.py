"""Marked copies of photos."""

import numpy as np
import pytest
from PIL import Image, ImageColor

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.plots import EASY, HARD, SAME
from ddl_tf.gallery.marking import Mark, check_marked, draw_marks, face_marks, write_marked
from ddl_tf.gallery.photos import FaceBox, Photo
from ddl_tf.gallery.search import Found
from ddl_tf.reporting.palette import GREY

BOX = FaceBox(1, 100, 120, 180, 220, 0.99)


def is_of(pixels, colour):
    """Where pixels have a colour."""
    return np.abs(np.asarray(pixels).astype(int) - ImageColor.getrgb(colour)).max(-1) < 40


def bounds(mask):
    y, x = np.nonzero(mask)
    return x.min(), y.min(), x.max(), y.max()


def test_known_unknown_and_without_a_threshold():
    faces = [Photo("a", box=FaceBox(n, 0, 0, 9, 9, 1)) for n in (1, 2)] + [Photo("b", box=BOX)]
    people = np.array([["anna", "ben"], ["be\nn", None], [None, None]], object)
    similarity = np.array([[0.714, 0.1], [0.3, -np.inf], [-np.inf, -np.inf]])
    marks = face_marks(faces, Found(people, similarity, similarity >= 0.5))
    assert marks["a"] == [Mark(faces[0].box, "#1 anna 0.71", SAME), Mark(faces[1].box, "#2 ?", HARD)]
    assert marks["b"] == [Mark(BOX, "#1 ?", HARD)]
    marks = face_marks(faces, Found(people, similarity, None))
    assert [(mark.words, mark.colour) for mark in marks["a"]] == [("#1 anna 0.71", EASY), ("#2 be\\nn 0.30", EASY)]
    # Faces that are not usable are marked where a face is named.
    others = [Photo(path, box=FaceBox(0, 1, 1, 5, 5, 0.5)) for path in ("b", "c")]
    marks = face_marks(faces, Found(people, similarity, None), others)
    assert marks["b"][1:] == [Mark(others[0].box, "", GREY)]
    assert set(marks) == {"a", "b"}
    # Of an empty gallery.
    nobody = Found(np.empty([3, 0], object), np.empty([3, 0]), None)
    assert face_marks(faces, nobody)["b"] == [Mark(BOX, "#1 ?", HARD)]


@pytest.mark.parametrize("scale", [1, 2])
def test_the_box_is_drawn_where_the_face_is_and_the_words_above_it(scale):
    image = draw_marks(Image.new("RGB", (400, 300), "black"), scale, [Mark(BOX, "#1 ?", SAME)])
    left, top, right, bottom = bounds(is_of(image, SAME))
    assert (left, right, bottom) == pytest.approx((100 / scale, 180 / scale, 220 / scale), abs=1)
    plain = draw_marks(Image.new("RGB", (400, 300), "black"), scale, [Mark(BOX, "", SAME)])
    assert bounds(is_of(plain, SAME)) == pytest.approx((100 / scale, 120 / scale, 180 / scale, 220 / scale), abs=1)
    # Words of 12 px or more, in white, on a ground of the colour.
    assert 15 <= 120 / scale - top <= 30
    words = bounds(is_of(image, "white"))
    assert top < words[1] < words[3] < 120 / scale
    assert words[3] - words[1] >= 8
    # Nothing within the box is painted over.
    inner = np.asarray(image)[round(130 / scale) : round(210 / scale), round(110 / scale) : round(170 / scale)]
    assert not inner.any()


def test_words_stay_in_the_photo():
    """At the top the words stand below the box, at the right they begin further left."""
    for box, above, below in ((FaceBox(1, 340, 0, 395, 60, 1), 60, 85), (FaceBox(1, 340, 200, 395, 299, 1), 175, 200)):
        mark = Mark(box, "#1 a long name 0.99", HARD)
        image = draw_marks(Image.new("RGB", (400, 300), "black"), 1, [mark])
        left, top, right, bottom = bounds(is_of(image, "white"))
        assert 150 < left < right < 399
        assert above < top < bottom < below


def test_copies_have_the_names_of_the_photos_and_are_upright(tmp_path):
    root, folder = tmp_path / "photos", tmp_path / "marked"
    exif = Image.Exif()
    exif[0x0112] = 6
    for name, options in (("a.png", {}), ("b/c.JPG", {"exif": exif, "format": "JPEG"}), ("b/d.png", {})):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (400, 300), "black").save(root / name, **options)
    names = ["a.png", "b/c.JPG", "b/d.png", "b/missing.jpg"]
    marks = {str(root / name): [Mark(BOX, "#1 ?", HARD)] for name in names}
    before = {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    (problem,) = write_marked(folder, str(root), marks)
    assert (problem.kind, problem.source) == ("missing file", str(root / "b/missing.jpg"))
    copies = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert copies == ["a.png.jpg", "b/c.JPG", "b/d.png.jpg"]
    for name, size in (("a.png.jpg", (400, 300)), ("b/c.JPG", (300, 400))):
        with Image.open(folder / name) as copy:
            assert (copy.format, copy.size) == ("JPEG", size)
            assert bounds(is_of(copy, HARD))[::2] == pytest.approx((100, 180), abs=2)
    assert before == {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}
    # A list may name photos of folders that lie elsewhere.
    write_marked(tmp_path / "further", str(root / "b"), {path: marks[path] for path in list(marks)[:2]})
    assert sorted(path.name for path in (tmp_path / "further").rglob("*.*")) == ["a.png.jpg", "c.JPG"]


def test_no_copy_takes_the_place_of_another(tmp_path):
    for name, colour in (("a.png", "red"), ("a.png.jpg", "blue")):
        Image.new("RGB", (200, 100), colour).save(tmp_path / name)
    marks = {str(tmp_path / name): [Mark(FaceBox(1, 5, 5, 9, 9, 1), "#1 ?", HARD)] for name in ("a.png", "a.png.jpg")}
    (problem,) = write_marked(tmp_path / "marked", str(tmp_path), marks)
    assert (problem.kind, problem.source) == ("not marked", str(tmp_path / "a.png.jpg"))
    assert is_of(Image.open(tmp_path / "marked" / "a.png.jpg"), "red")[90, 190]


def test_a_huge_photo_has_a_smaller_copy(tmp_path):
    Image.new("RGB", (12_000, 40), "black").save(tmp_path / "a.png")
    marks = {str(tmp_path / "a.png"): [Mark(FaceBox(1, 6000, 0, 6600, 30, 1), "#1 ?", SAME)]}
    assert write_marked(tmp_path / "marked", str(tmp_path), marks) == []
    with Image.open(tmp_path / "marked" / "a.png.jpg") as copy:
        assert copy.width == 8192
        assert bounds(is_of(copy, SAME))[0] == pytest.approx(6000 * 8192 / 12_000, abs=2)


def test_folders_that_hold_something_are_refused(tmp_path):
    (tmp_path / "new").mkdir()
    check_marked(tmp_path / "new", "")
    check_marked(tmp_path / "none", str(tmp_path / "new"))
    (tmp_path / "file").write_text("")
    for folder, images, message in (
        (tmp_path, "", "there is something already"),
        (tmp_path / "file", "", "there is something already"),
        (tmp_path / "new" / "marked", str(tmp_path / "new"), "it would be among the --images"),
    ):
        with pytest.raises(InputError, match=message):
            check_marked(folder, images)
