"""A gallery against one of Python lists; its files; processes that are killed, or come at once."""

import dataclasses
import json
import os
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from ddl_tf.errors import InputError
from ddl_tf.evaluation.templates import template_features
from ddl_tf.files import lock_folder
from ddl_tf.serving.gallery import Gallery, rebuild_index
from ddl_tf.serving.gallery_entries import ENTRIES
from ddl_tf.serving.gallery_files import read_state
from ddl_tf.serving.model_record import ModelRecord
from ddl_tf.serving.vector_index import KINDS

DIM = 16
MODEL = ModelRecord("faces", "0" * 64, DIM)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embeddings(count, seed=0):
    """Of any norm."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=[count, DIM]) * rng.uniform(0.5, 9, [count, 1])


class Naive:
    """Dicts and loops."""

    def __init__(self, entries):
        self.entries, self.people = entries, {}

    def add(self, people, rows):
        for person, row in zip(people, rows):
            self.people.setdefault(person, []).append(unit(row))

    def search(self, query, k):
        scores = []
        for person, rows in self.people.items():
            if self.entries == "templates":
                scores.append((float(unit(np.mean(rows, axis=0)) @ unit(query)), person))
            else:
                scores.append((max(float(row @ unit(query)) for row in rows), person))
        return sorted(scores, reverse=True)[:k]


def check(gallery, naive, queries, k=4):
    found = gallery.search(queries, k)
    for query, people, similarity in zip(queries, found.people, found.similarity):
        expected = naive.search(query, k)
        assert list(people) == [person for _, person in expected]
        np.testing.assert_allclose(similarity, [value for value, _ in expected], atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("entries", ENTRIES)
def test_enrolled_added_replaced_and_removed_as_in_lists(entries, kind, tmp_path):
    """So few people that the approximate search compares all of them exactly."""
    gallery, naive = Gallery.create(str(tmp_path), MODEL, entries, kind), Naive(entries)
    rng, queries = np.random.default_rng(0), embeddings(10, 99)
    for step in range(12):
        people = [f"person {number}" for number in rng.integers(0, 8, 9)]
        rows, sources = embeddings(9, step), [f"{step}-{number}.jpg" for number in range(9)]
        if step % 3 == 2:
            gallery.enrol(people, rows, sources, existing="replace")
            naive.people = {person: rows for person, rows in naive.people.items() if person not in people}
        else:
            gallery.enrol(people, rows, sources, existing="add")
        naive.add(people, rows)
        check(gallery, naive, queries)
        if step % 4 == 3:
            gone = list(naive.people)[:2]
            assert gallery.remove(gone) == sum(len(naive.people.pop(person)) for person in gone)
            check(gallery, naive, queries)
            check(Gallery(str(tmp_path)), naive, queries)
    table = Gallery(str(tmp_path)).people()
    assert dict(zip(table["person"], table["images"])) == {key: len(rows) for key, rows in naive.people.items()}
    assert gallery.description["people"] == len(naive.people)
    assert gallery.description["images"] == sum(map(len, naive.people.values())) == len(gallery.images)
    # What is out of use does not pile up.
    state = read_state(tmp_path)
    assert len(state.index) <= len(set(state.images["entry"])) / 0.75


def test_templates_are_those_of_the_evaluation(tmp_path):
    rows, template = embeddings(30), np.random.default_rng(1).integers(0, 7, 30)
    gallery = Gallery.create(str(tmp_path), MODEL)
    gallery.enrol([str(number) for number in template], rows, [""] * 30, existing="add")
    features, numbers = template_features(
        rows[:, np.newaxis], template, np.arange(30), np.ones(30), flip=False, use_norms=False, use_scores=False
    )
    found = gallery.search(features, k=1)
    assert found.people[:, 0].tolist() == [str(number) for number in numbers]
    np.testing.assert_allclose(found.similarity, 1, atol=1e-6)


def test_people_with_many_images_do_not_hide_others(tmp_path):
    """The nearest 200 vectors are all of one person."""
    gallery, naive = Gallery.create(str(tmp_path), MODEL, "images"), Naive("images")
    query = embeddings(1)
    near = unit(query) + 0.01 * embeddings(200, 1)
    people = ["near"] * 200 + ["a", "b", "c"]
    rows = np.concatenate([near, embeddings(3, 2)])
    gallery.enrol(people, rows, [str(number) for number in range(203)])
    naive.add(people, rows)
    check(gallery, naive, query, k=3)
    check(gallery, naive, query, k=9)


def test_known_by_the_threshold(tmp_path):
    gallery = Gallery.create(str(tmp_path), MODEL)
    gallery.enrol(["a", "b"], np.eye(2, DIM), ["1", "2"])
    query = np.zeros([1, DIM])
    query[0, :2] = 0.8, 0.6
    assert gallery.search(query).known is None
    gallery.set_threshold({"value": 0.7, "far": 1e-3, "set": "lfw"})
    found = Gallery(str(tmp_path)).search(query)
    assert (found.people.tolist(), found.known.tolist()) == ([["a", "b"]], [[True, False]])
    assert gallery.search(query, threshold=0.5).known.all()
    # A similarity that reaches it is enough.
    assert gallery.search(np.eye(1, DIM), k=1, threshold=1.0).known.all()
    assert Gallery(str(tmp_path)).description["threshold"]["set"] == "lfw"


def test_existing_people(tmp_path):
    gallery = Gallery.create(str(tmp_path), MODEL)
    gallery.enrol(["anna", "ben"], embeddings(2), ["a1", "b1"])
    with pytest.raises(InputError, match=r"1 of the people are enrolled already \(anna\): .*--existing=add or replace"):
        gallery.enrol(["carl", "anna"], embeddings(2), ["c1", "a2"])
    assert gallery.description["people"] == 2
    assert gallery.enrol(["anna", "anna"], embeddings(2), ["a1", "a2"], existing="add") == 1
    assert gallery.images["source"].tolist() == ["a1", "b1", "a2"]
    assert gallery.enrol(["anna"], embeddings(1), ["a1"], existing="add") == 0
    assert gallery.enrol(["anna"], embeddings(1), ["a3"], existing="replace") == 1
    assert gallery.images["source"].tolist() == ["b1", "a3"]


def test_names_are_text(tmp_path):
    names = ["007", "7", "NA", "null", "1e3", 'Ünal, "Ö"\n2', "True"]
    gallery = Gallery.create(str(tmp_path), MODEL)
    gallery.enrol(names, embeddings(7), names)
    again = Gallery(str(tmp_path))
    assert again.people()["person"].tolist() == again.images["source"].tolist() == names
    assert again.search(embeddings(7), k=1).people[:, 0].tolist() == names


def test_nobody_and_few(tmp_path):
    gallery = Gallery.create(str(tmp_path), MODEL, threshold={"value": 0.3})
    empty = Gallery(str(tmp_path)).search(embeddings(3))
    assert empty.people.shape == empty.similarity.shape == empty.known.shape == (3, 0)
    gallery.enrol(["a"], embeddings(1), ["1"])
    assert gallery.search(embeddings(3), k=5).people.tolist() == [["a"]] * 3
    assert gallery.search(embeddings(0), k=5).people.shape == (0, 1)
    gallery.remove(["a"])
    assert Gallery(str(tmp_path)).search(embeddings(3)).people.shape == (3, 0)


def test_many_queries_are_searched_in_parts(tmp_path):
    gallery, naive = Gallery.create(str(tmp_path), MODEL), Naive("templates")
    people, rows = list("abcdef"), embeddings(6)
    gallery.enrol(people, rows, people)
    naive.add(people, rows)
    check(gallery, naive, embeddings(2500, 1))


@pytest.mark.parametrize(
    "bad, message",
    [
        ({"embeddings": np.ones([2, DIM + 1])}, r"shape \[2, 17\]: expected \[n, 16\]"),
        ({"embeddings": np.zeros([2, DIM])}, r"row 0 is zero or not finite \(2 are\)"),
        ({"embeddings": np.stack([np.ones(DIM), np.full(DIM, np.nan)])}, r"row 1 is zero or not finite \(1 are\)"),
        ({"people": ["a"]}, "2 embeddings, 1 people and 2 sources"),
        ({"people": ["a", ""]}, "no name"),
        ({"existing": "merge"}, "existing 'merge': use one of refuse, add, replace"),
    ],
)
def test_bad_enrolment(bad, message, tmp_path):
    gallery = Gallery.create(str(tmp_path), MODEL)
    given = {"people": ["a", "b"], "embeddings": embeddings(2), "sources": ["1", "2"], **bad}
    with pytest.raises(InputError, match=message):
        gallery.enrol(**given)
    assert len(Gallery(str(tmp_path)).images) == 0


def test_bad_choices(tmp_path):
    for choice, message in (
        ({"entries": "faces"}, "entries 'faces': use one of templates, images"),
        ({"index": "fast"}, "index 'fast'"),
        ({"threshold": {"value": 1.5}}, "threshold 1.5"),
    ):
        with pytest.raises(InputError, match=message):
            Gallery.create(str(tmp_path), MODEL, **choice)
    with pytest.raises(InputError, match="no gallery there"):
        Gallery(str(tmp_path))
    gallery = Gallery.create(str(tmp_path), MODEL)
    with pytest.raises(InputError, match="a gallery already"):
        Gallery.create(str(tmp_path), MODEL)
    with pytest.raises(InputError, match="k=0"):
        gallery.search(embeddings(1), k=0)
    with pytest.raises(InputError, match="'ben' is not enrolled"):
        gallery.remove(["ben"])


def test_embeddings_of_two_models_do_not_mix():
    rows = unit(embeddings(4)).astype(np.float32)
    of = dataclasses.replace(MODEL, reference=rows)
    of.check_same(dataclasses.replace(of, path="elsewhere"), "people")
    # Another file of the same network: exported, or with the batch norm folded.
    of.check_same(dataclasses.replace(of, sha256="1" * 64, reference=unit(rows + 1e-4)), "people")
    for other, message in (
        ({"sha256": "1" * 64, "reference": unit(rows + 0.1)}, "another model than that of people, faces"),
        ({"sha256": "1" * 64, "reference": np.empty([0, 0])}, "another model than that of people"),
        ({"flip": True, "reference": unit(rows + 0.1)}, r"\(sha256 000000000000, without flip\)"),
        ({"dim": 8}, "length 8, people has embeddings of length 16"),
    ):
        with pytest.raises(InputError, match=message):
            of.check_same(dataclasses.replace(of, **other), "people")


def test_the_model_is_kept(tmp_path):
    model = dataclasses.replace(MODEL, flip=True, reference=unit(embeddings(4)).astype(np.float32))
    kept = Gallery.create(str(tmp_path), model).model
    assert kept == model
    np.testing.assert_array_equal(kept.reference, model.reference)


def test_the_index_is_made_anew_from_the_embeddings(tmp_path):
    gallery, naive = Gallery.create(str(tmp_path), MODEL), Naive("templates")
    people, rows = list("abcabd"), embeddings(6)
    gallery.enrol(people, rows, list("123456"))
    naive.add(people, rows)
    (file,) = tmp_path.glob("*/index.faiss")
    file.write_bytes(file.read_bytes()[:50])
    with pytest.raises(InputError, match="reindex"):
        Gallery(str(tmp_path))
    rebuild_index(str(tmp_path))
    check(Gallery(str(tmp_path)), naive, embeddings(5, 1))
    rebuild_index(str(tmp_path), "approximate")
    again = Gallery(str(tmp_path))
    assert (again.description["index"], read_state(tmp_path).index.kind) == ("approximate", "approximate")
    check(again, naive, embeddings(5, 1))


@pytest.mark.parametrize("name", ["gallery.json", "images.csv", "embeddings.npy"])
def test_damaged_files_are_named(name, tmp_path):
    Gallery.create(str(tmp_path), MODEL).enrol(["a", "b"], embeddings(2), ["1", "2"])
    (file,) = tmp_path.rglob(name)
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])
    with pytest.raises(InputError, match=f"^{tmp_path}.*restore"):
        Gallery(str(tmp_path))


def test_files_that_do_not_fit_together(tmp_path):
    Gallery.create(str(tmp_path), MODEL).enrol(["a", "b"], embeddings(2), ["1", "2"])
    (file,) = tmp_path.rglob("images.csv")
    pd.read_csv(file)[:1].to_csv(file, index=False)
    with pytest.raises(InputError, match="do not fit together"):
        Gallery(str(tmp_path))
    file = tmp_path / "gallery.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "format": 2}))
    with pytest.raises(InputError, match="format 2, where 1 is known"):
        Gallery(str(tmp_path))


# Each write of a change is stopped by `kill -9` before it, and after.
KILLED = """
import os, signal, sys
import numpy as np
from ddl_tf import files
from ddl_tf.serving import gallery_files
from ddl_tf.serving.gallery import Gallery
folder, rows = sys.argv[1], np.load(sys.argv[2])
replace, remove = os.replace, gallery_files._remove_generations
for place in range(9):
    child = os.fork()
    if not child:
        gallery = Gallery(folder)
        left = [place]
        def counted(function):
            def call(*given, **named):
                if not left[0]:
                    os.kill(os.getpid(), signal.SIGKILL)
                left[0] -= 1
                return function(*given, **named)
            return call
        os.replace, gallery_files._remove_generations = counted(replace), counted(remove)
        gallery.enrol(["new"], rows, ["new.jpg"], existing="replace")
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status), *Gallery(folder).people()["person"], flush=True)
    if not status:
        break
