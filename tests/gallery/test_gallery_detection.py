"""The commands of the gallery on plain photos."""

import numpy as np
import pandas as pd
import pytest
from group_photos import GroupPhotos, face_of
from PIL import Image
from tiny_checkpoint import write_checkpoint

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import usable_cores
from ddl_tf.detection import DetectionSettings
from ddl_tf.evaluation import embed as evaluation_embed
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.gallery import __main__ as command
from ddl_tf.gallery.gallery import Gallery
from ddl_tf.gallery.photos import LANDMARK_COLUMNS
from ddl_tf.synthetic.scenes import render_scene

PEOPLE = ("anna", "ben", "carl")


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    file = tmp_path_factory.mktemp("model") / "one.keras"
    write_checkpoint(file)
    return str(file)


@pytest.fixture(autouse=True)
def loaded_once(model, monkeypatch, loaded=[]):  # noqa: B006
    loaded[:] = loaded or [load_embedding_model(model)]
    monkeypatch.setattr("ddl_tf.evaluation.load_embedding_model", lambda path: loaded[0])


@pytest.fixture
def group(tmp_path, monkeypatch):
    """Photos of three people to enrol, each with the person and once with a stranger, and two groups to search."""
    photos = GroupPhotos(tmp_path)
    monkeypatch.setattr(DetectionSettings, "detector", lambda settings: photos)
    for number, person in enumerate(PEOPLE):
        for image in range(3):
            stranger = [(9, image, 10, 10)] if image == 2 else []
            photos.write(f"people/{person}/{image}.png", (number, image, 140, 90), *stranger)
    photos.write("new/party/1.png", (2, 3, 280, 5), (0, 3, 10, 5), (1, 3, 140, 100))
    photos.write("new/2.jpg", (1, 4, 200, 20), (8, 0, 20, 20), quality=98, scores=[0.99, 0.6])
    photos.write("new/sky.png")
    return photos


def run(name, **settings):
    function, settings_class = command.COMMANDS[name]
    return function(settings_class(**settings))


def aligned(folder, shots):
    """Write the faces of (name, identity, image) themselves."""
    for name, *shot in shots:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(face_of(*shot)).save(folder / name)
    return str(folder)


def test_photos_give_what_their_aligned_faces_give(model, group, tmp_path, capsys):
    shared = {"gallery": str(tmp_path / "plain"), "model": model, "detect": True}
    enrol = {"images": str(tmp_path / "people"), "face": "central", "threshold": 0.0}
    assert run("enroll", **shared, **enrol) == 0
    assert "enrolled 9 images of 3 people" in capsys.readouterr().out
    results, marked = tmp_path / "found.csv", tmp_path / "marked"
    found = {"images": str(tmp_path / "new"), "output": str(results), "marked": str(marked), "k": 2}
    assert run("search", **shared, **found) == 1
    out, err = capsys.readouterr()
    assert f"| {tmp_path}/new/party/1.png #3 | " in out
    assert "4 faces in 2 photos; not usable (unsure, too small or misshapen): 1" in out
    assert f"{tmp_path}/new/sky.png: no face: no face was found in it" in err
    # The second way: the faces that are in the photos, as aligned images.
    faces = [(f"{who}/{image}.png", number, image) for number, who in enumerate(PEOPLE) for image in range(3)]
    other = {"gallery": str(tmp_path / "aligned"), "model": model}
    run("enroll", **other, images=aligned(tmp_path / "faces", faces), threshold=0.0)
    shots = [("2.png", 1, 4), ("party/1.png", 0, 3), ("party/2.png", 1, 3), ("party/3.png", 2, 3)]
    run("search", **other, images=aligned(tmp_path / "new faces", shots), output=str(tmp_path / "other.csv"), k=2)
    table, expected = pd.read_csv(results), pd.read_csv(tmp_path / "other.csv")
    assert table["face"].tolist() == [1, 1, 1, 1, 2, 2, 3, 3]
    png = table["image"].str.endswith("1.png")
    columns = ["rank", "person", "similarity", "known"]
    pd.testing.assert_frame_equal(table.loc[png, columns], expected.loc[png, columns], atol=1e-5)
    # JPEG takes a little of a face.
    np.testing.assert_allclose(table["similarity"], expected["similarity"], atol=0.02)
    first = table.iloc[2]
    assert first[["box_left", "box_top", "box_right", "box_bottom"]].tolist() == [30, 25, 112, 107]
    assert first["face_score"] == 0.99
    assert sorted(str(path.relative_to(marked)) for path in marked.rglob("*.jpg")) == ["2.jpg", "party/1.png.jpg"]


def test_which_face_is_the_person(model, group, tmp_path):
    """A stranger stands left of each person in one photo of three; faces of one size: the first is the largest."""
    tables = {}
    for face in ("largest", "central", "agreed"):
        where = {"gallery": str(tmp_path / face), "model": model, "detect": True}
        assert run("enroll", **where, images=str(tmp_path / "people"), face=face) == 0
        images = Gallery(where["gallery"]).images
        assert images["source"].tolist() == [f"{tmp_path}/people/{who}/{n}.png" for who in PEOPLE for n in range(3)]
        run("search", **where, images=str(tmp_path / "new"), output=str(tmp_path / "found.csv"))
        tables[face] = pd.read_csv(tmp_path / "found.csv")["similarity"]
    np.testing.assert_allclose(tables["agreed"], tables["central"], atol=1e-6)
    assert np.abs(tables["largest"] - tables["central"]).max() > 1e-3


