import contextlib
import csv
import dataclasses
import errno
import json
import os
import shutil
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from limited_files import files_limited_to
from tiny_sets import assert_memory, list_source, picture, samples, small_shards, store, stored_faces

from ddl_tf.common.errors import InputError
from ddl_tf.data import shards, writer
from ddl_tf.data.layout import read_table
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, assemble_index, write_set
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.importers.source import Problem, Sample


@pytest.fixture(autouse=True)
def _small_shards(monkeypatch):
    monkeypatch.setattr(writer, "ShardedImport", small_shards)


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_what_is_stored(tmp_path):
    items = [*samples(10), Sample(picture(9, size=20), "person 9", "last", -1, {"number": 10})]
    assert len(store(items, tmp_path / "faces")["shards"]) > 2
    index = pd.read_parquet(tmp_path / "faces/index.parquet")
    assert index["identity"].tolist() == [*(n // 3 for n in range(10)), 4]
    assert index["identity_key"].tolist() == [item.identity for item in items]
    assert index["group"].tolist() == [item.group for item in items]
    assert index["number"].tolist() == list(range(11))
    # The second way: TensorFlow's own reader of the shards, and the raw bytes at the offsets.
    row = 0
    for shard in sorted(tmp_path.glob("faces/*.tfrecord")):
        for record in tf.data.TFRecordDataset(str(shard)).as_numpy_iterator():
            feature = tf.train.Example.FromString(record).features.feature
            assert feature["image"].bytes_list.value == [items[row].image]
            assert feature["identity"].int64_list.value == [index["identity"][row]]
            assert feature["group"].int64_list.value == [index["group"][row]]
            offset, length = index["offset"][row], index["length"][row]
            assert shard.read_bytes()[offset : offset + length] == record
            assert shard.name == f"shard-{index['shard'][row]:05d}.tfrecord"
            row += 1
    assert row == 11
    description = json.loads((tmp_path / "faces/dataset.json").read_text())
    parts = description.pop("shards")
    assert sum(part["images"] for part in parts.values()) == 11
    assert all((tmp_path / "faces" / name).stat().st_size == part["bytes"] for name, part in parts.items())
    settings = {"image_size": None, "shard_mb": 128}
    assert description == {
        "format_version": 1,
        "name": "faces",
        "images": 11,
        "identities": 5,
        "groups": {"-1": 1, "0": 5, "1": 5},
        "image_size": {"smallest": [16, 16], "largest": [20, 20]},
        "columns": ["shard", "offset", "length", "identity", "group", "identity_key", "number"],
        "problems": {},
        "made_by": {"command": "list", "ddl_tf": "0.1.0", "source": "a list", "items": 11, "settings": settings},
    }


def test_two_sets_opened_as_one_and_read_at_random_by_threads(tmp_path):
    first = samples(7)
    second = [Sample(picture(n, 20), f"person {n // 2}", str(n), 0, {"number": n, "yaw": 0.5}) for n in range(5)]
    faces = stored_faces(first, tmp_path / "a")
    assert (len(faces), faces.num_identities, faces.image_size) == (7, 3, (16, 16))
    store(second, tmp_path / "b")
    faces = Faces([str(tmp_path / "a"), str(tmp_path / "b")])
    assert (len(faces), faces.num_identities, faces.image_size) == (12, 6, None)
    assert faces.index["identity"].tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 5]
    assert faces.index["yaw"].isna().tolist() == [True] * 7 + [False] * 5
    assert [faces.shards[shard].split("/")[-2] for shard in faces.index["shard"]] == ["a"] * 7 + ["b"] * 5
    rows = np.random.default_rng(0).integers(0, 12, [50, 8])
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(faces.read, rows))
    assert read == [[(first + second)[row].image for row in batch] for batch in rows.tolist()]
    np.testing.assert_array_equal(faces.image(5), decode_image(first[5].image))


@contextlib.contextmanager
def stopped_after(count, function=None):
    """Interrupts an import when so many items are done with, or at the call of a function."""

    def advance(progress):
        progress._done += 1
        if progress._done > count:
            raise KeyboardInterrupt

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards.Progress, "advance", advance)
        if function:
            patch.setattr(writer, function, lambda *_: advance(SimpleNamespace(_done=count)))
        with pytest.raises(KeyboardInterrupt):
            yield


