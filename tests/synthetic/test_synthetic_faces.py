import dataclasses
import io

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.images.alignment import align_face
from ddl_tf.images.template import ARCFACE_TEMPLATE, similarity_transform
from ddl_tf.protocols.pair_sets import read_stored
from ddl_tf.synthetic.conditions import OCCLUDERS, Conditions, draw_conditions
from ddl_tf.synthetic.drawing import draw_face
from ddl_tf.synthetic.faces import SyntheticSettings, draw_pairs, prepare_synthetic, synthetic_images, synthetic_samples
from ddl_tf.synthetic.landmarks import face_landmarks
from ddl_tf.synthetic.shots import draw_shots, plan_shots, render
from ddl_tf.synthetic.traits import HAIR_STYLES, draw_traits

SIZE = 64
SMALL = {"identities": 2, "images_per_identity": 2, "test_identities": 20, "test_pairs": 20, "image_size": 16}


def sharpness(image):
    """Mean energy of the Laplacian."""
    grey = image.astype(np.float64).mean(2)
    laplacian = grey[:-2, 1:-1] + grey[2:, 1:-1] + grey[1:-1, :-2] + grey[1:-1, 2:] - 4 * grey[1:-1, 1:-1]
    return (laplacian**2).mean()


def test_an_image_depends_on_its_numbers_and_not_on_what_was_drawn_before():
    numbers = [(identity, image, 5, SIZE, hard) for identity in (3, 11) for image in (0, 1) for hard in (False, True)]
    before = [render(*arguments) for arguments in numbers]
    draw_traits.cache_clear()
    for arguments, (expected_pixels, expected_columns) in zip(numbers[::-1], before[::-1]):
        pixels, columns = render(*arguments)
        np.testing.assert_array_equal(pixels, expected_pixels)
        assert columns == expected_columns
    for other in ({"seed": 4}, {"identity": 2}, {"image": 3}, {"hard": True}):
        pixels, _ = render(**{"identity": 3, "image": 0, "seed": 5, "size": SIZE, **other})
        assert np.abs(pixels.astype(int) - before[0][0]).mean() > 3, other
    assert draw_traits(4, 0) != draw_traits(4, 1)
    assert len({draw_traits(i) for i in range(300)}) == 300
    # [seed, identity] and [seed, identity, 0] are one seed sequence: traits must not share a stream with image 0.
    traits, image = (np.random.default_rng(seed).uniform(size=8) for seed in ([0, 4], [0, 4, 1, 0]))
    assert not np.allclose(traits, image)


def test_surroundings_are_independent_of_the_identity():
    def spread(values):
        values = np.array(values)  # [identities, images, channels]
        return values.mean(1).var(0).mean() / values.var((0, 1)).mean()

    conditions = [[draw_conditions(i, k) for k in range(20)] for i in range(60)]
    for name in ("clothing", "background"):
        seen = [[np.ravel(getattr(c, name))[:3] for c in row] for row in conditions]
        # Were they of the identity, this would be 1; drawn anew for each of 20 images it is 1 / 20.
        assert spread(seen) < 0.08, name


def test_images_of_one_identity_are_nearer_than_those_of_two():
    views = [Conditions(noise=0.0, resolution=SIZE, smile=smile, yaw=yaw) for smile, yaw in ((0.0, -6.0), (0.5, 6.0))]
    faces = np.array([[draw_face(draw_traits(n), view, SIZE)[0].ravel() for view in views] for n in range(12)], float)
    distance = np.abs(faces[:, 0, None] - faces[None, :, 1]).mean(-1)
    assert (distance.argmin(1) == np.arange(12)).mean() > 0.9
    assert np.diag(distance).mean() < 0.6 * distance[~np.eye(12, dtype=bool)].mean()


@pytest.mark.parametrize("style", ["bald", "afro", "long with fringe"])
def test_yaw_turns_the_features(style):
    # Only the eyes differ between gazes: where the picture changes is where the eyes are.
    traits = dataclasses.replace(draw_traits(2), hair_style=style, hair=HAIR_STYLES[style])

    def eyes(yaw):
        views = [Conditions(yaw=yaw, eye_open=value, resolution=112) for value in (1.0, 0.4)]
        open_, shut = (draw_face(traits, view, 112)[0].astype(int) for view in views)
        weight = np.abs(open_ - shut).sum(2)
        return (weight.sum(0) * (np.arange(112) + 0.5 - 56)).sum() / weight.sum(), weight.sum()

    middle, both = eyes(0.0)
    assert abs(middle) < 0.5
    places = [eyes(yaw)[0] for yaw in (-60, -30, 0, 30, 60)]
    assert np.all(np.diff(places) > 3)
    np.testing.assert_allclose(eyes(40)[0], -eyes(-40)[0], atol=1)
    # In profile one of them is hidden.
    assert eyes(85)[1] < 0.5 * both


