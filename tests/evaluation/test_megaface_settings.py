import shutil

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.megaface import evaluate_megaface, replace_by_center
from ddl_tf.evaluation.megaface_settings import MegaFaceSettings, megaface_outcome
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.miniatures.megaface import PEOPLE, PHOTOS, SUFFIX, pixel_feature, write_megaface
from ddl_tf.protocols.feature_files import read_feature


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
    files["features"] = str(folder / "features")
    return MegaFaceSettings(**{**files, "suffix": SUFFIX, "replicates": 100, **changes})


def _image_settings(folder, **changes):
    folders = {f"{name}_images": str(folder / f"{name}_images") for name in ("facescrub", "megaface")}
    return _settings(folder, features=None, **folders, **changes)


def _outcome(folder, **changes):
    return megaface_outcome(_settings(folder, **changes))


def _all_features(folder):
    lists = {name: (folder / f"{name}_lst").read_text().split() for name in ("facescrub", "megaface")}
    files = ([folder / "features" / name / f"{key}{SUFFIX}" for key in keys] for name, keys in lists.items())
    return [np.stack([read_feature(file) for file in part]) for part in files]


def _embed(name, images, keys):
    for start in range(0, len(images), 17):
        yield np.stack([pixel_feature(image) for image in images[start : start + 17]])


@pytest.mark.parametrize("noisy_probes", ["exclude", "center"])
def test_features_or_images_and_lists_to_the_outcome(written, noisy_probes):
    outcome = _outcome(written, noisy_probes=noisy_probes)
    probes, distractors = _all_features(written)
    noisy, noisy_distractors = np.isin(np.arange(30), [4, 17]), np.isin(np.arange(60), [7, 40])
    people = np.repeat(np.arange(PEOPLE), PHOTOS)
    kept = ~noisy
    if noisy_probes == "center":
        kept, probes = np.full(30, True), replace_by_center(probes, people, noisy)
    blocks = [distractors[~noisy_distractors]]
    expected = evaluate_megaface(probes[kept], people[kept], blocks, 58, {10: 9, 60: 58}, replicates=100)
    counts = {"listed_probes": 30, "noisy_probes": 2, "listed_distractors": 60, "noisy_distractors": 2}
    assert outcome.result == {**expected.result, **counts, "noisy_probes_are": noisy_probes}
    np.testing.assert_array_equal(outcome.scores["rank"], expected.scores["rank"])
    for name in ("first", "second"):
        np.testing.assert_array_equal(outcome.scores[name], np.flatnonzero(kept)[expected.scores[name]])
    embedded = megaface_outcome(_image_settings(written, noisy_probes=noisy_probes), _embed)
    assert embedded.result == outcome.result
    np.testing.assert_array_equal(embedded.scores["rank"], outcome.scores["rank"])


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


def test_embeddings_that_are_there_need_no_images_and_zeros_are_a_missing_photo(written):
    probes, distractors = _all_features(written)
    rows = {
        "megaface_probes": np.delete(probes, [4, 17], 0),
        "megaface_distractors": np.delete(distractors, [7, 40], 0),
    }
    # As similar to the mate as to every distractor, and a tie counts for the mate.
    rows["megaface_probes"][[0, 3]] = 0
    settings = _settings(written, features=None)
    outcome = megaface_outcome(settings, lambda name, images, keys: [rows[name]], check_images=False)
    missing = np.isin(outcome.scores["second"], [0, 3]) | np.isin(outcome.scores["first"], [0, 3])
    assert missing.any()
    np.testing.assert_array_equal(outcome.scores["rank"] == 0, missing)
    assert outcome.result["missing_probes"] == 2


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
    assert megaface_outcome(_image_settings(folder, missing="count"), _embed).result == outcome.result
    assert _outcome(folder, missing="count", packed=str(tmp_path / "packed")).result == outcome.result
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
