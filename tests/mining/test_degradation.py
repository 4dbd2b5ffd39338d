import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_store import stored

from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.source import Problem, Sample
from ddl_tf.mining.degradation import (
    KINDS,
    STRENGTH_COLUMNS,
    degrade_image,
    degraded_source,
    neutral_strengths,
    parse_degradation,
)
from ddl_tf.synthetic.faces import render

# What each kind changes in the strengths; the JPEG quality is 95 for all that is encoded anew.
SPECS = {
    "mask:1": {"mask", "occlusion"},
    "sunglasses:0.7": {"sunglasses", "occlusion"},
    "bar:0.3": {"occlusion"},
    "occlusion:0.3": {"occlusion"},
    "light:0.4": {"light"},
    "side_light:0.6": {"side_light"},
    "blur:2": {"blur_px"},
    "resolution:12": {"resolution_px"},
    "noise:15": {"noise"},
    "grey:1": {"grey"},
    "jpeg:20": set(),
}


def face(size=112):
    return Image.fromarray(render(3, 0, size=size)[0])


def pixels_of(image):
    return np.asarray(image, float)


def apply(text, image=None, seed=0):
    return parse_degradation(text).apply(face() if image is None else image, np.random.default_rng(seed))


@pytest.mark.parametrize("text", SPECS)
def test_a_kind_changes_the_image_and_its_own_strengths_alone(text):
    assert {text.split(":")[0] for text in SPECS} == set(KINDS)
    before = pixels_of(face())
    image, strengths = apply(text)
    assert (image.mode, image.size) == ("RGB", (112, 112))
    assert tuple(strengths) == STRENGTH_COLUMNS
    neutral = {**neutral_strengths(112), "jpeg_quality": 95.0}
    changed = {name for name in STRENGTH_COLUMNS if strengths[name] != neutral[name]}
    if text.startswith("jpeg"):
        assert changed == {"jpeg_quality"}
        np.testing.assert_array_equal(pixels_of(image), before)
    else:
        assert changed == SPECS[text]
        assert np.abs(pixels_of(image) - before).mean() > 1


def test_nothing_is_done_at_neutral_strengths():
    image, strengths = apply("occlusion:0+light:1+side_light:0+blur:0+resolution:200+noise:0+grey:0")
    np.testing.assert_array_equal(pixels_of(image), pixels_of(face()))
    assert strengths == {**neutral_strengths(112), "jpeg_quality": 95.0}


def test_light_is_a_gain():
    image, strengths = apply("light:0.2-0.5")
    assert 0.2 <= strengths["light"] <= 0.5
    np.testing.assert_allclose(pixels_of(image), strengths["light"] * pixels_of(face()), atol=0.51)


def test_side_light_leaves_one_side_and_darkens_the_other():
    for seed in range(6):
        image, _ = apply("side_light:0.8", Image.new("RGB", (80, 80), (200, 200, 200)), seed)
        sides = sorted([pixels_of(image)[:, :8].mean() / 200, pixels_of(image)[:, -8:].mean() / 200])
        assert sides[0] < 0.3
        assert sides[1] > 0.9


