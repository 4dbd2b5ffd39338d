"""The commands of mining, as a user gives them."""

import dataclasses
import io
import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from onnx_builder import SIDE
from PIL import Image
from quality_network import write_quality
from tiny_network import tiny_network  # noqa: F401
from tiny_sets import samples, store

from ddl_tf import mine
from ddl_tf.common.errors import InputError
from ddl_tf.data import StoreSettings, write_set
from ddl_tf.data.store import Faces
from ddl_tf.importers.source import Source
from ddl_tf.mining.pairs import DROPPED_PAIRS, read_pairs
from ddl_tf.mining.quality import QUALITY_COLUMNS
from ddl_tf.mining.selection import identity_names, selected_source
from ddl_tf.models import build_recognizer, save_checkpoint
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Six people, whom no test changes."""
    folder = tmp_path_factory.mktemp("faces")
    counts = {"identities": 6, "images_per_identity": 8, "test_identities": 0}
    prepare_synthetic(SyntheticSettings(output=str(folder), image_size=32, **counts))
    return str(folder / "train")


@pytest.fixture
def data(drawn, tmp_path):
    return shutil.copytree(drawn, str(tmp_path / "faces" / "train"))


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    save_checkpoint(build_recognizer("plain_small", 6, embedding_size=8, input_shape=(32, 32, 3)), path)
    return str(path)


def run(name, **settings):
    function, settings_class = mine.COMMANDS[name]
    function(settings_class(**settings))


def group_of(data):
    return Faces([data]).index["group"].to_numpy()


def is_picture(path):
    with Image.open(path) as picture:
        return min(picture.size) > 100


def test_rules(data, capsys):
    small = "resolution_px in (8, 9, 10, 11, 12) and yaw < 1000"
    run("rules", data=[data], easy="abs(yaw) < 25", hard=["abs(yaw) > 60", small], noise="light < 0.6")
    assert "| 1 (hard) | abs(yaw) > 60 |" in capsys.readouterr().out
    index = Faces([data]).index
    yaw, few = index["yaw"].abs(), index["resolution_px"].between(8, 12)
    expected = np.select([index["light"] < 0.6, yaw < 25, yaw > 60, few], [-1, 0, 1, 2], -1)
    np.testing.assert_array_equal(index["group"], expected)
    folder = Path(data) / "mined"
    assert is_picture(folder / "contact_sheet.jpg")
    assert is_picture(folder / "distributions.png")
    assert pd.read_csv(folder / "groups.csv")["images"].sum() == len(index)
    (step,) = json.loads((Path(data) / "dataset.json").read_text())["mined"]
    assert step["hard"] == ["abs(yaw) > 60", small]


def test_quality_measures_and_groups(data, capsys, tmp_path):
    before = group_of(data)
    run("quality", data=[data])
    assert "| measured_brightness | 48 |" in capsys.readouterr().out
    index = Faces([data]).index
    assert index[list(QUALITY_COLUMNS)].notna().all().all()
    np.testing.assert_array_equal(index["group"], before)
    assert not (Path(data) / "mined" / "quality.partial").exists()
    dark = "measured_brightness < quantile(measured_brightness, 0.25)"
    run("quality", data=[data], easy=f"not {dark}", hard=[dark], plots=str(tmp_path / "plots"))
    expected = index["measured_brightness"] < index["measured_brightness"].quantile(0.25)
    np.testing.assert_array_equal(group_of(data), expected.astype(int))
    assert is_picture(tmp_path / "plots" / "contact_sheet.jpg")


def test_a_learned_quality_is_a_column_for_rules(data, capsys, tmp_path):
    network = write_quality(tmp_path / "red.onnx", ["embedding", "quality"])
    flags = {"quality_model": network, "quality_column": "red", "quality_mean": 0.0, "quality_scale": 1.0}
    run("quality", data=[data], **flags, easy="red >= quantile(red, 0.5)", hard=["red < quantile(red, 0.5)"])
    printed, said = capsys.readouterr()
    assert "| red | 48 |" in printed
    assert f"{network}: input (value - 0) / 1, RGB (as given)" in said
    faces = Faces([data])
    small = [Image.open(io.BytesIO(image)).convert("RGB").resize((SIDE, SIDE), 2) for image in faces.images()]
    red = np.array([np.asarray(image)[..., 0].mean() for image in small])
    # Whose pixels are rounded.
    np.testing.assert_allclose(faces.index["red"], red, rtol=0, atol=0.5)
    np.testing.assert_array_equal(group_of(data), faces.index["red"] < np.quantile(faces.index["red"], 0.5))
    assert faces.index["measured_sharpness"].notna().all()
    assert not (Path(data) / "mined" / "learned_quality.partial").exists()
    with pytest.raises(InputError, match="--quality_column=group: that column has another meaning"):
        run("quality", data=[data], quality_model=network, quality_column="group")


def test_what_a_user_puts_among_the_parts_of_measuring_stays(data, monkeypatch, capsys):
    parts = Path(data) / "mined" / "quality.partial"
    group = mine._group

    def put(*arguments):
        (parts / "mine.txt").write_text("mine")
        (parts / "photos").mkdir()
        (parts / "photos" / "part-00000.npy").write_text("mine")
        (parts / "part-00007.npy").symlink_to(parts / "mine.txt")
        group(*arguments)

    monkeypatch.setattr(mine, "_group", put)
    run("quality", data=[data])
    left = sorted(str(path.relative_to(parts)) for path in parts.rglob("*"))
    assert left == ["mine.txt", "part-00007.npy", "photos", "photos/part-00000.npy"]
    assert "quality.partial: kept, it holds what was not of the work" in capsys.readouterr().err
    with pytest.raises(InputError, match="which is not of it"):
        run("quality", data=[data])


@pytest.mark.parametrize("centers", ["mean", "head"])
def test_a_model_s_view_groups_with_a_band_of_noise(data, checkpoint, centers):
    hard, noise = (f"center_margin < quantile(center_margin, {share})" for share in (0.4, 0.1))
    rules = {"easy": "center_margin > quantile(center_margin, 0.6)", "hard": [hard], "noise": noise}
    run("model", data=[data], model=checkpoint, centers=centers, **rules)
    index = Faces([data]).index
    margin, group = index["center_margin"], index["group"]
    assert (margin[group == 0] > margin.quantile(0.6)).all()
    assert (margin[margin < margin.quantile(0.1)].index.map(group) == -1).all()
    assert set(group) == {-1, 0, 1}
    assert ("target_logit" in index) == (centers == "head")


def test_pairs_are_stored_for_training(data, checkpoint, capsys):
    run("pairs", data=[data], model=checkpoint, across=True, per_identity=3)
    faces = Faces([data])
    pairs = read_pairs(faces)
    assert f"| 1 | {(pairs.group == 1).sum()} |" in capsys.readouterr().out
    group, identity = faces.index["group"].to_numpy(), faces.index["identity"].to_numpy()
    np.testing.assert_array_equal(identity[pairs.first], identity[pairs.second])
    assert set(group[pairs.second]) == {0}
    assert (np.bincount(identity[pairs.first][pairs.group == 1]) <= 3).all()
    assert (Path(data) / DROPPED_PAIRS).exists()


def test_a_batch_is_drawn(data, tmp_path):
    streams = {"rows_per_group": 3, "pairs_per_group": 2, "pairs_across": True}
    blurred = {"augment_blur": 1.0, "augment_groups": [1]}
    run("batch", data=[data], **streams, **blurred, image_size=32, output=str(tmp_path / "batch.jpg"))
    assert is_picture(tmp_path / "batch.jpg")
    for wrong, message in (
        ({"mined_pairs": True}, "no positive pairs are stored"),
        ({"step": -1}, "--step must be at"),
    ):
        with pytest.raises(InputError, match=message):
            run("batch", data=[data], pairs_per_group=2, **wrong)


def test_degraded_students(data, tmp_path, capsys):
    output = str(tmp_path / "degraded")
    run("degrade", data=[data], output=output, student=["resolution:8", "light:0.3+jpeg:20-40"], seed=3)
    made, source = Faces([output]), Faces([data])
    easy = source.index["group"].eq(0).sum()
    np.testing.assert_array_equal(made.index["group"], np.tile([0, 1, 2], easy))
    assert (made.index["resolution_px"][made.index["group"] == 1] == 8).all()
    assert made.index["jpeg_quality"][made.index["group"] == 2].between(20, 40).all()
    first = made.index["source_row"].iloc[0]
    assert made.read(np.array([0])) == source.read(np.array([first]))
    assert made.image(2).mean() < 0.5 * made.image(0).mean()
    assert is_picture(Path(output) / "mined" / "contact_sheet.jpg")


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("rules", {"easy": "yaw < 3"}, "go together"),
        ("rules", {}, "--easy and --hard are missing"),
        ("rules", {"easy": "abs(yaw) < 20", "hard": ["yaw > 500"]}, "fits no image; yaw goes from"),
        ("quality", {"data": []}, "--data is missing"),
        ("model", {}, "--model is missing"),
        ("model", {"model": "nowhere"}, "no model at nowhere"),
        ("degrade", {}, "--student are missing"),
        ("degrade", {"student": ["fog:3"], "output": "x"}, "fog"),
    ],
)
def test_what_is_wrong_is_refused_before_anything_is_done(drawn, name, settings, message):
    before = group_of(drawn)
    with pytest.raises(InputError, match=message):
        run(name, **{"data": [drawn], **settings})
    np.testing.assert_array_equal(group_of(drawn), before)


def plant_a_copy(data, tmp_path):
    """The set with the first image once more, under the second identity's name."""
    faces = Faces([data])
    names = identity_names(faces)
    rows = np.append(np.arange(len(faces)), 0)
    source = selected_source(faces, rows, names)
    extra = dataclasses.replace(next(iter(source.read(len(faces)))), identity=str(names[8]))
    items = [*source.read(0)][:-1] + [extra]
    output = str(tmp_path / "planted")
    write_set(Source("planted", "planted", len(items), lambda start: iter(items[start:])), StoreSettings(output=output))
    return output


