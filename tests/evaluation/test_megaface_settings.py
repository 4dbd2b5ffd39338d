import shutil

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.megaface import evaluate_megaface, replace_by_center
from ddl_tf.evaluation.megaface_settings import MegaFaceSettings, face_images, megaface_outcome
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.miniatures.megaface import DISTRACTORS, PEOPLE, PHOTOS, SUFFIX, pixel_feature, write_megaface
from ddl_tf.protocols.feature_files import read_feature
from ddl_tf.protocols.megaface import read_megaface


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    folder = tmp_path_factory.mktemp("megaface")
    write_megaface(folder, seed=0)
    return folder


@pytest.fixture
def folder(written, tmp_path):
    return shutil.copytree(written, tmp_path / "megaface")


def _settings(folder, **changes):
    sets = ("facescrub", "megaface")
    files = {f"{name}_list": str(folder / f"{name}_lst") for name in sets}
    files.update((f"{name}_noises", str(folder / f"{name}_noises.txt")) for name in sets)
    return MegaFaceSettings(**{**files, "features": str(folder / "features"), "suffix": SUFFIX, **changes})


def _image_settings(folder, **changes):
    folders = {f"{name}_images": str(folder / f"{name}_images") for name in ("facescrub", "megaface")}
    return _settings(folder, features=None, **folders, **changes)


def _outcome(folder, **changes):
    return megaface_outcome(_settings(folder, **changes), replicates=100)


def _all_features(folder):
    def read(name):
        keys = (folder / f"{name}_lst").read_text().split()
        return np.stack([read_feature(folder / "features" / name / f"{key}{SUFFIX}") for key in keys])

    return [read("facescrub"), read("megaface")]


def _embed(faces):
    for start in range(0, len(faces.images), 17):
        yield np.stack([pixel_feature(image) for image in faces.images[start : start + 17]])


def test_the_miniature_is_what_its_lists_say(written):
    assert list(map(len, _all_features(written))) == [PEOPLE * PHOTOS, DISTRACTORS]
    text = read_megaface(str(written / "facescrub_lst"), str(written / "megaface_lst"))
    lists = str(written / "templatelists")
    official, short = (
        read_megaface(f"{lists}/facescrub_features_list.json", f"{lists}/megaface_features_list.json_{number}_1")
        for number in (60, 10)
    )
    assert (text.probes, text.distractors) == (official.probes, official.distractors)
    assert text.people.tolist() == official.people.tolist()
    assert len(short.distractors) == 10
    assert set(short.distractors) < set(text.distractors)


@pytest.mark.parametrize("noisy_probes", ["exclude", "center"])
def test_features_or_images_and_lists_to_the_outcome(written, noisy_probes):
    outcome = _outcome(written, noisy_probes=noisy_probes)
    probes, distractors = _all_features(written)
    noisy, noisy_distractors = np.isin(np.arange(30), [4, 17]), np.isin(np.arange(60), [7, 40])
    people = np.repeat(np.arange(PEOPLE), PHOTOS)
    kept = np.full(30, True) if noisy_probes == "center" else ~noisy
    if noisy_probes == "center":
        probes = replace_by_center(probes, people, noisy)
    expected = evaluate_megaface(
        probes[kept], people[kept], [distractors[~noisy_distractors]], 58, {10: 9, 60: 58}, replicates=100
    )
    counts = {"listed_probes": 30, "noisy_probes": 2, "listed_distractors": 60, "noisy_distractors": 2}
    assert outcome.result == {**expected.result, **counts, "noisy_probes_are": noisy_probes}
    np.testing.assert_array_equal(outcome.scores["rank"], expected.scores["rank"])
    for name in ("first", "second"):
        np.testing.assert_array_equal(outcome.scores[name], np.flatnonzero(kept)[expected.scores[name]])
    embedded = megaface_outcome(_image_settings(written, noisy_probes=noisy_probes), _embed, replicates=100)
    assert embedded.result == outcome.result
    np.testing.assert_array_equal(embedded.scores["rank"], outcome.scores["rank"])


def test_noises_matter(written):
    keep = {"facescrub_noises": None, "megaface_noises": None}
    rates = [_outcome(written, **changes).result["rank1"] for changes in (keep, {}, {"noisy_probes": "center"})]
    assert rates[0] < rates[1] < rates[2]


