"""IJB-S: the public script's numbers, naive twins, and everything that can be wrong with the set."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from refusals import problems_of

from ddl_tf.common.errors import InputError
from ddl_tf.evaluate import COMMANDS
from ddl_tf.evaluation.reports import results_text
from ddl_tf.metrics.pooling import Pooling
from ddl_tf.surveillance.commands import JanusSurveillanceSettings
from ddl_tf.surveillance.ijbs import evaluate_ijbs
from ddl_tf.surveillance.ijbs_files import SEARCHES, read_ijbs


@pytest.fixture(scope="module")
def official(surveillance_sets):
    return surveillance_sets / "IJBS"


@pytest.fixture
def root(official, tmp_path):
    """A copy to damage, of 9 subjects of each gallery."""
    copy = shutil.copytree(official / "protocols", tmp_path / "IJBS" / "protocols").parent
    kept = [*range(1, 10), *range(31, 40)]
    for subject in kept:
        shutil.copytree(official / "aligned_112" / f"{subject}", copy / "aligned_112" / f"{subject}")
    for path in copy.rglob("*.csv"):
        lines = path.read_text().splitlines()
        column = lines[0].split(",").index("SUBJECT_ID") if "SUBJECT_ID" in lines[0] else None
        if column is not None:
            lines = [lines[0], *(line for line in lines[1:] if int(line.split(",")[column]) in kept)]
            path.write_text("\n".join(lines))
    return copy


@pytest.mark.parametrize("norms", [True, False])
def test_equals_the_public_script(official, embed_keys, surveillance_golden, norms):
    ijbs = read_ijbs(str(official))
    outcome = evaluate_ijbs(ijbs, embed_keys(ijbs.keys), Pooling(norms), flip=False, replicates=40)
    result = outcome.result
    for name in SEARCHES:
        closed, opened = surveillance_golden["ijbs"][f"{Pooling(norms).name} {name}"]
        assert [result[f"rank{k}"][name] for k in (1, 5, 10)] == pytest.approx(closed, abs=1e-6)
        assert [result["tpir"][target][name] for target in ("1e-2", "1e-1")] == pytest.approx(opened, abs=1e-6)
    assert json.loads(json.dumps(result, allow_nan=False)) == result
    assert result["probes"] == {name: int(np.sum(outcome.scores["condition"] == name)) for name in SEARCHES}
    assert set(result["intervals"]) == {f"rank{k}@{name}" for k in (1, 5, 10) for name in SEARCHES}
    low, high = result["intervals"]["rank1@surveillance_to_single"]
    assert low < result["rank1"]["surveillance_to_single"] < high
    # 90 and more strangers to a gallery allow 9 false alarms, not 0.9.
    assert "tpir@1e-2@surveillance_to_single" in result["few_false_accepts"]
    assert "tpir@1e-1@surveillance_to_single" not in result["few_false_accepts"]
    assert results_text([result]).startswith(f"ijbs, pooling: {Pooling(norms).name}:\n")


@pytest.mark.skipif("ADAFACE_CHECKOUT" not in os.environ, reason="ADAFACE_CHECKOUT names no clone of AdaFace")
def test_the_golden_numbers_are_those_of_the_clones(surveillance_maker, surveillance_golden):
    """Live; FEATURE_SIMILARITY_KD_CHECKOUT names the other clone."""
    clones = {
        name: Path(os.environ[f"{name.upper()}_CHECKOUT"]) / folder
        for name, folder in surveillance_maker["CHECKOUTS"].items()
    }
    assert surveillance_maker["make"](**clones) == surveillance_golden


def test_templates_are_the_naive_ones(official, embed_keys):
    """Quality-weighted, medias first, for one search."""
    ijbs = read_ijbs(str(official))
    views = embed_keys(ijbs.keys, views=2)
    qualities = np.random.RandomState(0).uniform(size=len(views))
    outcome = evaluate_ijbs(ijbs, views, Pooling(qualities=True, first="media"), qualities, replicates=0)
    rows = views.sum(axis=1)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    table = pd.read_csv(official / "protocols/ijbs_metadata.csv").drop_duplicates(["SUBJECT_ID", "FILENAME"])
    key_rows = dict(zip(ijbs.keys, range(len(rows))))

    def feature(subject, files):
        total = 0
        for file in files:
            begin = f"{subject}/{file.replace('/', '_').rsplit('.', 1)[0]}"
            places = [row for key, row in key_rows.items() if key == f"{begin}.jpg" or key.startswith(f"{begin}_")]
            total = total + np.mean([rows[place] * qualities[place] for place in places], axis=0)
        return total / np.linalg.norm(total)

    drones = table[table["FILENAME"] == "videos/6001.mp4"]["SUBJECT_ID"]
    lists = [pd.read_csv(official / f"protocols/galleries/ijbs_surveillance_to_booking_g{n}.csv") for n in (1, 2)]
    booked = pd.concat(lists).groupby("SUBJECT_ID")["FILENAME"].apply(list)
    gallery = np.array([feature(subject, files) for subject, files in booked.items()])
    ranks = []
    for subject in drones:
        similarity = gallery @ feature(subject, ["videos/6001.mp4"])
        ranks.append(int(np.sum(similarity >= similarity[list(booked.index).index(subject)])))
    chosen = outcome.scores["condition"] == "uav_to_booking"
    assert outcome.scores["person"][chosen].tolist() == drones.tolist()
    assert outcome.scores["rank"][chosen].tolist() == ranks


def test_the_earlier_names_and_no_drones(root, embed_keys, capsys):
    expected = read_ijbs(str(root))
    for path in root.rglob("ijbs_*.csv"):
        path.rename(path.with_name(path.name.replace("ijbs_", "cs6_")))
    shutil.move(root / "aligned_112", root / "crops")
    earlier = read_ijbs(str(root), images=str(root / "crops"))
    assert earlier.keys == expected.keys
    (root / "protocols/cs6_uav_to_single-booking_probe.csv").unlink()
    capsys.readouterr()
    ijbs = read_ijbs(str(root), images=str(root / "crops"))
    assert "no search for faces seen by drones" in capsys.readouterr().err
    assert [search.name for search in ijbs.searches] == list(SEARCHES)[:4]
    # Nobody needs the drones' crops then but the templates of all videos of a subject.
    result = evaluate_ijbs(ijbs, embed_keys(ijbs.keys), Pooling(), flip=False, replicates=0).result
    assert list(result["rank1"]) == list(SEARCHES)[:4]


def test_missing_crops_are_refused_or_counted(root, embed_keys):
    crops = root / "aligned_112"
    for path in crops.glob("4/videos_5003_*"):
        path.unlink()
    (crops / "3/img_301.jpg").unlink()
    found = {(kind, source) for kind, source, _ in problems_of(read_ijbs, root)}
    assert found == {
        ("video without frames", "subject 4, videos/5003.mp4"),
        ("missing image", "subject 3, img/301.jpg"),
    }
    ijbs = read_ijbs(str(root), missing="count")
    result, scores = vars(evaluate_ijbs(ijbs, embed_keys(ijbs.keys), Pooling(), flip=False, replicates=0)).values()
    # The video of subject 4, and the only photo of subject 3; of booking there are two more.
    assert result["missing_templates"] == 2
    lost = {name: scores["person"][(scores["condition"] == name) & (scores["rank"] == 0)].tolist() for name in SEARCHES}
    single = lost.pop("surveillance_to_single")
    assert single.count(4) == 1
    assert set(single) == {3, 4}
    expected = {"surveillance_to_booking": [4], "surveillance_to_surveillance": [4]}
    assert lost == {name: expected.get(name, []) for name in lost}
    for subject in range(1, 10):
        (crops / f"{subject}/img_{subject}01.jpg").unlink(missing_ok=True)
    ((kind, source, _),) = problems_of(read_ijbs, root, missing="count")
    assert (kind, Path(source).name) == ("empty gallery", "ijbs_surveillance_to_single_g1.csv")
    shutil.rmtree(crops)
    with pytest.raises(InputError, match="aligned_112: there is no such folder; give the crops of IJB-S"):
        read_ijbs(str(root))
    with pytest.raises(InputError, match="missing='skip'"):
        read_ijbs(str(root), missing="skip")
    with pytest.raises(InputError, match=r"no protocols/ijbs_metadata\.csv or protocols/cs6_metadata\.csv; give"):
        read_ijbs(str(root / "protocols" / "galleries"))


def test_problems_of_the_lists(root):
    protocols = root / "protocols"
    probes = protocols / "ijbs_surveillance_to_single-booking_probe.csv"
    probes.write_text(f"{probes.read_text().rstrip()}\nvideos/9999.mp4\n")
    gallery = protocols / "galleries/ijbs_surveillance_to_single_g2.csv"
    gallery.write_text(f"{gallery.read_text().rstrip()}\n9,1,img/101.jpg,1,1,1,1\n9,31,img/3102.jpg,1,1,1,1\n")
    videos = protocols / "galleries/ijbs_surveillance_to_surveillance_g1.csv"
    videos.write_text(videos.read_text().replace("videos/5001.mp4", "videos/9998.mp4", 1))
    (root / "aligned_112/1/img_101.png").write_bytes(b"")
    found = problems_of(read_ijbs, root)
    kinds = {(kind, reason) for kind, _, reason in found if kind != "video without frames"}
    assert ("unknown file", "videos/9999.mp4 is not in the metadata") in kinds
    assert ("unknown file", "videos/9998.mp4 is not in the metadata") in kinds
    assert ("duplicate gallery subject", "2 files, where each template has one") in kinds
    assert any(kind == "duplicate gallery subject" and reason.endswith("g1.csv has it too") for kind, reason in kinds)
    assert ("duplicate image", "1/img_101.jpg has the same name") in kinds
    (protocols / "ijbs_surveillance_to_surveillance_probe.csv").write_text("FILENAME\n")
    assert "no probes" in {kind for kind, _, _ in problems_of(read_ijbs, root)}
    (protocols / "ijbs_metadata.csv").write_text("SUBJECT_ID,FILENAME\nsomebody,videos/5001.mp4\n")
    assert "malformed line" in {kind for kind, _, _ in problems_of(read_ijbs, root)}


def test_the_command_pools_by_a_column(root, embed_keys, tmp_path, capsys):
    run, settings_class = COMMANDS["ijbs"]
    assert settings_class is JanusSurveillanceSettings
    lists, store = str(tmp_path / "lists"), str(tmp_path / "store")
    run(settings_class(root=str(root), list_images=lists))
    keys = pd.read_csv(tmp_path / "lists/ijbs.csv")["key"]
    np.save(tmp_path / "ijbs.npy", embed_keys(keys)[:, 0])
    sharp = pd.DataFrame({"key": keys, "sharp": np.linspace(0, 1, len(keys)), "word": "a"})
    sharp.to_csv(tmp_path / "sharp.csv", index=False)
    given = {"root": str(root), "embeddings": [str(tmp_path / "ijbs.npy")], "replicates": 0}
    columns = [str(tmp_path / "sharp.csv")]
    run(settings_class(**given, columns=columns, quality="sharp", pool_first="cluster", clusters=2, store=store))
    printed = capsys.readouterr()
    result = json.loads(printed.out)
    assert result["pooling"] == "norm- and quality-weighted mean, up to 2 clusters first"
    assert "ijbs, pooling: norm- and quality-weighted mean, up to 2 clusters first:" in printed.err
    assert json.loads((tmp_path / "store/ijbs/result.json").read_text())["result"] == result
    assert list(pd.read_csv(tmp_path / "store/ijbs/images.csv")) == ["key", "sharp", "word"]
    for settings, message in (
        ({"quality": "sharp"}, "--quality=sharp without --columns"),
        ({"quality": "blur", "columns": columns}, "--quality=blur: --columns have no such column, but sharp, word"),
        (
            {"quality": "word", "columns": columns},
            "no number of at least 0 in the column word for 414 images of templates",
        ),
        ({"pool_first": "media", "clusters": 1}, "clusters=1: must be at least 2; one cluster is the mean"),
    ):
        with pytest.raises(InputError, match=message):
            run(settings_class(**given, **settings))
    sharp.assign(sharp=sharp["sharp"] - 0.5).to_csv(tmp_path / "sharp.csv", index=False)
    with pytest.raises(InputError, match=r"column sharp for 207 images of templates, the first 1/videos_5001_1\.jpg"):
        run(settings_class(**given, quality="sharp", columns=columns))
