import json

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.scface import evaluate_scface
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.importers.scface import read_subjects
from ddl_tf.metrics.bootstrap import bootstrap_rates
from ddl_tf.miniatures.scface import write_scface
from ddl_tf.protocols.scface import read_scface


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scface")
    write_scface(folder)
    return folder


def embed(scface, noise, seed=0):
    """An embedding for each image, from its name: of its subject, with noise by distance."""
    random = np.random.RandomState(seed)
    faces = random.normal(size=[131, 16])
    rows = []
    for key in scface.keys:
        subject, view = key.split("_", 1)
        rows.append(faces[int(subject)] + noise.get(view[-1], 0.1) * random.normal(size=16))
    return (np.array(rows) / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float32)


def naive_rank(scface, embeddings, probe_key):
    """Where the mugshot of the probe's subject stands in the sorted gallery."""
    by_key = dict(zip(scface.keys, embeddings))
    gallery = [key for key in by_key if key.endswith("frontal")]
    order = sorted(gallery, key=lambda key: -float(by_key[key] @ by_key[probe_key]))
    mate = f"{probe_key[:3]}_frontal"
    return order.index(mate) + 1 if mate in order else 0


def test_the_miniature(root):
    test, training = (read_subjects(str(root / f"{name}_subjects.txt")) for name in ("test", "training"))
    assert (len(test), len(training), set(test) & set(training)) == (8, 4, set())
    scface = read_scface(str(root), test)
    assert (len(scface.gallery), len(scface.probes), len(scface.images)) == (8, 120, 128)
    assert len(read_scface(str(root), training, cameras=[2]).probes) == 4 * 3
    assert all(decode_image(image).shape == (112, 112, 3) for image in scface.images)


def test_who_is_who(root):
    scface = read_scface(str(root), [2, 7])
    assert [scface.keys[i] for i in scface.gallery] == ["002_frontal", "007_frontal"]
    assert scface.gallery_people.tolist() == [2, 7]
    keys = [scface.keys[i] for i in scface.probes]
    assert keys[:6] == [*(f"002_cam{camera}_1" for camera in range(1, 6)), "007_cam1_1"]
    assert [f"d{key[-1]}" for key in keys] == scface.condition.tolist()
    assert [int(key[:3]) for key in keys] == scface.probe_people.tolist()
    path = next(root.glob("SCface_database/*/*/007_cam4_2.jpg"))
    assert scface.images[list(scface.keys).index("007_cam4_2")] == path.read_bytes()
    # Embeddings made elsewhere: the images need not be there, and are in the same order.
    elsewhere = read_scface("nowhere", [2, 7], check_images=False)
    for name in ("keys", "gallery", "gallery_people", "probes", "probe_people", "condition"):
        assert np.array_equal(getattr(scface, name), getattr(elsewhere, name))


@pytest.mark.parametrize("gallery_subjects", [None, list(range(1, 13))])
def test_rates_against_naive_ones(root, gallery_subjects):
    scface = read_scface(str(root), range(1, 9), gallery_subjects=gallery_subjects)
    embeddings = embed(scface, {"1": 3.0, "2": 1.2, "3": 0.6})
    result, scores = vars(evaluate_scface(scface, embeddings, 200, seed=4)).values()
    json.dumps(result, allow_nan=False)
    assert list(result)[:2] == ["set", "protocol"]
    counts = ("scface", "identification", 8, 8 if gallery_subjects is None else 12, 40, 0, 0)
    assert tuple(result.values())[:7] == counts
    keys = [scface.keys[i] for i in scface.probes]
    expected = np.array([naive_rank(scface, embeddings, key) for key in keys])
    assert scores["rank"].tolist() == expected.tolist()
    assert scores["condition"].tolist() == [f"d{key[-1]}" for key in keys]
    for k in (1, 5, 10):
        naive = [np.mean([rank <= k for rank, key in zip(expected, keys) if key[-1] == d]) for d in "123"]
        assert result[f"rank{k}"] == pytest.approx(dict(zip(("d1", "d2", "d3"), naive), average=np.mean(naive)))
    assert set(result["intervals"]) == {f"rank{k}@{d}" for k in (1, 5, 10) for d in ("d1", "d2", "d3", "average")}
    far = scores["condition"] == "d1"
    assert result["intervals"]["rank1@d1"] == bootstrap_rates(expected[far] == 1, 200, 4, scores["person"][far])
    low, high = result["intervals"]["rank1@average"]
    assert low < result["rank1"]["average"] < high
    without = evaluate_scface(scface, embeddings, replicates=0).result
    assert without == {name: value for name, value in result.items() if name != "intervals"}


def test_missing_images(root, tmp_path):
    gone = {"002_frontal", "003_cam1_1", "004_cam5_3"}
    for path in root.rglob("*.[jJ]*"):
        if path.stem not in gone:
            (tmp_path / path.name).write_bytes(path.read_bytes())
    with pytest.raises(ProblemsError, match=r"3 missing image \(002_frontal: the protocol names it") as error:
        read_scface(str(tmp_path), range(1, 9))
    assert {problem.source for problem in error.value.problems} == gone
    scface = read_scface(str(tmp_path), range(1, 9), missing="count")
    assert len(scface.images) == 128 - 3
    result, scores = (vars(evaluate_scface(scface, embed(scface, {}), 40))[name] for name in ("result", "scores"))
    assert (result["missing_probes"], result["missing_gallery"], result["gallery"], result["probes"]) == (2, 1, 8, 40)
    # The five probes of subject 2 at each distance, and the two, are never found; all others are.
    assert result["rank1"] == {"d1": 34 / 40, "d2": 35 / 40, "d3": 34 / 40, "average": pytest.approx(103 / 120)}
    assert result["rank10"] == result["rank1"]
    assert np.sum(scores["rank"] == 0) == 17
    assert np.all(scores["rank"][scores["person"] == 2] == 0)


def test_unusable_input(root):
    for arguments, message in (
        ({"subjects": []}, "no subject of SCface is chosen"),
        ({"subjects": [131]}, "SCface has no subject 131"),
        ({"subjects": [1, 1]}, "subject 1 of SCface is given twice"),
        ({"subjects": [1], "cameras": [0]}, "SCface has no camera 0"),
        ({"subjects": [1], "missing": "skip"}, "missing='skip': use one of refuse, count"),
        ({"subjects": [1, 2], "gallery_subjects": [1]}, r"1 probe without mate \(subject 2: it is not in the gallery"),
        ({"subjects": [1], "mugshots": "original"}, "there is mugshot_frontal_cropped_all, not mugshot_frontal_orig"),
    ):
        with pytest.raises(InputError, match=message):
            read_scface(str(root), **arguments)
    scface = read_scface(str(root), [1, 2])
    with pytest.raises(InputError, match="scface: 31 embeddings for 32 images; embed this set"):
        evaluate_scface(scface, np.ones([31, 4]))