@pytest.mark.parametrize("occluder", OCCLUDERS[1:])
@pytest.mark.parametrize("yaw", [0.0, 45.0])
def test_occlusion_is_the_share_of_the_head_that_changes(occluder, yaw):
    traits = dataclasses.replace(draw_traits(9), glasses="none")
    # Nobody is green: what is behind the head can be told from it.
    green = ((0.0, 255.0, 0.0), (0.0, 255.0, 0.0))
    seen = Conditions(yaw=yaw, resolution=112, background=green, clothing=green[0], occluder_colour=(20.0, 60.0, 250.0))
    clear, none = draw_face(traits, seen, 112)
    other, _ = draw_face(traits, dataclasses.replace(seen, clothing=(255.0, 0.0, 255.0)), 112)
    hidden, share = draw_face(traits, dataclasses.replace(seen, occluder=occluder), 112)
    assert none == 0
    background = (clear[..., 1] > 150) & (clear[..., 0] < 90) & (clear[..., 2] < 90)
    head = ~background & (clear == other).all(2) & (np.arange(112)[:, None] < 90)
    changed = (np.abs(hidden.astype(int) - clear).sum(2) > 12) & head
    assert share > 0.03
    np.testing.assert_allclose(changed.sum() / head.sum(), share, atol=0.09)


def test_resolution_is_that_of_the_picture():
    traits = draw_traits(1)
    images = {n: draw_face(traits, Conditions(resolution=n), 112)[0] for n in (112, 28, 14, 7)}
    energies = [sharpness(image) for image in images.values()]
    assert np.all(np.diff(energies) < 0)
    assert energies[1] < 0.25 * energies[0]
    # Nothing is left above the Nyquist frequency of 14 pixels but what the interpolation adds.
    spectrum = np.abs(np.fft.fft2(images[14].mean(2) - images[14].mean())) ** 2
    frequency = np.abs(np.fft.fftfreq(112) * 112)
    high = np.maximum(frequency[:, None], frequency[None]) > 14
    assert spectrum[high].sum() < 0.02 * spectrum.sum()


def test_light_and_blur_and_noise_do_what_they_say():
    traits = draw_traits(6)

    def draw(**change):
        return draw_face(traits, Conditions(**{"resolution": 112, **change}), 112)[0].astype(float)

    face = np.s_[45:80, 40:72]
    ratio = draw(light=0.5)[face].mean() / draw(light=1.0)[face].mean()
    np.testing.assert_allclose(ratio, 0.5, atol=0.02)
    left, right = np.s_[50:75, 28:46], np.s_[50:75, 66:84]
    lit = draw(light_azimuth=80.0, contrast=0.8)
    assert lit[right].mean() > 1.3 * lit[left].mean()
    assert sharpness(draw(blur=3.0)) < 0.2 * sharpness(draw())
    np.testing.assert_allclose((draw(noise=6.0) - draw())[face].std(), 6.0, rtol=0.1)
    grey = draw(saturation=0.0)
    assert np.abs(grey - grey.mean(2, keepdims=True)).max() <= 1


def test_groups_and_columns():
    samples = list(synthetic_samples(6, 10, seed=1, size=48, hard_fraction=0.3, first_identity=40))
    assert [s.identity for s in samples] == np.repeat(range(40, 46), 10).tolist()
    assert [s.group for s in samples[:10]].count(1) == 3
    table = pd.DataFrame([{**s.columns, "group": s.group} for s in samples])
    assert np.isfinite(table.select_dtypes("number").to_numpy()).all()
    easy, hard = table[table["group"] == 0], table[table["group"] == 1]
    assert easy["yaw"].abs().max() <= 18
    assert easy["light"].min() > 0.8
    assert (easy[["resolution_px", "occlusion"]] == [48, 0]).all().all()
    is_hard = (hard["yaw"].abs() >= 45) | (hard["resolution_px"] < 17) | (hard["light"] <= 0.8)
    assert (is_hard | (hard["occluder"] != "none") | (hard["blur"] >= 1.5)).all()
    pixels, columns = render(40, 0, seed=1, size=48)
    assert samples[0].columns == columns
    image = Image.open(io.BytesIO(samples[0].image))
    assert (image.format, image.size, image.mode) == ("JPEG", (48, 48), "RGB")
    assert np.abs(np.asarray(image).astype(int) - pixels).mean() < 4


def test_images_of_a_networks_size():
    square = synthetic_images(3, (32, 32), seed=4)
    np.testing.assert_array_equal(square, [render(identity, 0, 4, 32)[0] for identity in range(3)])
    narrow = synthetic_images(1, (32, 16), seed=4)
    assert narrow.shape == (1, 32, 16, 3)
    # Naively: each pixel for two that lie side by side.
    assert np.abs(narrow[0] - square[0].reshape(32, 16, 2, 3).mean(axis=2)).mean() < 4


