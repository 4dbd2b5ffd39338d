"""QMUL-SurvFace: the public scripts' numbers, naive twins, and everything that can be wrong with the set."""

import dataclasses
import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from refusals import problems_of
from scipy.io import loadmat, savemat

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.reports import results_text
from ddl_tf.metrics.pooling import Pooling
from ddl_tf.surveillance.survface import FPIR_TARGETS, evaluate_survface_pairs, evaluate_survface_search
from ddl_tf.surveillance.survface_files import read_survface_pairs, read_survface_search

SEARCH, PAIRS = "Face_Identification_Test_Set", "Face_Verification_Test_Set"


@pytest.fixture(scope="module")
def official(surveillance_sets):
    return surveillance_sets / "QMUL-SurvFace"


@pytest.fixture
def root(official, tmp_path):
    """A copy to damage."""
    return shutil.copytree(official, tmp_path / "QMUL-SurvFace")


def unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def test_the_pairs_and_the_public_script(official, embed_keys, surveillance_golden, capsys):
    pair_set = read_survface_pairs(str(official))
    assert "300 pairs, not the official 10,640" in capsys.readouterr().err
    assert (len(pair_set.same), pair_set.same.sum()) == (300, 150)
    assert all(np.sum(pair_set.same[pair_set.fold == fold]) == 15 for fold in range(10))
    first, second = (pair_set.people[side] for side in (pair_set.first, pair_set.second))
    np.testing.assert_array_equal(first == second, pair_set.same)
    assert pair_set.images[3] == (official / PAIRS / "verification_images" / pair_set.keys[3]).read_bytes()
    result, scores = vars(evaluate_survface_pairs(pair_set, unit(embed_keys(pair_set.keys)[:, 0]), 40)).values()
    # They print percent, with two digits.
    rates = [100 * result["tar_nearest"][name] for name in ("1e-3", "1e-2", "1e-1", "3e-1")]
    assert rates == pytest.approx(surveillance_golden["verification"], abs=0.00501)
    assert list(result["tar"]) == ["3e-1", "1e-1", "1e-2", "1e-3"]
    assert result["tar"]["1e-2"] is None
    different = np.sort(scores["similarity"][~scores["same"]])[::-1]
    for name, allowed in (("3e-1", 45), ("1e-1", 15)):
        above = np.mean(scores["similarity"][scores["same"]] > different[allowed])
        assert result["tar"][name] == pytest.approx(above)
        assert f"tar@{name}" in result["intervals"]
    assert results_text([result]).splitlines()[0].split()[6:10] == [f"TAR@{name}" for name in result["tar"]]
    assert result["resampled"] == "people"


def naive(faces, rows, features, people):
    """Ranks of the mates, TPIR20 at each FPIR, and the area, probe by probe and threshold by threshold."""
    mates, strangers, ranks = [], [], []
    for probe, person in zip(faces.probes, faces.probe_people):
        similarity = features @ rows[probe]
        if person == -1:
            strangers.append(similarity.max())
            continue
        mate = similarity[list(people).index(person)]
        ranks.append(int(np.sum(similarity >= mate)))
        mates.append(mate if ranks[-1] <= 20 else -1e5)
    step = (max(strangers) - min(strangers)) / 1000
    rates = [
        (np.mean(np.array(strangers) >= threshold), np.mean(np.array(mates) >= threshold))
        for threshold in np.arange(min(strangers), max(strangers), step)
    ]
    # The lower threshold of equal ones is the first.
    rates = sorted(rates, key=lambda rate: rate[0])
    read = {name: min(rates, key=lambda rate: abs(rate[0] - target)) for name, target in FPIR_TARGETS.items()}
    area = sum((b[0] - a[0]) * (a[1] + b[1]) / 2 for a, b in zip(rates, rates[1:]))
    return ranks, {name: (tpir, fpir) for name, (fpir, tpir) in read.items()}, area


