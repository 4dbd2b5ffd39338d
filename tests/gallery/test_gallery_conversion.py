"""Galleries of the older form, as they were written, come into the new one."""

import json

import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.gallery import __main__ as command
from ddl_tf.gallery.gallery import Gallery, convert_gallery

DIM = 8
# The second was fatal to the older form: it was written as it is, without quotes.
PEOPLE = ["anna", "cr\rhere", "anna", "007", 'Ö, "2"\n', "NA"]


@pytest.fixture
def old(tmp_path):
    folder = tmp_path / "old"
    (folder / "7").mkdir(parents=True)
    rows = np.random.default_rng(0).normal(size=[len(PEOPLE), DIM]).astype(np.float32)
    rows /= np.linalg.norm(rows, axis=1, keepdims=True)
    np.save(folder / "7" / "embeddings.npy", rows)
    np.save(folder / "reference.npy", rows[:4])
    times = [f"2024-01-0{number + 1}T00:00:00+00:00" for number in range(len(PEOPLE))]
    table = pd.DataFrame({"person": PEOPLE, "source": [f"{number}.jpg" for number in range(len(PEOPLE))]})
    table.assign(time=times, entry=0).to_csv(folder / "7" / "images.csv", index=False)
    description = {
        "format": 1,
        "generation": 7,
        "model": {"path": "faces", "sha256": "0" * 64, "dim": DIM, "flip": True},
        "entries": "images",
        "index": "exact",
        "threshold": {"value": 0.25, "far": 1e-3, "set": "lfw"},
        "people": 5,
        "images": len(PEOPLE),
        "created": "2024-01-01T00:00:00+00:00",
        "changed": "2024-01-06T00:00:00+00:00",
    }
    (folder / "gallery.json").write_text(json.dumps(description))
    return folder


def content(folder):
    return {file.name: file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_everything_comes_along_and_the_old_files_stay(old, tmp_path, capsys):
    before = content(old)
    command.convert(command.ConvertSettings(gallery=str(tmp_path / "new"), old=str(old)))
    assert "5 people, 6 images" in capsys.readouterr().out
    assert content(old) == before
    gallery = Gallery(str(tmp_path / "new"))
    assert gallery.images["person"].tolist() == PEOPLE
    assert gallery.images["time"].tolist() == sorted(gallery.images["time"])
    assert gallery.images["time"][0] == "2024-01-01T00:00:00+00:00"
    rows = np.load(old / "7" / "embeddings.npy")
    matches = gallery.search(rows, k=1)
    assert matches.people[:, 0].tolist() == PEOPLE
    np.testing.assert_allclose(matches.similarity, 1, atol=1e-6)
    described = gallery.description
    assert (described["entries"], described["threshold"]["set"]) == ("images", "lfw")
    assert described["created"] == "2024-01-01T00:00:00+00:00"
    assert (gallery.model.path, gallery.model.flip, gallery.threshold) == ("faces", True, 0.25)
    np.testing.assert_array_equal(gallery.model.reference, rows[:4])


def test_bad_conversions(old, tmp_path):
    for call in (Gallery, lambda folder: Gallery.create(folder, Gallery)):
        with pytest.raises(InputError, match=f"older form; .* convert --old={old} --gallery=NEW_FOLDER"):
            call(str(old))
    with pytest.raises(InputError, match="no gallery of the older form there"):
        convert_gallery(str(tmp_path), str(tmp_path / "new"))
    with pytest.raises(InputError, match="older form"):
        convert_gallery(str(old), str(old))
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="not empty"):
        convert_gallery(str(old), str(tmp_path / "mine"))
    table = (old / "7" / "images.csv").read_text()
    (old / "7" / "images.csv").write_text(table[: len(table) // 2])
    with pytest.raises(InputError, match=r"damaged .*restore"):
        convert_gallery(str(old), str(tmp_path / "new"))
    assert not (tmp_path / "new").exists()