def test_packed_features_give_the_same(folder, tmp_path):
    plain, packed = _outcome(folder), str(tmp_path / "packed")
    keys = {name: (folder / f"{name}_lst").read_text().split() for name in ("facescrub", "megaface")}
    # Files of noisy ones are not needed.
    for name, number in (("facescrub", 4), ("facescrub", 17), ("megaface", 7), ("megaface", 40)):
        (folder / "features" / name / f"{keys[name][number]}{SUFFIX}").unlink()
    assert _outcome(folder).result == plain.result
    assert _outcome(folder, packed=packed).result == plain.result
    shutil.rmtree(folder / "features")
    assert _outcome(folder, packed=packed).result == plain.result
    with pytest.raises(InputError, match=r"facescrub.txt: only 0 of the 30 names"):
        _outcome(folder, packed=packed, suffix="_other.bin")


def test_embeddings_that_are_there_need_no_images(written):
    probes, distractors = _all_features(written)
    rows = {
        "megaface_probes": np.delete(probes, [4, 17], axis=0),
        "megaface_distractors": np.delete(distractors, [7, 40], axis=0),
    }
    settings = _settings(written, features=None)

    def outcome():
        return megaface_outcome(settings, lambda faces: [rows[faces.name]], check_images=False, replicates=100)

    assert outcome().result == _outcome(written).result
    assert [len(faces.keys) for faces in face_images(settings, check_images=False)] == [28, 58]
    # Zeros are a missing photo: as similar to the mate as to every distractor, and a tie counts for the mate.
    rows["megaface_probes"][[0, 3]] = 0
    result, scores = vars(outcome()).values()
    missing = np.isin(scores["second"], [0, 3]) | np.isin(scores["first"], [0, 3])
    assert missing.any()
    np.testing.assert_array_equal(scores["rank"] == 0, missing)
    assert result["missing_probes"] == 2


def test_first_distractors_of_the_list(written):
    result = _outcome(written, distractors=10).result
    assert result["rank1_by_distractors"] == {"10": result["rank1"]}
    assert result["rank1"] == _outcome(written).result["rank1_by_distractors"]["10"]
    assert (result["distractors"], result["listed_distractors"], result["noisy_distractors"]) == (9, 10, 1)


def test_missing_images(folder, tmp_path):
    for key in (folder / "facescrub_lst").read_text().split()[5:7]:
        (folder / "features" / "facescrub" / f"{key}{SUFFIX}").unlink()
        (folder / "facescrub_images" / key).unlink()
    with pytest.raises(ProblemsError, match=r"^facescrub: 2 missing feature file .* or take --missing=count"):
        _outcome(folder)
    outcome = _outcome(folder, missing="count")
    assert outcome.result["missing_probes"] == 2
    lost = np.isin(outcome.scores["first"], [5, 6]) | np.isin(outcome.scores["second"], [5, 6])
    np.testing.assert_array_equal(outcome.scores["rank"] == 0, lost)
    images = _image_settings(folder, missing="count")
    assert megaface_outcome(images, _embed, replicates=100).result == outcome.result
    packed = _outcome(folder, missing="count", packed=str(tmp_path / "packed"))
    assert packed.result == outcome.result
    # A distractor must not be missing.
    key = (folder / "megaface_lst").read_text().split()[20]
    (folder / "features" / "megaface" / f"{key}{SUFFIX}").unlink()
    for changes in ({}, {"packed": str(tmp_path / "others")}):
        with pytest.raises(ProblemsError, match=rf"^megaface: 1 missing feature file \(.*{key}{SUFFIX}"):
            _outcome(folder, missing="count", **changes)


def test_incomplete_settings(written):
    for changes, message in (
        ({"facescrub_list": ""}, "--facescrub_list is missing"),
        ({"megaface_list": ""}, "--megaface_list is missing"),
        ({"features": None, "packed": "x"}, "--packed is given without --features"),
        ({"features": None}, "there are neither features nor a model"),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            _outcome(written, **changes)
    with pytest.raises(InputError, match=r"^--facescrub_images is missing"):
        megaface_outcome(_settings(written, features=None), _embed)
