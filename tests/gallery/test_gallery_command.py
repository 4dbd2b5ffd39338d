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
from ddl_tf.evaluation.model import load_embedding_model, model_file
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.gallery import __main__ as command
from ddl_tf.gallery.gallery import Gallery
from ddl_tf.gallery.photos import LANDMARK_COLUMNS
from ddl_tf.images.template import ARCFACE_TEMPLATE
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
    monkeypatch.setattr("ddl_tf.gallery.photos.load_embedding_model", LOADED)


def run(name, **settings):
    function, settings_class = command.COMMANDS[name]
    return function(settings_class(**settings))


def bytes_of(folder):
    return [file.read_bytes() for file in sorted(folder.rglob("*.png"))]


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def test_enrol_search_list_and_remove(models, faces, tmp_path, capsys):
    where, model = str(tmp_path / "gallery"), models["one"]
    shutil.copytree(faces / "people", tmp_path / "people")
    (tmp_path / "people" / "ben" / "bad.jpg").write_bytes(b"no image")
    assert run("enroll", gallery=where, model=model, images=str(tmp_path / "people"), threshold=-1.0) == 1
    out, err = capsys.readouterr()
    assert f"{where}: enrolled 9 images of 3 people; it has 3 people, 9 images now" in out
    assert "left out 1 of 10: 1 corrupt image\n" in err
    assert f"{tmp_path}/people/ben/bad.jpg: corrupt image: it is no image" in err
    results = tmp_path / "results.csv"
    assert run("search", gallery=where, model=model, images=str(faces / "new"), k=2, output=str(results)) == 0
    printed = capsys.readouterr().out
    assert f"| {faces}/new/anna/3.png | " in printed
    assert "known from a similarity of -1.0000 on" in printed
    table = pd.read_csv(results)
    assert list(table) == ["image", "rank", "person", "similarity", "known"]
    assert table["rank"].tolist() == [1, 2] * 3
    assert table["known"].all()
    # The second way: NumPy on the embeddings that evaluation makes.
    enrolled, new = (embed_images(models["model"], bytes_of(faces / name)) for name in ("people", "new"))
    templates = unit(enrolled.reshape(3, 3, -1).mean(axis=1))
    similarity = new @ templates.T
    order = np.argsort(-similarity, axis=1)[:, :2]
    assert table["person"].tolist() == [PEOPLE[number] for number in order.ravel()]
    np.testing.assert_allclose(table["similarity"], np.take_along_axis(similarity, order, 1).ravel(), atol=1e-5)
    run("remove", gallery=where, person=["anna", "carl"])
    assert capsys.readouterr().out == f"{where}: removed 6 images; it has 1 people, 3 images now\n"
    run("list", gallery=where)
    printed = capsys.readouterr().out
    assert "| ben | 3 | " in printed
    assert "1 people, 3 images; searched: templates, exact; known from" in printed


def test_a_gallery_of_all_images_searched_approximately(models, faces, tmp_path):
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"]}
    run("enroll", **shared, images=str(faces / "people"), entries="images", index="approximate", flip=False)
    # Flip is that of the gallery.
    assert run("search", **shared, images=str(faces / "new"), output=str(tmp_path / "found.csv"), k=3) == 0
    enrolled, new = (embed_images(models["model"], bytes_of(faces / name), flip=False) for name in ("people", "new"))
    similarity = (new @ enrolled.T).reshape(3, 3, 3).max(axis=2)
    table = pd.read_csv(tmp_path / "found.csv")
    assert table["person"].tolist() == [PEOPLE[number] for number in np.argsort(-similarity, axis=1).ravel()]
    np.testing.assert_allclose(table["similarity"], -np.sort(-similarity, axis=1).ravel(), atol=1e-5)
    # There is no threshold.
    assert table["known"].isna().all()


def test_existing_people(models, faces, tmp_path, capsys):
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"]}
    run("enroll", **shared, images=str(faces / "people"))
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


def test_another_model_is_refused_and_an_exported_one_is_the_same(models, faces, tmp_path):
    where = {"gallery": str(tmp_path / "gallery"), "images": str(faces / "people")}
    run("enroll", **where, model=models["one"])
    for model in (models["other"], models[False]):
        with pytest.raises(InputError, match="another model than that of"):
            run("search", **where, model=model)
    with pytest.raises(InputError, match="another model than that of"):
        run("enroll", **where, model=models["other"], existing="add")
    # It adds the mirrored image by itself, as is done for the checkpoint.
    assert run("search", **where, model=models[True], output=str(tmp_path / "found.csv"), k=1) == 0
    run("search", **where, model=models["one"], output=str(tmp_path / "again.csv"), k=1)
    exported, again = (pd.read_csv(tmp_path / name) for name in ("found.csv", "again.csv"))
    assert exported["person"].tolist() == again["person"].tolist()
    np.testing.assert_allclose(exported["similarity"], again["similarity"], atol=1e-5)
    with pytest.raises(InputError, match="by itself; leave out --flip"):
        run("search", **where, model=models[True], flip=True)


