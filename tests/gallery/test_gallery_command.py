"""The commands of the gallery, as a user gives them."""

import dataclasses
import functools
import shutil

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny_checkpoint import write_checkpoint

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.gallery import __main__ as command
from ddl_tf.gallery.gallery import Gallery
from ddl_tf.models.model_choice import model_file
from ddl_tf.serving.export import export_model
from ddl_tf.serving.threshold import Threshold
from ddl_tf.synthetic.shots import render

PEOPLE = ("anna", "ben", "carl")
THRESHOLD = Threshold(0.25, 1e-3, "lfw", "pairs", {"folder": "evaluation"})


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """A network, its checkpoint, what is exported of it with and without flip; and another network."""
    folder = tmp_path_factory.mktemp("models")
    model = write_checkpoint(folder / "one.keras")
    write_checkpoint(folder / "other.keras", seed=1)
    chosen = {"directory": str(folder), "threshold": THRESHOLD, "search": False}
    exported = {flip: str(export_model(model, f"faces{flip}", flip=flip, **chosen)) for flip in (False, True)}
    return {"model": model, "one": str(folder / "one.keras"), "other": str(folder / "other.keras"), **exported}


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    """Three images of each of three people to enrol, and one of each to search."""
    folder = tmp_path_factory.mktemp("faces")
    for number, person in enumerate(PEOPLE):
        for image in range(4):
            where = folder / ("people" if image < 3 else "new") / person
            where.mkdir(parents=True, exist_ok=True)
            pixels = render(identity=number, image=image, size=48)[0]
            Image.fromarray(pixels).save(where / f"{image}.png")
    return folder


# Loading takes most of the time of a test.
LOADED = functools.lru_cache(load_embedding_model)


@pytest.fixture(autouse=True)
def loaded_once(monkeypatch):
    monkeypatch.setattr("ddl_tf.evaluation.load_embedding_model", LOADED)


def run(name, **settings):
    function, settings_class = command.COMMANDS[name]
    return function(settings_class(**settings))


def test_enrol_search_list_and_remove(models, faces, tmp_path, capsys):
    where, model = str(tmp_path / "gallery"), models["one"]
    shutil.copytree(faces / "people", tmp_path / "people")
    for number in range(30):
        (tmp_path / "people" / "anna" / f"bad{number}.jpg").write_bytes(b"no image")
    enrol = {"images": str(tmp_path / "people"), "flip": False, "threshold": -1.0}
    assert run("enroll", gallery=where, model=model, **enrol) == 1
    out, err = capsys.readouterr()
    assert f"{where}: enrolled 9 images of 3 people; it has 3 people, 9 images now" in out
    assert "left out 30 of 39: 30 corrupt image\n" in err
    assert f"{tmp_path}/people/anna/bad0.jpg: corrupt image: it is no image" in err
    assert "and 10 more; --problems=FILE.csv lists all" in err
    results, listed = tmp_path / "results.csv", str(tmp_path / "list.csv")
    pd.DataFrame({"path": sorted(map(str, (faces / "new").rglob("*.png")))}).to_csv(listed)
    # Flip is that of the gallery.
    assert run("search", gallery=where, model=model, images_csv=listed, k=2, output=str(results)) == 0
    printed = capsys.readouterr().out
    assert f"| {faces}/new/anna/3.png | " in printed
    assert "known from a similarity of -1.0000 on" in printed
    table = pd.read_csv(results)
    assert (table["rank"].tolist(), table["known"].all()) == ([1, 2] * 3, True)
    # The second way: NumPy on the embeddings that evaluation makes.
    files = [[file.read_bytes() for file in sorted((faces / name).rglob("*.png"))] for name in ("people", "new")]
    enrolled, new = (embed_images(models["model"], images, flip=False) for images in files)
    templates = enrolled.reshape(3, 3, -1).mean(axis=1)
    similarity = new @ (templates / np.linalg.norm(templates, axis=1, keepdims=True)).T
    order = np.argsort(-similarity, axis=1)[:, :2]
    assert table["person"].tolist() == [PEOPLE[number] for number in order.ravel()]
    np.testing.assert_allclose(table["similarity"], np.take_along_axis(similarity, order, 1).ravel(), atol=1e-5)
    run("remove", gallery=where, person=["anna", "carl"])
    assert capsys.readouterr().out == f"{where}: removed 6 images; it has 1 people, 3 images now\n"
    run("list", gallery=where)
    assert "1 people, 3 images; searched: templates, exact; known from" in capsys.readouterr().out