@pytest.mark.parametrize("on_error", ["refuse", "skip"])
def test_interrupted_anywhere_gives_the_same_bytes(tmp_path, on_error, capsys):
    items, identities = samples(11), [f"person {n}" for n in range(4)]
    if on_error == "skip":
        items[0] = Problem("missing file", "item 0", "gone")
        items[6] = Sample(b"no image", "person 2", "item 6", 0, {"number": 6})
        items[10] = Problem("missing file", "item 10", "gone too")
        identities.append("person without images")
    store(items, tmp_path / "whole/faces", on_error, identities)
    for stops in ([(4,)], [(9,)], [(99, "_assemble")], [(99, "publish")], [(stop,) for stop in range(11)]):
        for stop in stops:
            with stopped_after(*stop):
                store(items, tmp_path / "faces", on_error, identities)
            assert not (tmp_path / "faces").exists()
        done = shards.read_parts(tmp_path / "faces.partial")[-1].done
        store(items, tmp_path / "faces", on_error, identities)
        assert "publish" in stops[0] or f"going on after {done} of 11" in capsys.readouterr().err
        assert files(tmp_path / "faces") == files(tmp_path / "whole/faces")
        shutil.rmtree(tmp_path / "faces")


def test_killed(tmp_path):
    """A real SIGKILL, in another process; few items are read ahead of those that are stored."""
    program = f"""if True:
        import os, signal, sys
        sys.path[:] = {sys.path!r}
        from tiny_sets import list_source, samples, small_shards
        from ddl_tf.common import parallel
        from ddl_tf.data import writer
        parallel._CHUNK, parallel.usable_cores, writer.ShardedImport = 1, lambda: 1, small_shards
        class Items(list):
            def __getitem__(self, part):
                yield from samples(20)
                os.kill(os.getpid(), signal.SIGKILL)
        writer.write_set(list_source(Items(range(22))), writer.StoreSettings(output="faces"))
    """
    done = subprocess.run([sys.executable, "-c", program], cwd=tmp_path, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "faces").exists()
    assert len(shards.read_parts(tmp_path / "faces.partial")) > 2
    for folder in ("whole/faces", "faces"):
        store(samples(22), tmp_path / folder)
    assert files(tmp_path / "faces") == files(tmp_path / "whole/faces")


def test_other_settings_are_refused(tmp_path):
    items = samples(11)
    with stopped_after(9):
        store(items, tmp_path / "faces", image_size=12)
    with pytest.raises(InputError, match=r"--image_size=12, this one has --image_size=None: run it with the former"):
        store(items, tmp_path / "faces")
    with pytest.raises(InputError, match="items=11, this one has items=10"):
        store(items[:10], tmp_path / "faces", image_size=12)
    with pytest.raises(InputError, match="its import is not finished"):
        Faces([str(tmp_path / "faces")])
    # How errors are met is no property of the set: a refused import may go on with skipping, not the other way.
    store(items, tmp_path / "faces", "skip", image_size=12)
    items[0] = Problem("missing file", "item 0", "gone")
    with stopped_after(9):
        store(items, tmp_path / "skipped", "skip")
    with pytest.raises(InputError, match="item 0: missing file: gone"):
        store(items, tmp_path / "skipped")


def test_an_existing_output(tmp_path):
    store(samples(3), tmp_path / "faces")
    before = files(tmp_path / "faces")
    with pytest.raises(InputError, match="exists: choose another --output, or replace it with --overwrite"):
        store(samples(5), tmp_path / "faces")
    with stopped_after(4):
        store(samples(5), tmp_path / "faces", overwrite=True)
    assert files(tmp_path / "faces") == before
    store(samples(5), tmp_path / "faces", overwrite=True)
    assert len(Faces([str(tmp_path / "faces")])) == 5
    assert [path.name for path in tmp_path.iterdir()] == ["faces"]
    (tmp_path / "precious").mkdir()
    (tmp_path / "precious/thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="is no stored set and is not overwritten"):
        store(samples(5), tmp_path / "precious", overwrite=True)
    assert (tmp_path / "precious/thesis.txt").exists()


@pytest.mark.parametrize(
    ("item", "kind", "reason"),
    [
        (Problem("missing file", "item 2", "gone"), "missing file", "gone"),
        (b"", "corrupt image", "it is empty"),
        (b"garbage", "corrupt image", "it is no image"),
        (picture(1, size=64)[:-200], "corrupt image", "truncated"),
        (picture(1, image_format="BMP"), "image format", "BMP, where only JPEG and PNG are stored"),
    ],
)
def test_problems(tmp_path, capsys, item, kind, reason):
    items = samples(6, images_per_identity=2)
    items[2] = Sample(item, "person 1", "item 2", 0, {"number": 2}) if isinstance(item, bytes) else item
    with pytest.raises(InputError, match=f"item 2: {kind}: .*{reason}.*--on_error=skip"):
        store(items, tmp_path / "faces")
    assert not (tmp_path / "faces").exists()
    people = ["person 0", "person 1", "person 2", "nobody"]
    description = store(items, tmp_path / "faces", "skip", people)
    assert description["problems"] == {kind: 1, "empty identity": 1}
    assert (description["images"], description["identities"]) == (5, 3)
    with (tmp_path / "faces/problems.csv").open() as file:
        head, row, _ = csv.reader(file)
    assert head == ["kind", "source", "reason"]
    assert row[:2] == [kind, "item 2"]
    assert reason in row[2]
    assert f"skipped: item 2: {kind}" in capsys.readouterr().err
    index = Faces([str(tmp_path / "faces")]).index
    assert index[["number", "identity"]].to_numpy().tolist() == [[0, 0], [1, 0], [3, 1], [4, 2], [5, 2]]
    # Without any image of person 1, the next one has its number.
    items[3] = dataclasses.replace(samples(4)[3], image=b"garbage")
    store(items, tmp_path / "fewer", "skip", people)
    assert Faces([str(tmp_path / "fewer")]).index["identity"].tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="a list, identity nobody: empty identity"):
        store(samples(6, images_per_identity=2), tmp_path / "other", identities=people)


