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
from ddl_tf.mining import degraded_source, parse_degradation
from ddl_tf.mining.degradation import KINDS, STRENGTH_COLUMNS, degrade_image, neutral_strengths
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
}


def face(size=112):
    return Image.fromarray(render(3, 0, size=size)[0])


def pixels_of(image):
    return np.asarray(image, float)


def apply(text, image=None, seed=0):
    return parse_degradation(text).apply(face() if image is None else image, np.random.default_rng(seed))


def test_a_kind_changes_the_image_and_its_own_strengths_alone():
    assert {text.split(":")[0] for text in SPECS} == set(KINDS) - {"jpeg"}
    before, neutral = pixels_of(face()), {**neutral_strengths(112), "jpeg_quality": 95.0}
    for text, columns in SPECS.items():
        image, strengths = apply(text)
        assert (image.mode, image.size) == ("RGB", (112, 112))
        assert tuple(strengths) == STRENGTH_COLUMNS
        assert {name for name in STRENGTH_COLUMNS if strengths[name] != neutral[name]} == columns
        assert np.abs(pixels_of(image) - before).mean() > 1
    image, strengths = apply("occlusion:0+light:1+side_light:0+blur:0+resolution:200+noise:0+grey:0+jpeg:20")
    np.testing.assert_array_equal(pixels_of(image), before)
    assert strengths == {**neutral, "jpeg_quality": 20.0}


def test_light_is_a_gain_and_side_light_leaves_one_side():
    image, strengths = apply("light:0.2-0.5")
    assert 0.2 <= strengths["light"] <= 0.5
    np.testing.assert_allclose(pixels_of(image), strengths["light"] * pixels_of(face()), atol=0.51)
    for seed in range(6):
        lit = pixels_of(apply("side_light:0.8", Image.new("RGB", (80, 80), (200, 200, 200)), seed)[0]) / 200
        dark, light = sorted([lit[:, :8].mean(), lit[:, -8:].mean()])
        assert dark < 0.3
        assert light > 0.9


def test_resolution_is_an_average_of_blocks():
    image, _ = apply("resolution:8", face(64))
    means = pixels_of(face(64)).reshape(8, 8, 8, 8, 3).mean((1, 3))
    small = Image.fromarray((means + 0.5).astype(np.uint8)).resize((64, 64), Image.Resampling.BICUBIC)
    # Pillow rounds between the two directions.
    difference = np.abs(pixels_of(image) - pixels_of(small))
    assert difference.max() <= 4
    assert difference.mean() < 0.5
    for mode in ("L", "RGBA"):
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


def test_noise_is_of_the_pixels_of_the_camera_and_grey_takes_a_share_of_the_colour():
    flat = Image.new("RGB", (96, 96), (120, 120, 120))
    assert pixels_of(apply("noise:10", flat)[0]).std() == pytest.approx(10, rel=0.05)
    coarse = pixels_of(apply("noise:10+resolution:24", flat)[0])
    # Scaled up, neighbours have nearly one value.
    assert np.abs(np.diff(coarse, axis=1)).mean() < 0.4 * coarse.std()
    colours = [np.ptp(pixels_of(image), axis=2).mean() for image in (face(), apply("grey:0.5")[0])]
    assert colours[1] == pytest.approx(0.5 * colours[0], rel=0.05)


def test_the_hidden_share_is_that_which_was_drawn():
    for kind in ("bar", "occlusion"):
        for seed in range(10):
            image, strengths = apply(f"{kind}:0.1-0.6", Image.new("RGB", (112, 90), (0, 255, 0)), seed)
            assert 0.09 < strengths["occlusion"] < 0.61
            hidden = (pixels_of(image) != (0, 255, 0)).any(2).mean()
            assert hidden == pytest.approx(strengths["occlusion"], abs=0.03)
    # Where several overlap, they count once.
    texts = ("mask:1+sunglasses:1+bar:0.3", "mask:1", "sunglasses:1")
    both, mask, glasses = (apply(text)[1]["occlusion"] for text in texts)
    assert max(0.3, mask + glasses) < both < mask + glasses + 0.3


def test_strengths_are_uniform_with_both_ends_and_the_order_in_the_text_does_not_matter():
    small = face(16)
    drawn = [apply("resolution:8-10", small, seed)[1]["resolution_px"] for seed in range(300)]
    counts = pd.Series(drawn).value_counts()
    assert sorted(counts.index) == [8, 9, 10]
    assert counts.min() > 70
    image, first = apply("noise:8+blur:1+mask:0.5+light:0.5-0.9")
    reordered, second = apply(" light:0.5 - 0.9+mask:0.5 + blur:1+noise:8 ")
    np.testing.assert_array_equal(pixels_of(image), pixels_of(reordered))
    assert first == second