def test_existing_people_and_other_models(models, faces, tmp_path, capsys):
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"]}
    run("enroll", **shared, images=str(faces / "people"))
    where = {"gallery": shared["gallery"], "images": str(faces / "people")}
    for model in (models["other"], models[False]):
        with pytest.raises(InputError, match="another model than that of"):
            run("search", **where, model=model)
    # An exported one adds the mirrored image by itself, as is done for the checkpoint.
    assert run("search", **where, model=models[True], output=str(tmp_path / "found.csv"), k=1) == 0
    run("search", **where, model=models["one"], output=str(tmp_path / "again.csv"), k=1)
    pd.testing.assert_frame_equal(*(pd.read_csv(tmp_path / name) for name in ("found.csv", "again.csv")), atol=1e-5)
    with pytest.raises(InputError, match="by itself; leave out --flip"):
        run("search", **where, model=models[True], flip=True)
    run("enroll", **shared, images=str(faces / "people"), existing="add")
    printed = capsys.readouterr().out
    assert "enrolled 0 images of 0 people, 9 were there already; it has 3 people, 9 images now" in printed
    for refused, message in (
        ({}, r"3 of the people are enrolled already \(anna, ben, carl\)"),
        ({"existing": "add", "entries": "images"}, r"was made with .*leave it out"),
        ({"existing": "add", "index": "approximate"}, r"was made with .*leave it out"),
    ):
        with pytest.raises(InputError, match=message):
            run("enroll", **shared, images=str(faces / "new"), **refused)
    for existing, counts in (("add", [4, 4, 4]), ("replace", [1, 1, 1])):
        run("enroll", **shared, images=str(faces / "new"), existing=existing)
        assert Gallery(shared["gallery"]).people()["images"].tolist() == counts
    run("reindex", gallery=shared["gallery"], index="approximate")
    assert Gallery(shared["gallery"]).description["index"] == "approximate"


def test_names_that_cannot_be_shown_or_are_no_utf8(models, faces, tmp_path, capsys):
    """Whoever has a name that is text is enrolled and found by it; what is shown and written is escaped."""
    for person, name in (("anna", "=1+1"), ("ben", "cr\rhere\u202e"), ("carl", "jos\udce9")):
        shutil.copytree(faces / "people" / person, tmp_path / "people" / name)
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"], "images": str(tmp_path / "people")}
    problems, output = tmp_path / "problems.csv", tmp_path / "found.csv"
    assert run("enroll", **shared, problems=str(problems), entries="images", index="approximate") == 1
    table = pd.read_csv(problems)
    assert table["kind"].tolist() == ["file name"] * 3
    assert table["source"][0] == f"{tmp_path}/people/jos\\xe9/0.png"
    assert sorted(Gallery(shared["gallery"]).people()["person"]) == ["=1+1", "cr\rhere\u202e"]
    assert run("search", **shared, k=2, output=str(output)) == 1
    run("list", gallery=shared["gallery"])
    captured = capsys.readouterr()
    assert "| cr\\rhere\\u202e | 3 |" in captured.out
    assert not set("\r\u202e\udce9") & set(captured.out + captured.err)
    table = pd.read_csv(output)
    assert set(table["person"]) == {"'=1+1", "cr\\rhere\\u202e"}
    assert table["known"].isna().all()