def test_items_and_settings_that_no_set_takes(tmp_path):
    for items, message in (
        *(([Sample(b"", "a", "item", group)], f"item: group {group}: use -1") for group in (-2, 1001, 10**30)),
        ([Sample(b"", "jos\udce9", "item")], r"item: file name: jos\\xe9 is not UTF-8; rename it"),
        ([Sample(b"", "a", "item", 0, {"by": "jos\udce9"})], r"item: file name: jos\\xe9 is not UTF-8; rename it"),
        ([Sample(b"", "a", "item", 0, {"offset": 1})], "must not be named 'offset'"),
        ([*samples(1), Sample(b"", "a", "item", 0, {"other": 1})], "has the columns"),
        ([], "no image to store"),
    ):
        with pytest.raises(InputError, match=message):
            store([dataclasses.replace(item, image=picture(1)) for item in items], tmp_path / "faces")
        shutil.rmtree(tmp_path / "faces.partial")
    for settings, message in (
        ({"output": "faces", "image_size": 0}, "--image_size=0: must be at least 1"),
        ({"output": "faces", "shard_mb": 0}, "--shard_mb=0: must be at least 1"),
        ({}, "--output is missing"),
        ({"output": "o\udce9"}, r"--output=o\\xe9: the name is not UTF-8; choose another"),
    ):
        with pytest.raises(InputError, match=message):
            write_set(list_source(samples(1)), StoreSettings(**settings))


def test_smaller_images(tmp_path):
    sizes = [(40, "JPEG"), (16, "JPEG"), (40, "BMP"), (12, "PNG")]
    items = [Sample(picture(n, size, form), "a", str(n)) for n, (size, form) in enumerate(sizes)]
    description = store(items, tmp_path / "faces", image_size=16)
    faces = Faces([str(tmp_path / "faces")])
    assert [faces.image(n).shape for n in range(4)] == [(16, 16, 3)] * 3 + [(12, 12, 3)]
    assert description["image_size"] == {"smallest": [12, 12], "largest": [16, 16]}
    assert faces.read(np.array([1, 3])) == [items[1].image, items[3].image]
    # The mean colour stays, whatever the way of making it smaller.
    np.testing.assert_allclose(faces.image(0).mean((0, 1)), decode_image(items[0].image).mean((0, 1)), atol=2)


def test_a_full_disk(tmp_path):
    items = [Sample(picture(n, 64), "a", str(n)) for n in range(9)]
    with files_limited_to(1500), pytest.raises(OSError, match="shard-00000") as caught:
        store(items, tmp_path / "faces")
    # Which a command has advice for.
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert caught.value.filename == str(tmp_path / "faces.partial/shard-00000.tfrecord")
    assert not (tmp_path / "faces").exists()
    assert stored_faces(items, tmp_path / "faces").read(np.arange(9)) == [item.image for item in items]


