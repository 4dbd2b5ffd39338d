import json
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
from refusals import problems_of
from scipy.io import loadmat, savemat

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.tinyface import evaluate_tinyface
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.metrics.bootstrap import bootstrap_rates
from ddl_tf.miniatures.tinyface import write_tinyface
from ddl_tf.protocols.tinyface import read_tinyface

pytestmark = pytest.mark.usefixtures("matlab_in_process")

GOLDEN = Path(__file__).parents[1] / "golden"
EMBEDDING = runpy.run_path(str(GOLDEN / "make_identification_golden.py"))["embedding"]


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = tmp_path_factory.mktemp("sets") / "tinyface"
    write_tinyface(folder)
    return folder


@pytest.fixture
def root(made, tmp_path):
    """A copy to damage."""
    return shutil.copytree(made, tmp_path / "tinyface")


def embed(tinyface):
    return np.array([EMBEDDING(Path(key).stem) for key in tinyface.keys])


def refused(root, **arguments):
    return [(kind, Path(source).name) for kind, source, _ in problems_of(read_tinyface, root, **arguments)]


def test_the_miniature(made):
    tinyface = read_tinyface(str(made))
    assert (len(tinyface.gallery), len(tinyface.probes), len(tinyface.images)) == (64, 18, 82)
    assert np.sum(tinyface.gallery_people == -100) == 40
    assert {decode_image(image).shape[0] for image in tinyface.images} <= set(range(16, 29))
    for position, person in zip(tinyface.probes, tinyface.probe_people):
        assert tinyface.images[position] == (made / "Testing_Set" / tinyface.keys[position]).read_bytes()
        assert int(Path(tinyface.keys[position]).stem.split("_")[0]) == person
    # AdaFace's layout: the lists are in tinyface/Testing_Set.
    assert read_tinyface(str(made / "Testing_Set")).keys == tinyface.keys
    assert read_tinyface(str(made.parent), images=str(made / "Testing_Set")).keys == tinyface.keys


def test_the_result_and_adaface_s_script(made):
    tinyface = read_tinyface(str(made))
    result, scores = vars(evaluate_tinyface(tinyface, embed(tinyface), replicates=100, seed=3)).values()
    counts = ("people", "gallery", "distractors", "probes", "official_counts")
    assert [result[name] for name in counts] == [12, 24, 40, 18, False]
    golden = json.loads((GOLDEN / "identification_golden.json").read_text())["miniature tinyface"]["adaface"]
    assert [result[f"rank{k}"] for k in (1, 5, 20)] == pytest.approx(golden, rel=0, abs=1e-6)
    assert result["map"] == np.mean(scores["average_precision"])
    assert result["intervals"]["rank5"] == bootstrap_rates(scores["rank"] <= 5, 100, 3, scores["person"])
    assert result["intervals"]["map"] == bootstrap_rates(scores["average_precision"], 100, 3, scores["person"])
    assert set(result["intervals"]) == {"rank1", "rank5", "rank10", "rank20", "rank50", "map"}


def test_aligned_images(made, tmp_path):
    """Other images under the same names, with another ending, distractors in folders of their own."""
    for path in (made / "Testing_Set").rglob("*.jpg"):
        extra = path.stem[:1] if path.parent.name == "Gallery_Distractor" else ""
        target = tmp_path / path.parent.name / extra / f"{path.stem}.png"
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(b"aligned" + path.read_bytes())
    tinyface, official = read_tinyface(str(made), images=str(tmp_path)), read_tinyface(str(made))
    assert all(image.startswith(b"aligned") for image in tinyface.images)
    assert np.array_equal(tinyface.gallery, official.gallery)
    results = [evaluate_tinyface(part, embed(part), replicates=0).result for part in (tinyface, official)]
    assert results[0] == results[1]