def test_more_photos_of_people_who_are_enrolled(model, group, tmp_path, capsys):
    where = {"gallery": str(tmp_path / "gallery"), "model": model, "images": str(tmp_path / "people"), "detect": True}
    run("enroll", **where)
    group.write("people/anna/3.png", (0, 3, 140, 90))
    find, searched = group.find, []
    group.find = lambda image: searched.append(image) or find(image)
    run("enroll", **where, existing="add")
    assert "enrolled 1 images of 1 people, 9 were there already" in capsys.readouterr().out
    assert len(searched) == 1


def test_a_photo_that_is_listed_for_two_people(model, group, tmp_path, capsys):
    path = group.write("both.png", (0, 0, 0, 0), (1, 0, 200, 100))
    lines = [f"{path},anna", f"{path},ben", f"{tmp_path}/people/ben/0.png,ben"]
    (tmp_path / "list.csv").write_text("\n".join(["path,person", *lines]))
    where = {"gallery": str(tmp_path / "gallery"), "model": model, "images_csv": str(tmp_path / "list.csv")}
    assert run("enroll", **where, detect=True) == 1
    assert "face of two people: the same face would be anna and ben" in capsys.readouterr().err
    assert Gallery(where["gallery"]).people()["images"].tolist() == [1]


def test_flags_that_do_not_go_together(model, group, tmp_path):
    (tmp_path / "list.csv").write_text("path," + ",".join(LANDMARK_COLUMNS) + f"\na.png{',5' * 10}\n")
    where = {"gallery": str(tmp_path / "gallery"), "model": model}
    images = {**where, "images": str(tmp_path / "people")}
    for name, settings, message in (
        *(
            ("enroll", {**images, flag: value}, f"--{flag}={value} would be ignored: it needs --detect")
            for flag, value in (("least_score", 0.5), ("least_face", 9.0), ("photo_side", 800), ("face", "agreed"))
        ),
        ("search", {**images, "marked": "marked"}, "--marked=marked would be ignored: it needs --detect"),
        ("search", {**images, "smallest_face": 40.0}, "--smallest_face=40.0 would be ignored"),
        ("search", {**where, "images_csv": str(tmp_path / "list.csv"), "detect": True}, "has the landmarks x1 to y5"),
    ):
        with pytest.raises(InputError, match=message):
            run(name, **settings)
    run("enroll", **images, detect=True)
    with pytest.raises(InputError, match="there is something already"):
        run("search", **images, detect=True, marked=str(tmp_path / "new"))
    with pytest.raises(InputError, match="least score of a face must be between 0 and 1"):
        run("search", **images, detect=True, least_score=90.0)


def test_many_photos_are_not_in_memory_at_once(model, group, tmp_path, monkeypatch):
    """Some photos are searched, then their faces are embedded, and so on."""
    path = group.write("many.png", (0, 0, 0, 0), (1, 0, 200, 100))
    (tmp_path / "list.csv").write_text("path\n" + f"{path}\n" * 1000)
    where = {"gallery": str(tmp_path / "gallery"), "model": model, "detect": True}
    run("enroll", **where, images=str(tmp_path / "people"))
    find, predict, searched, ahead = group.find, evaluation_embed.predict_embeddings, [], []
    group.find = lambda image: searched.append(1) or find(image)

    def embed(model, images, *arguments):
        ahead.append(len(searched) - sum(embedded))
        embedded.append(len(images) // 2)
        return predict(model, images, *arguments)

    embedded = []
    monkeypatch.setattr(evaluation_embed, "predict_embeddings", embed)
    run("search", **where, images_csv=str(tmp_path / "list.csv"), output=str(tmp_path / "found.csv"))
    assert sum(embedded) == len(searched) == 1000
    assert max(ahead) <= 64 + 3 * usable_cores() + 1


def test_with_mtcnn(model, tmp_path, capsys):
    """Drawn people before a street or in a room, found by the detector of the package."""
    pytest.importorskip("mtcnn", reason="the extra [photos] is not installed")
    scene = render_scene([2, 3], 0, size=(640, 480), sides=(110, 130), yaws=(-5, 5))
    (tmp_path / "new").mkdir()
    Image.fromarray(scene.image).save(tmp_path / "new" / "group.png")
    faces = aligned(tmp_path / "people", [("two/0.png", 2, 0), ("three/0.png", 3, 0)])
    where = {"gallery": str(tmp_path / "gallery"), "model": model}
    run("enroll", **where, images=faces)
    found = {"output": str(tmp_path / "found.csv"), "marked": str(tmp_path / "marked"), "k": 1}
    assert run("search", **where, images=str(tmp_path / "new"), detect=True, **found) == 0
    table = pd.read_csv(tmp_path / "found.csv")
    names = ["box_left", "box_top", "box_right", "box_bottom"]
    truth = scene.faces.sort_values("box_left")[names].to_numpy()
    assert len(table) == 2
    assert np.abs(table[names].to_numpy() - truth).max() < 30
    assert (tmp_path / "marked" / "group.png.jpg").is_file()