def test_resolution_is_an_average_of_blocks():
    image, strengths = apply("resolution:8", face(64))
    assert strengths["resolution_px"] == 8
    means = pixels_of(face(64)).reshape(8, 8, 8, 8, 3).mean((1, 3))
    small = Image.fromarray((means + 0.5).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    # Pillow rounds between the two directions.
    difference = np.abs(pixels_of(image) - pixels_of(small))
    assert difference.max() <= 4
    assert difference.mean() < 0.5
    for mode in ("L", "RGBA", "P", "CMYK"):
        image, strengths = apply("resolution:10+occlusion:0.2", face().crop((0, 0, 40, 100)).convert(mode))
        assert (image.mode, image.size, strengths["resolution_px"]) == ("RGB", (40, 100), 10)


def test_blur_is_a_gaussian_of_that_sigma_at_112_px():
    for size in (112, 224):
        dot = np.zeros((size, size, 3), np.uint8)
        dot[size // 2 - 2 : size // 2 + 2, size // 2 - 2 : size // 2 + 2] = 255
        spread = pixels_of(apply("blur:4", Image.fromarray(dot))[0])[..., 0]
        place = np.arange(size) - (size - 1) / 2
        variance = (spread.sum(0) * (place + 0.5) ** 2).sum() / spread.sum()
        # That of the dot itself is 15 / 12; grey levels below a half are lost at the far ends.
        assert np.sqrt(variance - 1.25) == pytest.approx(4 * size / 112, rel=0.1)


def test_noise_is_of_the_pixels_of_the_camera():
    flat = Image.new("RGB", (96, 96), (120, 120, 120))
    assert pixels_of(apply("noise:10", flat)[0]).std() == pytest.approx(10, rel=0.05)
    coarse = pixels_of(apply("noise:10+resolution:24", flat)[0])
    # Scaled up, neighbours have nearly one value.
    assert np.abs(np.diff(coarse, axis=1)).mean() < 0.4 * coarse.std()


def test_grey_takes_the_colour_by_its_share():
    def colour(image):
        return np.ptp(pixels_of(image), axis=2).mean()

    assert colour(apply("grey:1")[0]) == 0
    assert colour(apply("grey:0.5")[0]) == pytest.approx(0.5 * colour(face()), rel=0.05)


@pytest.mark.parametrize("kind", ["bar", "occlusion"])
def test_the_hidden_share_is_that_which_was_drawn(kind):
    for seed in range(10):
        before = Image.new("RGB", (112, 90), (0, 255, 0))
        image, strengths = apply(f"{kind}:0.1-0.6", before, seed)
        assert 0.09 < strengths["occlusion"] < 0.61
        hidden = (pixels_of(image) != (0, 255, 0)).any(2).mean()
        assert hidden == pytest.approx(strengths["occlusion"], abs=0.03)
        assert parse_degradation(f"{kind}:0.1-0.6").apply(before, np.random.default_rng(seed))[1] == strengths


def test_several_occluders_are_counted_once_where_they_overlap():
    both = apply("mask:1+sunglasses:1+bar:0.3")[1]["occlusion"]
    mask, glasses = (apply(text)[1]["occlusion"] for text in ("mask:1", "sunglasses:1"))
    assert max(0.3, mask + glasses) < both < mask + glasses + 0.3


def test_strengths_are_uniform_and_include_both_ends():
    degradation = parse_degradation("resolution:8-10")
    small = face(16)
    sides = [degradation.apply(small, np.random.default_rng(seed))[1]["resolution_px"] for seed in range(300)]
    counts = pd.Series(sides).value_counts()
    assert sorted(counts.index) == [8, 9, 10]
    assert counts.min() > 70


def test_the_order_in_the_text_and_spaces_do_not_matter():
    image, first = apply("noise:8+blur:1+mask:0.5+light:0.5-0.9")
    reordered, second = apply("light:0.5-0.9+mask:0.5+blur:1+noise:8")
    np.testing.assert_array_equal(pixels_of(image), pixels_of(reordered))
    assert first == second
    degradation = parse_degradation(" resolution:8 - 16 + jpeg:30 ")
    assert degradation.ranges == {"resolution": (8, 16), "jpeg": (30, 30)}
    assert degradation.text == "resolution:8 - 16 + jpeg:30"


def test_degraded_images_are_jpeg_without_subsampling():
    for text, quality in (("jpeg:10-30", None), ("blur:1", 95)):
        encoded, strengths = degrade_image(encode_jpeg(face()), parse_degradation(text), np.random.default_rng(0))
        image = Image.open(io.BytesIO(encoded))
        again = io.BytesIO()
        Image.new("RGB", (16, 16)).save(again, "JPEG", quality=int(strengths["jpeg_quality"]), subsampling=0)
        expected = Image.open(again)
        assert (image.format, image.quantization) == ("JPEG", expected.quantization)
        assert image.layer == expected.layer
        assert strengths["jpeg_quality"] == quality or 10 <= strengths["jpeg_quality"] <= 30


@pytest.mark.parametrize(
    "text, reason",
    [
        ("", "'' is not KIND:STRENGTH or KIND:LOW-HIGH"),
        ("resolution", "'resolution' is not KIND:STRENGTH"),
        ("resolution:", "is not KIND:STRENGTH"),
        ("resolution:8,blur:2", "is not KIND:STRENGTH"),
        ("blur:-1", "is not KIND:STRENGTH"),
        ("blur:1+", "'' is not KIND:STRENGTH"),
        ("blurr:1", "there is no kind 'blurr'"),
        ("blur:1+blur:2", "blur is given twice"),
        ("light:0.5-0.2", "light runs from 0.5 down to 0.2; give the lower end first"),
        ("resolution:1", "resolution must be within 2-4096"),
        ("jpeg:90-101", "jpeg must be within 1-100"),
        ("resolution:8.5", "resolution must be a whole number"),
    ],
)
def test_bad_text_is_refused_in_one_line(text, reason):
    with pytest.raises(InputError) as error:
        parse_degradation(text)
    message = str(error.value)
    assert message.startswith(f"degradation {text!r}: ")
    assert reason in message
    assert "\n" not in message
    assert all(f"{kind}:" in message for kind in KINDS)


STUDENTS = [parse_degradation("resolution:6-10"), parse_degradation("light:0.2-0.5+jpeg:10-40")]


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("easy") / "set", count=8)


def test_each_image_comes_with_its_copies(faces):
    rows = np.array([6, 1, 3])
    source = degraded_source(faces, rows, STUDENTS, seed=5)
    samples = list(source.read(0))
    assert (source.count, source.kind) == (9, "degraded")
    assert [sample.group for sample in samples] == [0, 1, 2] * 3
    assert [sample.columns["source_row"] for sample in samples] == np.repeat(rows, 3).tolist()
    assert [sample.identity for sample in samples] == np.repeat(faces.index["identity_key"][rows], 3).tolist()
    assert [sample.columns["degradation"] for sample in samples[:3]] == ["", *(one.text for one in STUDENTS)]
    assert [sample.image for sample in samples[::3]] == faces.read(rows)
    for sample in samples[::3]:
        assert {name: sample.columns[name] for name in STRENGTH_COLUMNS} == neutral_strengths(24)
    for sample in samples[1::3]:
        assert 6 <= sample.columns["resolution_px"] <= 10
        assert Image.open(io.BytesIO(sample.image)).size == (24, 24)


def test_it_can_be_read_from_any_position_and_a_copy_depends_on_seed_row_and_student(faces):
    source = degraded_source(faces, np.arange(8), STUDENTS, seed=5)
    samples = list(source.read(0))
    for start in (0, 1, 5, 23, 24):
        assert list(source.read(start)) == samples[start:]
    names = {degraded_source(faces, np.array(rows), STUDENTS, 0).name for rows in ([0, 1], [0, 2], [1, 0])}
    assert len(names) == 3
    (original, *copies) = degraded_source(faces, np.array([4]), STUDENTS, seed=5).read(0)
    assert [original, *copies] == samples[12:15]
    others = list(degraded_source(faces, np.array([4]), STUDENTS, seed=6).read(0))
    assert others[0] == original
    assert all(copy.image != changed.image for copy, changed in zip(copies, others[1:]))
    # The second student is the same degradation here, and draws other numbers.
    twins = list(degraded_source(faces, np.array([4]), [STUDENTS[0]] * 2, seed=5).read(0))
    assert twins[1].image == copies[0].image != twins[2].image


def test_identities_of_several_sets_stay_apart(tmp_path):
    for name in ("a", "b"):
        stored(tmp_path / name, count=4)
    faces = Faces([str(tmp_path / "a"), str(tmp_path / "b")])
    samples = list(degraded_source(faces, np.arange(8), STUDENTS[:1], 0).read(0))
    keys = [sample.identity for sample in samples]
    pairs = set(zip(keys, np.repeat(faces.index["identity"], 2).tolist()))
    assert len(pairs) == len(set(keys)) == faces.num_identities == 4
    assert keys[0] == "person 0 (identity 0)"


def test_a_damaged_image_is_a_problem_in_its_place(faces, monkeypatch):
    read = faces.read
    monkeypatch.setattr(faces, "read", lambda rows: [b"no image"] if rows[0] == 2 else read(rows))
    items = list(degraded_source(faces, np.array([1, 2]), STUDENTS[:1], 0).read(0))
    assert [type(item) for item in items] == [Sample, Sample, Problem, Problem]
    assert items[2].kind == "corrupt image"
    assert items[2].source.endswith("shard-00000.tfrecord, row 2")


@pytest.mark.parametrize(
    "rows, students, reason",
    [
        ([], STUDENTS, "0 images and 2 degradations"),
        ([1], [], "1 images and 0 degradations"),
        ([1, 8], STUDENTS, "row 8: the set has rows 0 to 7"),
        ([-1], STUDENTS, "row -1: the set has rows 0 to 7"),
    ],
)
def test_bad_rows_are_refused(faces, rows, students, reason):
    with pytest.raises(InputError, match=reason):
        degraded_source(faces, np.array(rows), students, 0)