def test_bad_settings(models, faces, tmp_path, capsys):
    folder = tmp_path / "gallery"
    photos = {"gallery": str(folder), "model": models["one"], "images": str(faces / "people")}
    for name, settings, message in (
        *((name, {"gallery": ""}, "--gallery is missing") for name in ("remove", "list", "reindex")),
        ("enroll", {**photos, "model": ""}, "--model is missing"),
        ("enroll", {**photos, "images_csv": "list.csv"}, "give one of --images"),
        ("enroll", {**photos, "threshold": 2.0}, "threshold 2.0"),
        ("enroll", {**photos, "batch_size": 0}, "--batch_size=0"),
        ("search", photos, "no gallery there"),
        ("search", {**photos, "k": 0}, "--k=0"),
        ("search", {**photos, "threshold": float("nan")}, "threshold nan"),
    ):
        with pytest.raises(InputError, match=message):
            run(name, **settings)
    # Where no photo is good, none is bound to a model for nothing.
    (tmp_path / "images" / "anna").mkdir(parents=True)
    (tmp_path / "images" / "anna" / "0.jpg").write_bytes(b"")
    assert run("enroll", **{**photos, "images": str(tmp_path / "images")}) == 1
    assert not folder.exists()


def test_the_threshold_comes_from_the_evaluation(models, faces, tmp_path, capsys):
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"], "images": str(faces / "people")}
    same = np.arange(4000) % 2 == 0
    scores = {"similarity": 0.6 * same + 0.15 * np.random.default_rng(0).normal(size=4000), "same": same}
    provenance = {"model": models["one"], "sha256": fingerprint(model_file(models["one"])), "flip": True}
    write_outcome(tmp_path / "evaluation/lfw", Outcome({"set": "lfw", "protocol": "pairs"}, scores), provenance)
    chosen = {"evaluation": str(tmp_path / "evaluation"), "threshold_set": "lfw", "far": 0.01}
    for settings, message in (
        ({"model": models["other"], **chosen}, r"was evaluated with .*one\.keras, not with .*other\.keras"),
        ({"flip": False, **chosen}, "evaluated with --flip"),
        ({"far": 0.01}, "--far: a threshold takes"),
        ({"threshold": 0.5, **chosen}, "--threshold and --evaluation together"),
    ):
        with pytest.raises(InputError, match=message):
            run("enroll", **{**shared, **settings})
    assert not (tmp_path / "gallery").exists()
    assert run("enroll", **shared, **chosen) == 0
    # 20 of 2,000 different pairs may be accepted.
    different = np.sort(scores["similarity"][~scores["same"]])
    threshold = Gallery(shared["gallery"]).description["threshold"]
    assert different[-21] < threshold["value"] <= different[-20]
    assert (threshold["set"], threshold["far"]) == ("lfw", 0.01)
    assert threshold["evaluation"]["sha256"] == Gallery(shared["gallery"]).description["model"]["sha256"]
    words = "false accept rate 0.01 on lfw: a stranger passes for one of 3 people 3.00% of the time"
    assert words in capsys.readouterr().out
    # Another one, for the gallery that is there; then none is given.
    run("enroll", **shared, existing="add", **{**chosen, "far": 0.1})
    assert Gallery(shared["gallery"]).threshold < threshold["value"]
    run("enroll", **shared, existing="replace")
    assert Gallery(shared["gallery"]).description["threshold"]["far"] == 0.1
    # A new one takes that of an exported model; one that was chosen since is not lost.
    shared = {**shared, "gallery": str(tmp_path / "of an export"), "model": models[False]}
    run("enroll", **shared)
    assert Gallery(shared["gallery"]).description["threshold"] == dataclasses.asdict(THRESHOLD)
    run("enroll", **shared, existing="add", threshold=0.5)
    run("enroll", **shared, existing="replace")
    assert Gallery(shared["gallery"]).threshold == 0.5