def test_degraded_images_are_jpeg_without_subsampling():
    for text, low, high in (("jpeg:10-30", 10, 30), ("blur:1", 95, 95)):
        encoded, strengths = degrade_image(encode_jpeg(face()), parse_degradation(text), np.random.default_rng(0))
        assert low <= strengths["jpeg_quality"] <= high
        again = io.BytesIO()
        Image.new("RGB", (16, 16)).save(again, "JPEG", quality=int(strengths["jpeg_quality"]), subsampling=0)
        image, expected = Image.open(io.BytesIO(encoded)), Image.open(again)
        assert (image.format, image.quantization, image.layer) == ("JPEG", expected.quantization, expected.layer)


@pytest.mark.parametrize(
    "text, reason",
    [
        ("resolution", "'resolution' is not KIND:STRENGTH or KIND:LOW-HIGH"),
        ("blur:-1", "is not KIND:STRENGTH"),
        ("blurr:1", "there is no kind 'blurr'"),
        ("blur:1+blur:2", "blur is given twice"),
        ("light:0.5-0.2", "light runs from 0.5 down to 0.2; give the lower end first"),
        ("resolution:1", "resolution must be within 2-4096"),
        ("jpeg:90-101", "jpeg must be within 1-100"),
        ("resolution:8.5", "resolution must be a whole number"),
    ],
)
def test_bad_text_is_refused_in_one_line(text, reason):
    with pytest.raises(InputError, match=reason) as error:
        parse_degradation(text)
    assert "\n" not in str(error.value)
    assert all(f"{kind}:" in str(error.value) for kind in KINDS)


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
    assert [sample.columns["degradation"] for sample in samples[:3]] == ["", *(student.text for student in STUDENTS)]
    assert [sample.image for sample in samples[::3]] == faces.read(rows)
    for easy, hard in zip(samples[::3], samples[1::3]):
        assert {name: easy.columns[name] for name in STRENGTH_COLUMNS} == neutral_strengths(24)
        assert 6 <= hard.columns["resolution_px"] <= 10
        assert Image.open(io.BytesIO(hard.image)).size == (24, 24)


def test_it_can_be_read_from_any_position_and_a_copy_depends_on_seed_row_and_student(faces):
    source = degraded_source(faces, np.arange(8), STUDENTS, seed=5)
    samples = list(source.read(0))
    for start in (1, 23, 24):
        assert list(source.read(start)) == samples[start:]
    names = {degraded_source(faces, np.array(rows), STUDENTS, 0).name for rows in ([0, 1], [0, 2], [1, 0])}
    assert len(names) == 3
    # The second student of the twins is the same degradation, and draws other numbers.
    same, other, twins = (
        list(degraded_source(faces, np.array([4]), students, seed).read(0))
        for students, seed in ((STUDENTS, 5), (STUDENTS, 6), ([STUDENTS[0]] * 2, 5))
    )
    assert same == samples[12:15]
    assert other[0] == same[0]
    assert all(copy.image != changed.image for copy, changed in zip(same[1:], other[1:]))
    assert twins[1].image == same[1].image != twins[2].image


def test_identities_of_several_sets_stay_apart(tmp_path):
    for name in ("a", "b"):
        stored(tmp_path / name, count=4)
    faces = Faces([str(tmp_path / "a"), str(tmp_path / "b")])
    keys = [sample.identity for sample in degraded_source(faces, np.arange(8), STUDENTS[:1], 0).read(0)]
    pairs = set(zip(keys, np.repeat(faces.index["identity"], 2).tolist()))
    assert len(pairs) == len(set(keys)) == faces.num_identities == 4
    assert keys[0] == "person 0 (identity 0)"


def test_a_damaged_image_is_a_problem_in_its_place_and_bad_rows_are_refused(faces, monkeypatch):
    for rows, students, reason in (
        ([], STUDENTS, "0 images and 2 degradations"),
        ([1], [], "1 images and 0 degradations"),
        ([1, 8], STUDENTS, "row 8: the set has rows 0 to 7"),
        ([-1], STUDENTS, "row -1: the set has rows 0 to 7"),
    ):
        with pytest.raises(InputError, match=reason):
            degraded_source(faces, np.array(rows), students, 0)
    read = faces.read
    monkeypatch.setattr(faces, "read", lambda rows: [b"no image"] if rows[0] == 2 else read(rows))
    items = list(degraded_source(faces, np.array([1, 2]), STUDENTS[:1], 0).read(0))
    assert [type(item) for item in items] == [Sample, Sample, Problem, Problem]
    assert items[2].kind == "corrupt image"
    assert items[2].source.endswith("shard-00000.tfrecord, row 2")
