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
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from limited_files import files_limited_to
from tiny_sets import assert_memory, list_source, picture, samples, small_shards, store, stored_faces

from ddl_tf.common.errors import InputError
from ddl_tf.data import shards, writer
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
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
    assert not (tmp_path / "faces.partial").exists()


def test_reading_at_random_and_by_threads(tmp_path):
    items = samples(12)
    faces = stored_faces(items, tmp_path / "faces")
    rows = np.random.default_rng(0).integers(0, 12, [50, 8])
    with ThreadPoolExecutor(4) as pool:
        read = list(pool.map(faces.read, rows))
    assert read == [[items[row].image for row in batch] for batch in rows.tolist()]
    np.testing.assert_array_equal(faces.image(5), decode_image(items[5].image))
    assert len(faces) == 12
    assert faces.num_identities == 4


def test_two_sets_opened_as_one(tmp_path):
    first, second = samples(7), samples(5, images_per_identity=2)
    second = [Sample(s.image, s.identity, s.source, s.group, {"yaw": 0.5}) for s in second]
    store(first, tmp_path / "a")
    store(second, tmp_path / "b")
    faces = Faces([str(tmp_path / "a"), str(tmp_path / "b")])
    assert faces.num_identities == 6
    assert faces.index["identity"].tolist() == [0, 0, 0, 1, 1, 1, 2, 3, 3, 4, 4, 5]
    assert faces.read(np.arange(12)) == [s.image for s in first + second]
    assert faces.index["yaw"].isna().tolist() == [True] * 7 + [False] * 5
    assert [faces.shards[shard].split("/")[-2] for shard in faces.index["shard"]] == ["a"] * 7 + ["b"] * 5


class Stopped(Exception):
    pass


@contextlib.contextmanager
def stopped_after(count):
    """Interrupts an import when so many items are done with."""

    def advance(progress):
        progress._done += 1
        if progress._done > count:
            raise Stopped

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(shards.Progress, "advance", advance)
        with pytest.raises(Stopped):
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
    expected = files(tmp_path / "whole/faces")
    for stops in [[4], [9], range(11)]:
        for stop in stops:
            with stopped_after(stop):
                store(items, tmp_path / "faces", on_error, identities)
            assert not (tmp_path / "faces").exists()
        done = shards.read_parts(tmp_path / "faces.partial")[-1].done
        store(items, tmp_path / "faces", on_error, identities)
        assert f"going on after {done} of 11" in capsys.readouterr().err
        assert files(tmp_path / "faces") == expected
        shutil.rmtree(tmp_path / "faces")


@pytest.mark.parametrize("function", ["_assemble", "publish"])
def test_interrupted_after_the_last_image(tmp_path, monkeypatch, function):
    items = samples(6)
    store(items, tmp_path / "whole/faces")

    def stop(*_):
        raise Stopped

    with monkeypatch.context() as patch:
        patch.setattr(f"ddl_tf.data.writer.{function}", stop)
        with pytest.raises(Stopped):
            store(items, tmp_path / "faces")
    assert not (tmp_path / "faces").exists()
    store(items, tmp_path / "faces")
    assert files(tmp_path / "faces") == files(tmp_path / "whole/faces")