@pytest.mark.parametrize("norms", [False, True])
def test_the_search_and_its_naive_twin(official, embed_keys, norms):
    faces = read_survface_search(str(official))
    assert (len(faces.gallery), np.sum(faces.probe_people == -1)) == (133, 300)
    views = embed_keys(faces.keys, views=2)
    outcome = evaluate_survface_search(faces, views, Pooling(norms=norms), replicates=40)
    rows = views.sum(axis=1)
    people = sorted(set(faces.gallery_people.tolist()))
    chosen = rows if norms else unit(rows)
    features = unit(np.array([chosen[faces.gallery[faces.gallery_people == p]].mean(axis=0) for p in people]))
    ranks, read, area = naive(faces, unit(rows), features, people)
    result = outcome.result
    assert outcome.scores["rank"].tolist() == ranks
    assert result["rank5"] == np.mean(np.array(ranks) <= 5)
    for name, (tpir, fpir) in read.items():
        assert (result["tpir20"][name], result["fpir_reached"][name]) == pytest.approx((tpir, fpir), abs=1e-12)
    assert result["tpir20_auc"] == pytest.approx(area, abs=1e-12)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    counts = {"people": 40, "gallery": 133, "mated": 140, "unmated": 300, "missing_probes": 0, "missing_gallery": 0}
    assert {name: result[name] for name in counts} == counts
    for name, (low, high) in result["intervals"].items():
        value = result["tpir20"][name[7:]] if "@" in name else result[name]
        assert low <= value <= high
    assert result["few_false_accepts"] == []
    assert set(result["intervals"]) == {"rank1", "rank5", "rank10", "rank20", "tpir20_auc"} | {
        f"tpir20@{name}" for name in FPIR_TARGETS
    }


def test_the_search_and_the_public_script(official, embed_keys, surveillance_golden):
    faces = read_survface_search(str(official))
    result = evaluate_survface_search(faces, embed_keys(faces.keys), Pooling(), flip=False, replicates=0).result
    ours = [*(result["tpir20"][name] for name in ("3e-1", "2e-1", "1e-1")), result["tpir20_auc"]]
    assert ours == pytest.approx(surveillance_golden["search"], abs=1e-12)
    lines = results_text([result]).splitlines()
    assert lines[0] == "survface_search, pooling: mean:"


def test_cameras_are_medias_and_qualities_are_weights(official, embed_keys):
    faces = read_survface_search(str(official))
    views = embed_keys(faces.keys)
    qualities = np.random.RandomState(0).uniform(size=len(views))
    outcome = evaluate_survface_search(faces, views, Pooling(qualities=True, first="media"), qualities, False, 0)
    assert outcome.result["pooling"] == "quality-weighted mean, medias first"
    rows, people = unit(views[:, 0]), sorted(set(faces.gallery_people.tolist()))
    features = []
    for person in people:
        cameras = {}
        for place in faces.gallery[faces.gallery_people == person]:
            camera = Path(faces.keys[place]).name.split("_")[1]
            cameras.setdefault(camera, []).append(rows[place] * qualities[place])
        features.append(sum(np.mean(part, axis=0) for part in cameras.values()))
    ranks, _, area = naive(faces, rows, unit(np.array(features)), people)
    assert outcome.scores["rank"].tolist() == ranks
    assert outcome.result["tpir20_auc"] == pytest.approx(area, abs=1e-12)


def test_missing_images_are_refused_or_counted(root, embed_keys):
    folder = root / SEARCH
    # All of person 2, and a probe of person 5.
    gone = [*(folder / "gallery").glob("102_*"), next((folder / "mated_probe").glob("105_*"))]
    for path in gone:
        path.unlink()
    assert sorted(source for _, source, _ in problems_of(read_survface_search, root)) == sorted(
        f"{path.parent.name}/{path.name}" for path in gone
    )
    faces = read_survface_search(str(root), missing="count")
    outcome = evaluate_survface_search(faces, embed_keys(faces.keys), Pooling(), flip=False, replicates=0)
    assert (outcome.result["missing_gallery"], outcome.result["missing_probes"]) == (len(gone) - 1, 1)
    person = outcome.scores["person"]
    lost = (person == 2) | (faces.probes[faces.probe_people != -1] == -1)
    np.testing.assert_array_equal(outcome.scores["rank"] == 0, lost)
    np.testing.assert_array_equal(outcome.scores["mated_similarity"] == -2, lost)
    # Elsewhere embedded, nothing but the names of the strangers is needed.
    for part in ("gallery", "mated_probe"):
        shutil.rmtree(folder / part)
    assert len(read_survface_search(str(root), check_images=False).images) == 133 + 140 + 300
    with pytest.raises(
        InputError, match="there is no folder gallery; give one with gallery, mated_probe, unmated_probe"
    ):
        read_survface_search(str(root))
    (folder / "gallery").mkdir()
    (folder / "mated_probe").mkdir()
    kinds = {kind for kind, _, _ in problems_of(read_survface_search, root, missing="count")}
    assert kinds == {"empty gallery"}
    with pytest.raises(InputError, match="missing='skip'"):
        read_survface_search(str(root), missing="skip")


