"""Shards that cannot be read for a while, or no more."""

import errno
import os

import numpy as np
import pytest
from tiny_sets import samples
from tiny_sets import store as store_set

from ddl_tf.common.errors import InputError
from ddl_tf.data import store
from ddl_tf.data.store import RETRY_SECONDS, Faces

ROWS = np.arange(6)


@pytest.fixture
def folder(tmp_path):
    store_set(samples(6), tmp_path / "faces")
    return tmp_path / "faces"


@pytest.fixture
def waits(monkeypatch):
    waited = []
    monkeypatch.setattr(store.time, "sleep", waited.append)
    return waited


def failing(monkeypatch, number, when):
    """Let `os.pread` fail in those of its calls, from 0, that `when` says, given the call and the file."""
    pread, calls = os.pread, []

    def read(file, length, place):
        calls.append(file)
        if when(len(calls) - 1, file):
            raise OSError(number, os.strerror(number))
        return pread(file, length, place)

    monkeypatch.setattr(os, "pread", read)


def test_an_error_that_passes_is_told_and_waited_for(folder, waits, monkeypatch, capsys):
    expected = Faces([str(folder)]).read(ROWS)
    failing(monkeypatch, errno.EIO, lambda call, _: call in (2, 3))
    assert Faces([str(folder)]).read(ROWS) == expected
    assert waits == [1.0, 2.0]
    shard = folder / "shard-00000.tfrecord"
    assert capsys.readouterr().err.splitlines() == [
        f"{shard}: Input/output error; trying again in {wait} s" for wait in (1, 2)
    ]


def test_a_stale_file_is_opened_anew(folder, waits, monkeypatch):
    faces = Faces([str(folder)])
    expected = faces.read(ROWS)
    stale = faces._file(0)
    failing(monkeypatch, errno.ESTALE, lambda _, file: file == stale)
    assert faces.read(ROWS) == expected
    assert waits == [1.0]
    # Another thread may be reading it.
    os.fstat(stale)
    del faces
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(stale)


def test_an_error_that_stays_is_named_after_a_minute(folder, waits, monkeypatch):
    failing(monkeypatch, errno.EIO, lambda *_: True)
    with pytest.raises(OSError, match="Input/output error") as caught:
        Faces([str(folder)]).read(ROWS)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(folder / "shard-00000.tfrecord"))
    assert waits == list(RETRY_SECONDS)
    assert 60 <= sum(waits) <= 65


def test_a_shard_that_vanishes(folder, waits):
    used, new = Faces([str(folder)]), Faces([str(folder)])
    expected = used.read(ROWS)
    (folder / "shard-00000.tfrecord").rename(folder / "away")
    # What is open is read on.
    assert used.read(ROWS) == expected
    with pytest.raises(FileNotFoundError) as caught:
        new.read(ROWS)
    assert caught.value.filename == str(folder / "shard-00000.tfrecord")
    (folder / "away").rename(folder / "shard-00000.tfrecord")
    assert new.read(ROWS) == expected
    assert waits == []


def test_a_shard_that_is_cut_short(folder, waits):
    faces = Faces([str(folder)])
    os.truncate(folder / "shard-00000.tfrecord", faces.index["offset"][3] + 5)
    faces.read(ROWS[:3])
    with pytest.raises(InputError, match=r"shard-00000.tfrecord: no record of the set at byte .*prepare verify"):
        faces.read(ROWS)
    assert waits == []