def test_clean_writes_columns_that_rules_and_select_take(data, checkpoint, tmp_path, capsys):
    planted = plant_a_copy(data, tmp_path)
    run("clean", data=[planted], detect=False)
    out = capsys.readouterr().out
    assert "| two_labels | 2 |" in out
    assert "not judged: no_face, poor_fit: --nodetect" in out
    assert "not judged: wrong_identity, outlier, same person: they need --model" in out
    assert not (Path(planted) / "mined" / "clean.partial").exists()
    index = Faces([planted]).index
    assert np.flatnonzero(index["fault"] == "two_labels").tolist() == [0, len(index) - 1]
    assert index["copy_of"].iloc[-1] == 0
    assert json.loads((Path(planted) / "dataset.json").read_text())["mined"][-1]["near_duplicate"] == 0.98
    # Nothing is deleted, and the groups are as they were.
    assert len(index) == 49
    run("rules", data=[planted], easy="abs(yaw) < 25", hard=["abs(yaw) > 30"], noise="fault != ''")
    group = group_of(planted)
    assert group[0] == group[-1] == -1
    run("select", data=[planted], where="fault == ''", output=str(tmp_path / "cleaned"))
    assert "stored 47 of 49 images, of 6 identities" in capsys.readouterr().out
    cleaned = Faces([str(tmp_path / "cleaned")])
    assert cleaned.index["source_row"].tolist() == list(range(1, 48))
    assert "fault" not in cleaned.index
    np.testing.assert_array_equal(cleaned.index["group"], group[1:48])