def test_processes_draw_the_same_in_the_same_order(monkeypatch):
    shots = plan_shots(range(5), 30, seed=0, size=32, hard_fraction=0.5)
    alone = [shot.draw() for shot in shots]
    monkeypatch.setattr("ddl_tf.synthetic.shots._WORTH_PROCESSES", 10)
    assert list(draw_shots(shots)) == alone


def test_pairs_are_balanced_distinct_and_folds_share_no_identity():
    pairs = draw_pairs(num_identities=40, num_pairs=400, seed=3)
    owner = {side: pairs[side].to_numpy() // 8 for side in ("first", "second")}
    np.testing.assert_array_equal(owner["first"] == owner["second"], pairs["same"])
    assert (pairs["first"] != pairs["second"]).all()
    assert not pairs.duplicated(["first", "second"]).any()
    counts = pairs.groupby(["fold", "same"]).size()
    assert (counts == 20).all()
    assert len(counts) == 20
    people = [set(owner["first"][pairs["fold"] == f]) | set(owner["second"][pairs["fold"] == f]) for f in range(10)]
    assert sum(map(len, people)) == len(set().union(*people))


def test_bad_settings_are_named(tmp_path):
    for name, value in (
        *(("output", None), ("identities", 1), ("images_per_identity", 0), ("image_size", 4), ("seed", -1)),
        *(("hard_fraction", 1.5), ("test_identities", 5), ("test_pairs", 30), ("test_pairs", 100000)),
    ):
        message = "--output is missing" if value is None else rf"--{name} must .*got {value}$"
        with pytest.raises(InputError, match=message):
            prepare_synthetic(SyntheticSettings(**{"output": str(tmp_path / "faces"), name: value}))
    assert not list(tmp_path.iterdir())


def test_prepare_stores_train_and_verification_sets(tmp_path):
    settings = SyntheticSettings(**{**SMALL, "identities": 3, "images_per_identity": 4}, output=str(tmp_path / "faces"))
    prepare_synthetic(settings)
    train = Faces([str(tmp_path / "faces" / "train")])
    assert (len(train), train.num_identities) == (12, 3)
    assert train.index["group"].tolist() == [0, 1] * 6
    assert train.read(np.arange(12)) == [sample.image for sample in synthetic_samples(3, 4, size=16)]
    for name, group in (("easy", 0), ("hard", 1)):
        faces = Faces([str(tmp_path / "faces" / name)])
        assert (len(faces), faces.num_identities) == (160, 20)
        assert (faces.index["group"] == group).all()
        # The keys are the numbers of the identities: none of the training set's.
        assert set(faces.index["identity_key"]) == set(map(str, range(3, 23)))
        pairs = read_stored(str(tmp_path / "faces" / name))
        assert (pairs.name, len(pairs.images), pairs.same.sum(), len(pairs.same)) == (name, 160, 10, 20)
        assert pairs.images[9] == faces.read(np.array([9]))[0]
        owner = faces.index["identity"].to_numpy()
        np.testing.assert_array_equal(owner[pairs.first] == owner[pairs.second], pairs.same)

    with pytest.raises(InputError, match="--overwrite"):
        prepare_synthetic(settings)


def test_prepare_goes_on_after_the_sets_that_are_there(tmp_path, monkeypatch, capsys):
    settings = SyntheticSettings(**SMALL, output=str(tmp_path))
    with monkeypatch.context() as patch:
        patch.setattr("ddl_tf.synthetic.faces.draw_pairs", None)
        with pytest.raises(TypeError):
            prepare_synthetic(settings)
    before = (tmp_path / "train" / "index.parquet").stat().st_mtime_ns
    assert set(prepare_synthetic(settings)) == {"train", "easy", "hard"}
    assert "there already" in capsys.readouterr().err
    assert (tmp_path / "train" / "index.parquet").stat().st_mtime_ns == before
    assert Faces([str(tmp_path / "hard")]).num_identities == 20


def test_an_aligned_face_has_its_landmarks_on_the_template():
    """By the true landmarks; a detector's are near them."""
    traits, seen = draw_traits(3, 1), draw_conditions(3, 0, 1, 112, False)
    landmarks = face_landmarks(traits, seen, 112)
    aligned, columns = render(3, 0, seed=1, aligned=True)
    plain, plain_columns = render(3, 0, seed=1)
    np.testing.assert_array_equal(aligned, align_face(plain, landmarks))
    assert columns == plain_columns
    matrix = similarity_transform(landmarks, ARCFACE_TEMPLATE)
    # Drawn faces differ from the template's by a few pixels, each in its own way.
    assert np.abs(landmarks @ matrix[:, :2].T + matrix[:, 2] - ARCFACE_TEMPLATE).max() < 8