def test_unusable_sets(tmp_path):
    folder, shard = tmp_path / "faces", "shard-00001.tfrecord"
    store(samples(9), folder)
    good, index = files(folder), pd.read_parquet(folder / "index.parquet")
    row = int(np.argmax(index["shard"] == 1))

    def changed(name, value):
        table = index.drop(columns=name) if value == "none" else index.assign(**{name: [value, *index[name][1:]]})
        return table.to_parquet()

    version_2 = good["dataset.json"].replace(b'"format_version": 1', b'"format_version": 2')
    wrong = [("shard", -3), ("shard", 2**62 + 1), ("offset", 0), ("length", 2.5), ("identity", None), ("group", -2)]
    for name, content, message in (
        (shard, None, r"shard-00001\.tfrecord: No such file"),
        (shard, good[shard][:-1], r"shard-00001\.tfrecord: truncated"),
        (shard, bytes(len(good[shard])), r"shard-00001\.tfrecord: no record of the set at byte"),
        ("dataset.json", None, "not a stored set"),
        ("dataset.json", version_2, "format version 2"),
        ("dataset.json", b"{}", "not the description"),
        ("index.parquet", None, r"index\.parquet: cannot be read"),
        ("index.parquet", b"nonsense", r"index\.parquet: cannot be read"),
        ("index.parquet", changed("group", "none"), "the column 'group' is missing"),
        *(
            ("index.parquet", changed(column, value), f"the column '{column}' has values that no set has; prepare")
            for column, value in wrong
        ),
    ):
        for file, whole in {**good, name: content}.items():
            (folder / file).unlink(missing_ok=True)
            if whole is not None:
                (folder / file).write_bytes(whole)
        with pytest.raises(InputError, match=message):
            Faces([str(folder)]).read(np.array([row]))
    with pytest.raises(InputError, match="no stored set is given"):
        Faces([])


def test_memory_of_an_opened_set(tmp_path):
    """20,000 images, without their bytes: the file of the shard is a hole."""
    count = 20_000
    described = {"format_version": 1, "images": count, "identities": 200, "shards": {"shard-00000.tfrecord": {}}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    identity = np.arange(count) // 100
    index = pd.DataFrame({"shard": 0, "offset": 12 + np.arange(count) * 116, "length": 100, "identity": identity})
    index = index.assign(group=identity % 2, identity_key=identity.astype(str), quality=np.linspace(0, 1, count))
    index.to_parquet(tmp_path / "index.parquet", index=False)
    (tmp_path / "shard-00000.tfrecord").touch()
    os.truncate(tmp_path / "shard-00000.tfrecord", count * 116)
    numbers = index.select_dtypes("number").memory_usage(index=False).sum()
    with assert_memory(held=1.3 * numbers, peak=2.5 * numbers):
        Faces([str(tmp_path)])


def part(images, shard, **columns):
    rng = np.random.default_rng(shard)
    place = {"shard": shard, "offset": 100 * np.arange(images), "length": rng.integers(1, 99, images)}
    owner = 3 * shard + np.sort(rng.integers(0, 3, images))
    owner_and_group = {"identity": owner, "group": rng.integers(-1, 2, images), "identity_key": owner.astype(str)}
    return pd.DataFrame({**place, **owner_and_group, **columns})


def write_parts(folder, tables):
    files = [folder / f"{number}.parquet" for number in range(len(tables))]
    for file, table in zip(files, tables):
        table.to_parquet(file, index=False)
    return files


def test_parts_are_put_together_as_pandas_would_and_can_be_written_to(tmp_path):
    none = np.full(30, None, object)
    tables = [
        part(20, 0, yaw=np.arange(20), by="a", late=None),
        part(30, 1, yaw=np.linspace(0, 1, 30), by=none, late=none),
        part(10, 2, yaw=np.nan, by="b", late="x"),
    ]
    groups, identities = assemble_index(write_parts(tmp_path, tables), tmp_path / "index.parquet")
    whole = pd.concat(tables, ignore_index=True)
    # Whether a missing text is None or NaN differs between versions of pandas.
    first, second = (t.astype(object).where(t.notna(), None) for t in (read_table(tmp_path / "index.parquet"), whole))
    pd.testing.assert_frame_equal(first, second, check_column_type=False)
    assert list(groups.items()) == sorted(whole["group"].value_counts().items())
    assert identities == whole["identity"].max() + 1
    table = read_table(tmp_path / "index.parquet")
    assert table["yaw"].dtype == np.float64
    pd.testing.assert_frame_equal(table, pd.read_parquet(tmp_path / "index.parquet"))
    # It is no memory of Arrow's.
    table.loc[3, ["group", "by"]] = [5, "c"]
    assert (table["group"][3], table["by"][3]) == (5, "c")


def test_unusable_tables_are_refused(tmp_path):
    files, index = write_parts(tmp_path, [part(3, 0, light=1), part(3, 1, light="day")]), tmp_path / "index.parquet"
    with pytest.raises(InputError, match=r"the column 'light' is of the types int64, .*string"):
        assemble_index(files, index)
    # Names and texts that are no UTF-8.
    for text in (b"photo", b"person"):
        pd.DataFrame({"photo": ["person"]}).to_parquet(index)
        index.write_bytes(index.read_bytes().replace(text, text[:2] + b"\xe9" + text[3:]))
        with pytest.raises(InputError, match=r"index.parquet: cannot be read .*; prepare the set again"):
            read_table(index)