"""


def test_killed_within_a_change(tmp_path):
    folder = tmp_path / "people"
    Gallery.create(str(folder), MODEL).enrol(["old"], embeddings(1), ["old.jpg"])
    np.save(tmp_path / "rows.npy", embeddings(1, 1))
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), str(tmp_path / "rows.npy")], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    # Clean-up, embeddings, images, index, gallery.json, clean-up; then not killed.
    assert done.stdout.splitlines() == ["9 old"] * 5 + ["9 old new", "0 old new"], done.stderr
    left = sorted(file.name for file in folder.iterdir())
    generation = str(Gallery(str(folder)).description["generation"])
    assert left == sorted([generation, "gallery.json", "lock", "reference.npy"])
    assert sorted(file.name for file in (folder / generation).iterdir()) == [
        "embeddings.npy",
        "images.csv",
        "index.faiss",
    ]


def test_a_failed_change_leaves_what_was_there(tmp_path, monkeypatch):
    gallery = Gallery.create(str(tmp_path), MODEL)
    gallery.enrol(["old"], embeddings(1), ["1"])
    before = sorted(tmp_path.rglob("*"))

    def full(self, path):
        raise OSError(28, "No space left on device", str(path))

    with monkeypatch.context() as patched:
        patched.setattr("ddl_tf.serving.vector_index.VectorIndex.write", full)
        with pytest.raises(OSError, match="No space left"):
            gallery.enrol(["new"], embeddings(1, 1), ["2"])
    assert sorted(tmp_path.rglob("*")) == before
    assert gallery.search(embeddings(1), k=5).people.tolist() == [["old"]]
    gallery.enrol(["new"], embeddings(1, 1), ["2"])
    assert Gallery(str(tmp_path)).search(embeddings(1, 1), k=5).people.tolist() == [["new", "old"]]


def test_one_process_at_a_time_changes_it(tmp_path):
    gallery = Gallery.create(str(tmp_path), MODEL)
    with lock_folder(tmp_path), pytest.raises(InputError, match="another process is at work"):
        gallery.enrol(["a"], embeddings(1), ["1"])
    # What another one did meanwhile is not lost.
    other = Gallery(str(tmp_path))
    other.enrol(["b"], embeddings(1), ["2"])
    gallery.enrol(["a"], embeddings(1, 1), ["1"])
    assert gallery.people()["person"].tolist() == ["b", "a"]
    # The other one goes on searching the state that it has.
    assert other.search(embeddings(1), k=5).people.tolist() == [["b"]]
    with gallery.working():
        gallery.remove(["b"])
        with pytest.raises(InputError, match="another process is at work"):
            other.remove(["b"])


def test_a_reader_whose_state_is_replaced_reads_the_next(tmp_path, monkeypatch):
    gallery = Gallery.create(str(tmp_path), MODEL)
    gallery.enrol(["a"], embeddings(1), ["1"])
    read, changes = np.load, []

    def late(file, *given, **named):
        if not changes and os.path.basename(file) == "embeddings.npy":
            changes.append(gallery.enrol(["b"], embeddings(1, 1), ["2"]))
        return read(file, *given, **named)

    other = Gallery(str(tmp_path))
    monkeypatch.setattr(np, "load", late)
    other = Gallery(str(tmp_path))
    assert (changes, other.people()["person"].tolist()) == ([1], ["a", "b"])
