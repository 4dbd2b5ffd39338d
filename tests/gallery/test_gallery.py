"""A gallery against one of Python lists; its files; processes that are killed, or come at once."""

import contextlib
import dataclasses
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.gallery import ModelRecord, cache
from ddl_tf.gallery.gallery import Gallery, rebuild_index
from ddl_tf.gallery.index import KINDS
from ddl_tf.gallery.rows import ENTRIES
from ddl_tf.gallery.search import strangers_known
from ddl_tf.gallery.store import making

DIM = 16
MODEL = ModelRecord("faces", "0" * 64, DIM)


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def embeddings(count, seed=0):
    rng = np.random.default_rng(seed)
    return rng.normal(size=[count, DIM]) * rng.uniform(0.5, 9, [count, 1])


class Naive:
    def __init__(self, entries):
        self.entries, self.people = entries, {}

    def add(self, people, rows):
        for person, row in zip(people, rows):
            self.people.setdefault(person, []).append(unit(row))

    def search(self, query, k):
        entries = self.people
        if self.entries == "templates":
            entries = {person: [unit(np.mean(rows, axis=0))] for person, rows in entries.items()}
        scores = [(max(float(row @ unit(query)) for row in rows), person) for person, rows in entries.items()]
        return sorted(scores, reverse=True)[:k]


def check(gallery, naive, queries, k=4):
    matches = gallery.search(queries, k)
    for query, people, similarity in zip(queries, matches.people, matches.similarity):
        expected = naive.search(query, k)
        assert list(people) == [person for _, person in expected]
        np.testing.assert_allclose(similarity, [value for value, _ in expected], atol=1e-6)


@pytest.mark.parametrize(("entries", "kind"), zip(ENTRIES, KINDS))
def test_enrolled_added_replaced_and_removed_as_in_lists(entries, kind, tmp_path):
    """So few people that the approximate search compares all of them exactly."""
    gallery, naive = Gallery.create(str(tmp_path), MODEL, entries, kind), Naive(entries)
    rng, queries = np.random.default_rng(0), embeddings(10, 99)
    for step in range(8):
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
            removed = list(naive.people)[:2]
            assert gallery.remove(removed) == sum(len(naive.people.pop(person)) for person in removed)
            check(gallery, naive, queries)
            check(Gallery(str(tmp_path)), naive, queries)
    table = Gallery(str(tmp_path)).people()
    assert dict(zip(table["person"], table["images"])) == {key: len(rows) for key, rows in naive.people.items()}
    assert gallery.description["people"] == len(naive.people)
    assert gallery.description["images"] == sum(map(len, naive.people.values())) == len(gallery.images)
    # What is out of use does not pile up.
    vectors = sum(len(part.index) for part in gallery._snapshot.parts)
    assert vectors <= (len(gallery.images) if entries == "images" else len(naive.people)) / 0.75 + 1


def test_people_with_many_images_do_not_hide_others_and_many_queries_are_searched_in_parts(tmp_path):
    """The nearest 200 vectors are all of one person."""
    gallery, naive = Gallery.create(str(tmp_path), MODEL, "images"), Naive("images")
    query = embeddings(1)
    people = ["near"] * 200 + ["a", "b", "c"]
    rows = np.concatenate([unit(query) + 0.01 * embeddings(200, 1), embeddings(3, 2)])
    gallery.enrol(people, rows, [str(number) for number in range(203)])
    naive.add(people, rows)
    for k in (3, 9):
        check(gallery, naive, query, k)
    gallery.remove(["near"])
    del naive.people["near"]
    check(gallery, naive, embeddings(1100, 1))


def test_names_nobody_and_the_threshold(tmp_path):
    gallery = Gallery.create(str(tmp_path), MODEL)
    assert Gallery(str(tmp_path)).search(embeddings(3)).people.shape == (3, 0)
    names = ["007", "7", "NA", 'Ünal, "Ö"\n2', "cr\rhere", "a\0b", "a", "\u202eright", "é", "e\u0301"]
    gallery.enrol(names, embeddings(len(names)), names)
    again = Gallery(str(tmp_path))
    assert again.people()["person"].tolist() == again.images["source"].tolist() == names
    assert again.search(embeddings(len(names)), k=1).people[:, 0].tolist() == names
    gallery.remove([name for name in names if name not in ("7", "a")])
    assert Gallery(str(tmp_path)).people()["person"].tolist() == ["7", "a"]
    gallery.enrol(["7", "a"], np.eye(2, DIM), ["1", "2"], existing="replace")
    query = np.zeros([1, DIM])
    query[0, :2] = 0.8, 0.6
    assert gallery.search(query).known is None
    gallery.set_threshold({"value": 0.7})
    matches = Gallery(str(tmp_path)).search(query)
    assert (matches.people.tolist(), matches.known.tolist()) == ([["7", "a"]], [[True, False]])
    # A similarity that reaches it is enough.
    assert gallery.search(np.eye(1, DIM), k=1, threshold=1.0).known.all()