def test_photos_are_aligned_by_landmarks(models, tmp_path):
    """Faces pasted into photos at twice their size are found as the aligned ones are."""
    rows, aligned = [["ben.png", "nobody", *np.ones(10)]], tmp_path / "aligned"
    for number, person in enumerate(PEOPLE):
        face = Image.fromarray(render(identity=number, image=0, size=112)[0])
        (aligned / person).mkdir(parents=True)
        face.save(aligned / person / "0.png")
        photo = Image.new("RGB", (500, 400), "grey")
        photo.paste(face.resize((224, 224), Image.Resampling.BICUBIC), (100 + number, 60))
        photo.save(tmp_path / f"{person}.png")
        # Pixels' centres: 0 of the face comes to 0.5.
        points = (ARCFACE_TEMPLATE + 0.5) * 2 - 0.5 + [100 + number, 60]
        rows.append([f"{person}.png", person, *points.ravel()])
    pd.DataFrame(rows, columns=["path", "person", *LANDMARK_COLUMNS]).to_csv(tmp_path / "list.csv", index=False)
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"]}
    problems = tmp_path / "problems.csv"
    assert run("enroll", **shared, images_csv=str(tmp_path / "list.csv"), problems=str(problems)) == 1
    assert pd.read_csv(problems)["kind"].tolist() == ["bad landmarks"]
    run("search", **shared, images=str(aligned), k=1, output=str(tmp_path / "found.csv"))
    table = pd.read_csv(tmp_path / "found.csv")
    assert table["person"].tolist() == list(PEOPLE)
    assert table["similarity"].min() > 0.99


def test_names_that_are_no_utf8_or_cannot_be_seen(models, faces, tmp_path, capsys):
    """Whoever has a name that is text is enrolled and found by it; what is shown and written is escaped."""
    names = {"anna": "=1+1", "ben": "cr\rhere\u202e", "carl": "jos\udce9"}
    for person, name in names.items():
        shutil.copytree(faces / "people" / person, tmp_path / "people" / name)
        shutil.copytree(faces / "new" / person, tmp_path / "new" / name)
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"]}
    problems = tmp_path / "problems.csv"
    assert run("enroll", **shared, images=str(tmp_path / "people"), problems=str(problems)) == 1
    assert "left out 3 of 9: 3 file name" in capsys.readouterr().err
    table = pd.read_csv(problems)
    assert table["kind"].tolist() == ["file name"] * 3
    assert table["source"][0] == f"{tmp_path}/people/jos\\xe9/0.png"
    assert sorted(Gallery(shared["gallery"]).people()["person"]) == sorted([names["anna"], names["ben"]])
    output = tmp_path / "found.csv"
    assert run("search", **shared, images=str(tmp_path / "new"), k=2, output=str(output)) == 1
    captured = capsys.readouterr()
    assert "cr\\rhere\\u202e" in captured.out
    assert not set("\r\u202e\udce9") & set(captured.out + captured.err)
    table = pd.read_csv(output)
    assert set(table["person"]) == {"'=1+1", "cr\\rhere\\u202e"}
    assert len(table) == 4
    run("list", gallery=shared["gallery"])
    assert "| cr\\rhere\\u202e | 3 |" in capsys.readouterr().out


def test_all_photos_are_bad(models, tmp_path, capsys):
    (tmp_path / "images" / "anna").mkdir(parents=True)
    for number in range(30):
        (tmp_path / "images" / "anna" / f"{number}.jpg").write_bytes(b"")
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"], "images": str(tmp_path / "images")}
    assert run("enroll", **shared) == 1
    assert "and 10 more; --problems=FILE.csv lists all" in capsys.readouterr().err
    # None is bound to a model for nothing.
    assert not (tmp_path / "gallery").exists()


@pytest.mark.parametrize(
    "name, settings, message",
    [
        *((name, {"gallery": ""}, "--gallery is missing") for name in ("enroll", "remove", "list", "reindex")),
        ("enroll", {"model": ""}, "--model is missing"),
        ("enroll", {"images": ""}, "give one of --images"),
        ("enroll", {"images_csv": "list.csv"}, "give one of --images"),
        ("enroll", {"threshold": 2.0}, "threshold 2.0"),
        ("enroll", {"model": "nowhere"}, "no model at nowhere"),
        ("enroll", {"batch_size": 0}, "--batch_size=0"),
        ("search", {}, "no gallery there"),
        ("search", {"k": 0}, "--k=0"),
        ("search", {"threshold": float("nan")}, "threshold nan"),
    ],
)
def test_bad_settings(name, settings, message, models, faces, tmp_path):
    usual = {"gallery": str(tmp_path / "gallery")}
    if name in ("enroll", "search"):
        usual.update(model=models["one"], images=str(faces / "people"))
    with pytest.raises(InputError, match=message):
        run(name, **{**usual, **settings})
    assert not (tmp_path / "gallery").exists()


def evaluated(folder, model, flip):
    """A stored evaluation of pairs of that model."""
    rng = np.random.default_rng(0)
    same = np.arange(4000) % 2 == 0
    scores = {"similarity": np.where(same, 0.6, 0.0) + 0.15 * rng.normal(size=4000), "same": same}
    provenance = {"model": model, "sha256": fingerprint(model_file(model)), "flip": flip}
    write_outcome(folder / "lfw", Outcome({"set": "lfw", "protocol": "pairs"}, scores), provenance)
    return scores


def test_the_threshold_comes_from_the_evaluation(models, faces, tmp_path, capsys):
    shared = {"gallery": str(tmp_path / "gallery"), "model": models["one"], "images": str(faces / "people")}
    scores = evaluated(tmp_path / "evaluation", models["one"], flip=True)
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


def test_a_new_gallery_takes_the_threshold_of_an_exported_model(models, faces, tmp_path):
    shared = {"gallery": str(tmp_path / "gallery"), "model": models[False], "images": str(faces / "people")}
    run("enroll", **shared)
    gallery = Gallery(shared["gallery"])
    assert gallery.description["threshold"] == dataclasses.asdict(THRESHOLD)
    # Another one that was chosen since is not lost.
    run("enroll", **shared, existing="add", threshold=0.5)
    run("enroll", **shared, existing="replace")
    assert Gallery(shared["gallery"]).threshold == 0.5