def test_problems_of_the_lists(root):
    folder = root / SEARCH
    shutil.copy(folder / "gallery/101_cam2_1.jpg", folder / "gallery/stranger.jpg")
    lists = loadmat(str(folder / "mated_probe_img_ID_pairs.mat"))
    names, ids = lists["mated_probe_set"], lists["mated_probe_ids"].astype(int)
    savemat(
        str(folder / "mated_probe_img_ID_pairs.mat"),
        {"mated_probe_set": names, "mated_probe_ids": np.where(ids == 1, 77, ids)},
    )
    problems = {(kind, Path(source).name) for kind, source, _ in problems_of(read_survface_search, root)}
    assert problems == {("unlisted image", "stranger.jpg"), ("probe without mate", "person 77")}
    # The lists may stand in the folder of the evaluation, as the release has them too.
    shutil.move(folder / "gallery_img_ID_pairs.mat", root / "gallery_img_ID_pairs.mat")
    assert problems_of(read_survface_search, root)
    shutil.rmtree(folder / "unmated_probe")
    (folder / "unmated_probe").mkdir()
    assert "there is no unmated probe" in {reason for _, _, reason in problems_of(read_survface_search, root)}
    (root / "gallery_img_ID_pairs.mat").unlink()
    with pytest.raises(InputError, match=r"gallery_img_ID_pairs\.mat is not there; give the folder QMUL-SurvFace"):
        read_survface_search(str(root))


def test_problems_of_the_pairs(root):
    folder = root / PAIRS
    path = folder / "positive_pairs_names.mat"
    names = loadmat(str(path))["positive_pairs_names"]
    alone = names.copy()
    alone[0, 1] = alone[0, 0]
    savemat(str(path), {"positive_pairs_names": alone})
    gone = names[5, 0][0]
    (folder / "verification_images" / gone).unlink()
    found = problems_of(read_survface_pairs, root)
    assert {kind for kind, _, _ in found} == {"pair of an image with itself", "missing image"}
    assert any(gone in reason for _, _, reason in found)
    savemat(str(path), {"positive_pairs_names": names[:, :1]})
    assert {kind for kind, _, _ in problems_of(read_survface_pairs, root)} == {"malformed line", "missing image"}
    savemat(str(path), {"positive_pairs_names": names[:100]})
    kinds = {kind: reason for kind, _, reason in problems_of(read_survface_pairs, root)}
    assert "officially 532" in kinds["wrong count"]
    path.unlink()
    with pytest.raises(InputError, match=r"positive_pairs_names\.mat is not there; give the folder QMUL-SurvFace"):
        read_survface_pairs(str(root))


def test_other_images_under_the_same_names(official, tmp_path):
    for path in official.rglob("*.jpg"):
        target = tmp_path / path.parent.name / path.name
        target.parent.mkdir(exist_ok=True)
        target.write_bytes(b"\xff\xd8\xffaligned")
    pair_set, faces = (
        read(str(official), images=str(tmp_path)) for read in (read_survface_pairs, read_survface_search)
    )
    assert pair_set.images[0] == faces.images[0] == b"\xff\xd8\xffaligned"


def test_embeddings_of_another_set(official, embed_keys):
    faces = read_survface_search(str(official))
    with pytest.raises(InputError, match="572 embeddings for 573 images"):
        evaluate_survface_search(faces, embed_keys(faces.keys)[1:], Pooling())
    alike = np.ones([573, 1, 4])
    result = evaluate_survface_search(faces, alike, Pooling(), flip=False, replicates=0).result
    # Ties count against the probe.
    assert (result["rank20"], result["tpir20"]["3e-1"], result["fpir_reached"]["3e-1"]) == (0, 0, 1)
    strangers_gone = dataclasses.replace(faces, probes=np.where(faces.probe_people == -1, -1, faces.probes))
    with pytest.raises(InputError, match="no unmated probe has an image"):
        evaluate_survface_search(strangers_gone, alike, Pooling(), flip=False)