def test_killed(tmp_path):
    """A real SIGKILL, in another process."""
    program = f"""
        import os, signal, sys
        sys.path[:] = {sys.path!r}
        from ddl_tf.common import parallel
        from ddl_tf.data import writer
        from ddl_tf.importers.source import Source
        from tiny_sets import samples, small_shards

        def read(start):
            yield from samples(20)
            os.kill(os.getpid(), signal.SIGKILL)

        # Few items are read ahead of those that are stored.
        parallel._CHUNK, parallel.usable_cores, writer.ShardedImport = 1, lambda: 1, small_shards
        writer.write_set(Source("list", "a list", 22, read), writer.StoreSettings(output="faces"))
    """
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(program)], cwd=tmp_path, capture_output=True)
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not (tmp_path / "faces").exists()
    assert len(shards.read_parts(tmp_path / "faces.partial")) > 2
    store(samples(22), tmp_path / "whole/faces")
    store(samples(22), tmp_path / "faces")
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
        (picture(1, image_format="PNG")[:-30], "corrupt image", ""),
        (picture(1, image_format="BMP"), "image format", "BMP, where only JPEG and PNG are stored"),
    ],
)
def test_problems(tmp_path, capsys, item, kind, reason):
    items = samples(6, images_per_identity=2)
    items[2] = Sample(item, "person 1", "item 2", 0, {"number": 2}) if isinstance(item, bytes) else item
    with pytest.raises(InputError, match=f"item 2: {kind}: .*{reason}.*--on_error=skip"):
        store(items, tmp_path / "faces")
    assert not (tmp_path / "faces").exists()

    description = store(items, tmp_path / "faces", "skip")
    assert (description["problems"], description["images"]) == ({kind: 1}, 5)
    with (tmp_path / "faces/problems.csv").open() as file:
        head, row = csv.reader(file)
    assert head == ["kind", "source", "reason"]
    assert row[:2] == [kind, "item 2"]
    assert reason in row[2]
    assert f"skipped: item 2: {kind}" in capsys.readouterr().err
    assert Faces([str(tmp_path / "faces")]).index["number"].tolist() == [0, 1, 3, 4, 5]


def test_empty_identities(tmp_path):
    items = samples(6, images_per_identity=2)
    items[2:4] = [Sample(b"garbage", "person 1", f"item {n}", 0, {"number": n}) for n in (2, 3)]
    people = ["person 0", "person 1", "person 2", "nobody"]
    description = store(items, tmp_path / "faces", "skip", people)
    assert description["problems"] == {"corrupt image": 2, "empty identity": 2}
    assert description["identities"] == 2
    index = Faces([str(tmp_path / "faces")]).index
    assert index["identity"].tolist() == [0, 0, 1, 1]
    with pytest.raises(InputError, match="a list, identity nobody: empty identity"):
        store(samples(6, images_per_identity=2), tmp_path / "other", identities=people)


@pytest.mark.parametrize(
    ("items", "message"),
    [
        *(([Sample(b"", "a", "item", group)], f"item: group {group}: use -1") for group in (-2, 1001, 10**30)),
        ([Sample(b"", "jos\udce9", "item")], r"item: file name: jos\\xe9 is not UTF-8; rename it"),
        ([Sample(b"", "a", "item", 0, {"by": "jos\udce9"})], r"item: file name: jos\\xe9 is not UTF-8; rename it"),
        ([Sample(b"", "a", "item", 0, {"offset": 1})], "must not be named 'offset'"),
        ([*samples(1), Sample(b"", "a", "item", 0, {"other": 1})], "has the columns"),
        ([], "no image to store"),
    ],
)
def test_items_that_no_set_takes(tmp_path, items, message):
    items = [dataclasses.replace(item, image=picture(1)) for item in items]
    with pytest.raises(InputError, match=message):
        store(items, tmp_path / "faces")


def test_smaller_images(tmp_path):
    sizes = [(40, "JPEG"), (16, "JPEG"), (40, "BMP"), (12, "PNG")]
    items = [Sample(picture(n, size, form), "a", str(n)) for n, (size, form) in enumerate(sizes)]
    description = store(items, tmp_path / "faces", image_size=16)
    faces = Faces([str(tmp_path / "faces")])
    assert [faces.image(n).shape for n in range(4)] == [(16, 16, 3)] * 3 + [(12, 12, 3)]
    assert description["image_size"] == {"smallest": [12, 12], "largest": [16, 16]}
    stored = faces.read(np.arange(4))
    assert stored[1] == items[1].image
    assert stored[3] == items[3].image
    # The mean colour stays, whatever the way of making it smaller.
    before, after = decode_image(items[0].image), faces.image(0)
    np.testing.assert_allclose(after.mean((0, 1)), before.mean((0, 1)), atol=2)


@pytest.mark.parametrize("setting", [{"image_size": 0}, {"shard_mb": 0}])
def test_settings_out_of_range(tmp_path, setting):
    with pytest.raises(InputError, match=f"--{next(iter(setting))}=0: must be at least 1"):
        store(samples(1), tmp_path / "faces", **setting)
    with pytest.raises(InputError, match="--output is missing"):
        write_set(list_source(samples(1)), StoreSettings())
    with pytest.raises(InputError, match=r"--output=o\\xe9: the name is not UTF-8; choose another"):
        store(samples(1), "o\udce9")