def test_refusals(tmp_path):
    folder, rows = str(tmp_path / "people"), embeddings(2)
    half = np.stack([np.ones(DIM), np.full(DIM, np.nan)])

    def enrol(people=("a", "b"), embeddings=rows, sources=("1", "2"), **options):
        return lambda: Gallery(folder).enrol(people, embeddings, sources, **options)

    for call, message in (
        (lambda: Gallery.create(folder, MODEL, entries="faces"), "entries 'faces': use one of templates, images"),
        (lambda: Gallery.create(folder, MODEL, index="fast"), "index 'fast'"),
        (lambda: Gallery.create(folder, MODEL, threshold={"value": 1.5}), "threshold 1.5"),
        (lambda: Gallery(folder), "no gallery there"),
        (lambda: Gallery.create(folder, MODEL).search(rows, k=0), "k=0"),
        (lambda: Gallery.create(folder, MODEL), "a gallery already"),
        (lambda: Gallery(folder).remove(["ben"]), "'ben' is not enrolled"),
        (enrol(embeddings=np.ones([2, DIM + 1])), r"shape \[2, 17\]: expected \[n, 16\]"),
        (enrol(embeddings=np.zeros([2, DIM])), r"row 0 is zero or not finite, as 2 of 2 rows are"),
        (enrol(embeddings=half), r"row 1 is zero or not finite, as 1 of 2 rows are"),
        (enrol(people=["a"]), "2 embeddings, 1 people and 2 sources"),
        (enrol(people=["a", ""]), "no name"),
        (enrol(people=["a", "jos\udce9"]), r"'jos\\\\xe9': the name is no UTF-8; rename it$"),
        (enrol(sources=["1", "jos\udce9"]), r"'jos\\\\xe9': the name is no UTF-8; rename it$"),
        (enrol(existing="merge"), "existing 'merge': use one of refuse, add, replace"),
    ):
        with pytest.raises(InputError, match=message):
            call()
    assert len(Gallery(folder).images) == 0


def test_the_model_is_kept_and_embeddings_of_two_models_do_not_mix(tmp_path):
    rows = unit(embeddings(4)).astype(np.float32)
    model = dataclasses.replace(MODEL, reference=rows)
    kept = Gallery.create(str(tmp_path), model).model
    assert kept == model
    np.testing.assert_array_equal(kept.reference, rows)
    kept.check_same(dataclasses.replace(model, path="elsewhere"), "people")
    # Another file of the same network: exported, or with the batch norm folded.
    kept.check_same(dataclasses.replace(model, sha256="1" * 64, reference=unit(rows + 1e-4)), "people")
    for change, message in (
        ({"sha256": "1" * 64, "reference": unit(rows + 0.1)}, "another model than that of people, faces"),
        ({"sha256": "1" * 64, "reference": np.empty([0, 0])}, "another model than that of people"),
        ({"flip": True, "reference": unit(rows + 0.1)}, r"\(sha256 000000000000, without flip\)"),
        ({"dim": 8}, "length 8, people has embeddings of length 16"),
    ):
        with pytest.raises(InputError, match=message):
            kept.check_same(dataclasses.replace(model, **change), "people")