def test_missing_images(root):
    # Person 1 has two in the gallery, person 3 one.
    distractor = "Gallery_Distractor/7_1_ph_1_1_face1.jpg"
    gone = ["Gallery_Match/1_1.jpg", "Gallery_Match/3_1.jpg", "Probe/5_4.jpg", distractor]
    aligned = shutil.copytree(root / "Testing_Set", root / "aligned")
    for name in gone:
        (aligned / name).unlink()
    # Distractors are in no list: they are known without an ending.
    lost_images = {("missing image", Path(name).name.replace("face1.jpg", "face1")) for name in gone}
    assert set(refused(root, images=str(aligned))) == lost_images
    tinyface = read_tinyface(str(root), images=str(aligned), missing="count")
    embeddings = np.eye(13)[[int(Path(k).stem.split("_")[0]) if "face" not in k else 0 for k in tinyface.keys]]
    result, scores = vars(evaluate_tinyface(tinyface, embeddings, replicates=40)).values()
    assert [result[f"missing_{name}"] for name in ("probes", "gallery", "distractors")] == [1, 2, 1]
    assert [result[name] for name in ("gallery", "distractors", "probes")] == [24, 40, 18]
    lost = (scores["person"] == 3) | np.isin(tinyface.probes, [-1])
    assert scores["rank"].tolist() == np.where(lost, 0, 1).tolist()
    assert result["rank50"] == np.mean(~lost)
    # One mate of two is found at once, the other never.
    expected = np.where(lost, 0, np.where(scores["person"] == 1, 0.5, 1))
    assert scores["average_precision"].tolist() == expected.tolist()


def test_problems_of_the_images(root):
    folder = root / "Testing_Set"
    aligned = str(shutil.copytree(folder, root / "aligned"))
    (root / "aligned/Gallery_Distractor/new_face1.jpg").write_bytes(b"")
    assert refused(root, images=aligned) == [("unlisted image", "new_face1.jpg")]
    (folder / "Probe/1_3.jpg").unlink()
    (folder / "Probe/stranger.jpg").write_bytes(b"")
    (folder / "Gallery_Match/1_1.png").write_bytes(b"")
    problems = {"unlisted image": "stranger.jpg", "duplicate image": "1_1.png", "missing image": "1_3.jpg"}
    assert set(refused(root)) == set(problems.items())
    shutil.rmtree(folder / "Gallery_Distractor")
    with pytest.raises(InputError, match="there is no folder Gallery_Distractor; give one with Gallery_Match, Probe"):
        read_tinyface(str(root))
    # Without the official ones, those that are there are taken; for embeddings only the distractors' names must be.
    here = read_tinyface(str(root), images=aligned)
    assert len(here.gallery) == 24 + 41
    for name in ("Probe", "Gallery_Match"):
        shutil.rmtree(root / "aligned" / name)
    elsewhere = read_tinyface(str(root), images=aligned, check_images=False)
    for name in ("keys", "gallery", "gallery_people", "probes", "probe_people", "condition"):
        assert np.array_equal(getattr(here, name), getattr(elsewhere, name))
    (folder / "Gallery_Distractor").mkdir()
    assert ("missing image", "Gallery_Distractor") in refused(root, missing="count")
    with pytest.raises(InputError, match="missing='skip'"):
        read_tinyface(str(root), missing="skip")


def test_problems_of_the_lists(root):
    path = root / "Testing_Set/probe_img_ID_pairs.mat"
    lists = loadmat(str(path))
    ids, names = lists["probe_ids"], lists["probe_set"]
    twice = names.copy()
    twice[1] = twice[0]
    for columns, message in (
        ({"ids": np.where(ids == 1, 77, ids).astype(float)}, r"1 probe without mate \(person 77: no image of Gall"),
        ({"ids": ids, "set": twice}, r"1 duplicate line, 1 unlisted image .*probe_img_ID_pairs\.mat, row 2"),
        ({"ids": ids[1:]}, "18 names and 17 numbers of people"),
        ({"ids": ids + 0.5}, "probe_ids are not whole numbers from 0"),
        ({"ids": names}, "probe_ids are not whole numbers from 0"),
    ):
        savemat(str(path), {f"probe_{name}": values for name, values in {"set": names, **columns}.items()})
        with pytest.raises(InputError, match=message):
            read_tinyface(str(root))
    savemat(str(path), {"probe_ids": ids})
    with pytest.raises(InputError, match="has no variable probe_set"):
        read_tinyface(str(root))
    path.unlink()
    with pytest.raises(InputError, match=r"TinyFace's lists gallery_match\S+ and probe_img_ID_pairs\.mat"):
        read_tinyface(str(root))