def test_a_full_disk(tmp_path):
    items = [Sample(picture(n, 64), "a", str(n)) for n in range(9)]
    with files_limited_to(1500), pytest.raises(OSError, match="shard-00000") as caught:
        store(items, tmp_path / "faces")
    # Which a command has advice for.
    assert caught.value.errno in (errno.EFBIG, errno.ENOSPC)
    assert caught.value.filename == str(tmp_path / "faces.partial/shard-00000.tfrecord")
    assert not (tmp_path / "faces").exists()
    store(items, tmp_path / "faces")
    assert Faces([str(tmp_path / "faces")]).read(np.arange(9)) == [item.image for item in items]


def test_unusable_sets(tmp_path):
    folder, shard = tmp_path / "faces", "shard-00001.tfrecord"
    store(samples(9), folder)
    good = files(folder)
    row = int(np.argmax(Faces([str(folder)]).index["shard"] == 1))
    pd.read_parquet(folder / "index.parquet").drop(columns="group").to_parquet(tmp_path / "no_group")
    version_2 = good["dataset.json"].replace(b'"format_version": 1', b'"format_version": 2')
    for name, content, message in (
        (shard, None, r"shard-00001\.tfrecord: No such file"),
        (shard, good[shard][:-1], r"shard-00001\.tfrecord: truncated"),
        (shard, bytes(len(good[shard])), r"shard-00001\.tfrecord: no record of the set at byte"),
        ("dataset.json", None, "not a stored set"),
        ("dataset.json", version_2, "format version 2"),
        ("dataset.json", b"{}", "not the description"),
        ("index.parquet", None, r"index\.parquet: cannot be read"),
        ("index.parquet", b"nonsense", r"index\.parquet: cannot be read"),
        ("index.parquet", (tmp_path / "no_group").read_bytes(), "the column 'group' is missing"),
    ):
        for file, whole in {**good, name: content}.items():
            (folder / file).unlink(missing_ok=True)
            if whole is not None:
                (folder / file).write_bytes(whole)
        with pytest.raises(InputError, match=message):
            Faces([str(folder)]).read(np.array([row]))
    with pytest.raises(InputError, match="no stored set is given"):
        Faces([])


@pytest.mark.parametrize(
    "name, value",
    [
        ("shard", -3),
        ("shard", 2**62 + 1),
        ("offset", 0),
        ("length", 0),
        ("length", 2.5),
        ("identity", None),
        ("group", -2),
    ],
)
def test_an_index_of_values_that_no_set_has(tmp_path, name, value):
    store(samples(3), tmp_path / "faces")
    file = tmp_path / "faces" / "index.parquet"
    index = pd.read_parquet(file)
    index[name] = [value, *index[name].tolist()[1:]]
    index.to_parquet(file)
    with pytest.raises(InputError, match=f"the column '{name}' has values that no set has; prepare the set again"):
        Faces([str(tmp_path / "faces")])


def test_memory_of_an_opened_set(tmp_path):
    """20,000 images, without their bytes: the file of the shard is a hole."""
    count, length = 20_000, 100
    described = {"format_version": 1, "images": count, "identities": 200, "shards": {"shard-00000.tfrecord": {}}}
    (tmp_path / "dataset.json").write_text(json.dumps(described))
    place = {"shard": 0, "offset": 12 + np.arange(count) * (16 + length), "length": length}
    identity = np.arange(count) // 100
    index = pd.DataFrame({**place, "identity": identity, "group": identity % 2, "identity_key": identity.astype(str)})
    index["quality"] = np.linspace(0, 1, count)
    index.to_parquet(tmp_path / "index.parquet", index=False)
    (tmp_path / "shard-00000.tfrecord").touch()
    os.truncate(tmp_path / "shard-00000.tfrecord", count * (16 + length))
    numbers = index.select_dtypes("number").memory_usage(index=False).sum()
    with assert_memory(held=1.3 * numbers, peak=2.5 * numbers):
        faces = Faces([str(tmp_path)])
    pd.testing.assert_frame_equal(faces.index, pd.read_parquet(tmp_path / "index.parquet"))