@pytest.mark.parametrize(("entries", "kind"), zip(ENTRIES, KINDS[::-1]))
def test_the_cache_is_a_cache(entries, kind, tmp_path, monkeypatch):
    """Missing, old, cut off, of another gallery: the answers are the same. Small galleries have one too here."""
    monkeypatch.setattr(cache, "_FEW", 3)
    folder = tmp_path / "people"
    gallery, naive = Gallery.create(str(folder), MODEL, entries, kind), Naive(entries)
    people, rows, queries = [f"p{number % 25}" for number in range(30)], embeddings(30), embeddings(5, 1)
    gallery.enrol(people, rows, people)
    naive.add(people, rows)
    file = folder / "index.faiss"
    assert not file.exists()
    check(gallery, naive, queries)
    written = file.read_bytes()
    # An enrolment does not write it again; who opens the gallery reads the rest from it.
    gallery.enrol(["late"], embeddings(1, 7), ["late.jpg"])
    gallery.remove(["p3"])
    naive.add(["late"], embeddings(1, 7))
    del naive.people["p3"]
    with monkeypatch.context() as patched:
        patched.setattr(cache, "make_snapshot", None)
        check(Gallery(str(folder)), naive, queries)
    check(gallery, naive, queries)
    assert file.read_bytes() == written
    file.unlink()
    check(Gallery(str(folder)), naive, queries)
    file.write_bytes(written[: len(written) // 2])
    with pytest.warns(UserWarning, match="a cache that cannot be read"):
        check(Gallery(str(folder)), naive, queries)
    stranger = Gallery.create(str(tmp_path / "other"), MODEL, entries, kind)
    stranger.enrol(people, embeddings(30, 9), people)
    stranger.search(queries)
    file.write_bytes((tmp_path / "other" / "index.faiss").read_bytes())
    check(Gallery(str(folder)), naive, queries)
    rebuild_index(str(folder), "approximate")
    assert Gallery(str(folder)).description["index"] == "approximate"
    check(Gallery(str(folder)), naive, queries)
    check(gallery, naive, queries)


def test_a_cache_of_a_gallery_that_was_restored_from_a_copy_is_not_used(tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_FEW", 3)
    folder = tmp_path / "people"
    gallery = Gallery.create(str(folder), MODEL)
    gallery.enrol(list("abcdef"), embeddings(6), list("abcdef"))
    copy = (folder / "gallery.db").read_bytes()
    gallery.enrol(["lost"], embeddings(1, 1), ["1"])
    gallery.search(embeddings(1))
    (folder / "gallery.db").write_bytes(copy)
    other = Gallery(str(folder))
    other.enrol(["kept"], embeddings(1, 2), ["1"])
    for each in (other, gallery, Gallery(str(folder))):
        assert set(each.search(embeddings(1), k=9).people[0]) == set("abcdef") | {"kept"}


@pytest.mark.parametrize("kind", KINDS)
def test_many_small_changes_move_into_the_large_part(kind, tmp_path, monkeypatch):
    monkeypatch.setattr(cache, "_RECENT", 5)
    gallery, naive = Gallery.create(str(tmp_path), MODEL, "images", kind), Naive("images")
    for number in range(13):
        gallery.enrol([f"p{number}"] * 2, embeddings(2, number), ["1", "2"])
        naive.add([f"p{number}"] * 2, embeddings(2, number))
        if number % 6 == 5:
            gallery.remove([f"p{number - 4}"])
            del naive.people[f"p{number - 4}"]
        check(gallery, naive, embeddings(3, 99))
    assert len(gallery._snapshot.parts[0].index) > 20


def test_damaged_files_are_named(tmp_path):
    Gallery.create(str(tmp_path), MODEL).enrol(["a", "b"], embeddings(2), ["1", "2"])
    file = tmp_path / "gallery.db"
    file.write_bytes(b"no gallery" * 10_000)
    with pytest.raises(InputError, match=f"^{file}: the gallery is damaged .*restore"):
        Gallery(str(tmp_path))
    file.unlink()
    with contextlib.closing(sqlite3.connect(file)) as other:
        other.execute("CREATE TABLE mine (name TEXT)")
    for call in (Gallery, lambda folder: Gallery.create(folder, MODEL)):
        with pytest.raises(InputError, match="an SQLite file, but no gallery"):
            call(str(tmp_path))


@pytest.mark.parametrize("name", ["0001/a.jpg", ".notes.2024"])
def test_files_of_others_are_left_alone(name, tmp_path):
    gallery, mine = Gallery.create(str(tmp_path / "people"), MODEL), tmp_path / "people" / name
    for file in (tmp_path / "photos" / name, mine):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("mine")
    with pytest.raises(InputError, match=f"the folder is not empty .*{name.split('/')[0]}.* choose a new folder"):
        Gallery.create(str(tmp_path / "photos"), MODEL)
    assert [path for path in (tmp_path / "photos").rglob("*") if path.is_file()] == [tmp_path / "photos" / name]
    gallery.enrol(["a", "b"], embeddings(2), ["1", "2"])
    gallery.remove(["a"])
    rebuild_index(str(tmp_path / "people"), "approximate")
    assert mine.read_text() == "mine"


@pytest.mark.parametrize("name", ["gallery.db", "index.faiss.new"])
def test_links_are_refused_and_what_they_lead_to_stays(name, tmp_path):
    mine, folder = tmp_path / "mine", str(tmp_path / "people")
    mine.write_text("mine")
    gallery, link = Gallery.create(folder, MODEL), tmp_path / "people" / name
    link.unlink(missing_ok=True)
    link.symlink_to(mine)
    for call in (
        lambda: Gallery.create(folder, MODEL),
        lambda: gallery.enrol(["a"], embeddings(1), ["1"]),
        lambda: rebuild_index(folder),
    ):
        with pytest.raises(InputError, match=f"{name}: it is a link"):
            call()
    assert mine.read_text() == "mine"


def test_a_failed_change_leaves_what_was_there(tmp_path, monkeypatch):
    with pytest.raises(RuntimeError), making(tmp_path):
        raise RuntimeError
    with pytest.raises(InputError, match="no gallery there"):
        Gallery(str(tmp_path))
    gallery = Gallery.create(str(tmp_path), MODEL, threshold={"value": 0.1})
    gallery.enrol(["old"], embeddings(1), ["1"])
    before = gallery.description
    with monkeypatch.context() as patched:
        full = sqlite3.OperationalError("database or disk is full")
        patched.setattr("ddl_tf.gallery.rows._count", Mock(side_effect=full))
        with pytest.raises(OSError, match="No space left"):
            gallery.enrol(["new"], embeddings(1, 1), ["2"])
    assert gallery.description == before
    assert gallery.search(embeddings(1), k=5).people.tolist() == [["old"]]
    # A threshold and the people whom it is for are one change.
    for person, outcome in (
        ("old", pytest.raises(InputError, match="enrolled already")),
        ("new", contextlib.nullcontext()),
    ):
        assert gallery.description == before
        with outcome, gallery.working():
            gallery.set_threshold({"value": 0.9})
            gallery.enrol([person], embeddings(1, 1), ["2"])
    again = Gallery(str(tmp_path))
    assert (again.threshold, again.search(embeddings(1, 1), k=5).people.tolist()) == (0.9, [["new", "old"]])


def test_searches_follow_the_changes_of_others_and_do_not_wait_for_them(tmp_path):
    gallery, other = Gallery.create(str(tmp_path), MODEL), Gallery(str(tmp_path))
    other.enrol(["b"], embeddings(1), ["2"])
    assert gallery.search(embeddings(1), k=5).people.tolist() == [["b"]]
    with other.working():
        other.enrol(["a"], embeddings(1, 1), ["1"])
        assert gallery.search(embeddings(1), k=5).people.tolist() == [["b"]]
    assert gallery.search(embeddings(1), k=5).people.tolist() == [["b", "a"]]
    other.enrol(["b"], embeddings(1, 3), ["3"], existing="replace")
    np.testing.assert_allclose(gallery.search(embeddings(1, 3), k=1).similarity, 1, atol=1e-6)


def test_killed_and_crowded():
    """Whoever was reported as enrolled is there, after `kill -9` and with many threads and processes at once."""
    benchmark = Path(__file__).parents[2] / "benchmarks" / "gallery_changes.py"
    flags = ["--people=200", "--dim=16", "--kills=3", "--each=2"]
    environment = {**os.environ, "PYTHONPATH": str(benchmark.parents[1])}
    done = subprocess.run([sys.executable, benchmark, *flags], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    assert "killed 3 times: nothing of " in done.stdout
    assert "8 threads and 2 processes: exactly the 20 people" in done.stdout


def test_strangers_pass_for_somebody_as_rarely_as_is_reported():
    """Simulated, with a threshold of that FAR on pairs of images."""
    rng, people, size, far = np.random.default_rng(0), 20, 20, 1e-3
    for spread in (0.3, 3.0):
        centers = np.repeat(rng.normal(size=[people, 32]), size, axis=0)
        enrolled = unit(centers + spread * rng.normal(size=centers.shape))
        similarity = unit(rng.normal(size=[10_000, 32])) @ enrolled.T
        share = np.mean(similarity.max(axis=1) >= np.quantile(similarity, 1 - far))
        bound, how = strangers_known(far, people, people * size, "images")
        assert how.startswith("at most")
        assert share <= bound
        if spread == 3.0:
            # The number of people alone is none.
            assert share > 2 * far * people
    assert strangers_known(far, people, 3 * people, "templates")[1].startswith("by estimate")
    assert strangers_known(0.5, 9, 9, "images")[0] == 1