def test_clean_with_a_model_judges_labels_and_is_the_same_again(data, checkpoint, tmp_path, capsys):
    settings = {"data": [data], "model": checkpoint, "detect": False, "plots": str(tmp_path / "report")}
    run("clean", **settings)
    assert "limits: an outlier has an own similarity below" in capsys.readouterr().out
    first = Faces([data]).index
    assert {"own_similarity", "other_similarity", "nearest_identity", "merge_with"} <= set(first)
    assert first["own_similarity"].notna().all()
    assert (tmp_path / "report" / "same_person.csv").is_file()
    run("clean", **settings)
    pd.testing.assert_frame_equal(Faces([data]).index, first)
    run("select", data=[data], merge=True, output=str(tmp_path / "merged"))
    assert len(Faces([str(tmp_path / "merged")])) == len(first)


def test_clean_says_what_it_skips_without_the_extra(data, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "mtcnn.utils", None)
    run("clean", data=[data])
    out = capsys.readouterr().out
    assert "not judged: no_face, poor_fit: faces are found by the package mtcnn, which cannot be imported" in out
    assert "pip install" in out
    assert "no image has a fault" in out


@pytest.mark.parametrize(
    ("bad", "message"),
    [
        ({"near_duplicate": 1.5}, "near duplicates correlate by 0.5 to below 1, got 1.5"),
        ({"sheet_images": 0}, "--sheet_images must be at least 1, got 0"),
        ({"margin": 0.2}, "--margin=0.2 would be ignored: it needs --model"),
        ({"poor_fit_px": 9.0}, "--poor_fit_px=9.0 would be ignored: it needs --detect"),
        ({"model": "nowhere.keras"}, "nowhere.keras"),
    ],
)
def test_bad_settings_of_clean_are_refused(data, bad, message):
    with pytest.raises(InputError, match=message):
        run("clean", data=[data], detect=False, **bad)
    assert "fault" not in Faces([data]).index


def test_labels_of_one_identity_are_not_judged(checkpoint, tmp_path):
    store(samples(4, images_per_identity=4), tmp_path / "alone")
    with pytest.raises(InputError, match="1 identity, but labels are judged by comparing at least two"):
        run("clean", data=[str(tmp_path / "alone")], model=checkpoint, detect=False)


def test_select_refuses_what_selects_nothing(data, tmp_path):
    output = str(tmp_path / "new")
    with pytest.raises(InputError, match="--where or --merge, are missing"):
        run("select", data=[data], output=output)
    with pytest.raises(InputError, match="no column 'fault'"):
        run("select", data=[data], where="fault == ''", output=output)
    with pytest.raises(InputError, match="no image is selected"):
        run("select", data=[data], where="yaw > 1000", output=output)
    with pytest.raises(InputError, match="no column 'merge_with'"):
        run("select", data=[data], merge=True, output=output)
