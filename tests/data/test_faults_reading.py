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


def test_an_error_that_passes_is_waited_for_and_one_that_stays_named_after_a_minute(folder, waits, monkeypatch, capsys):
    faces, shard = Faces([str(folder)]), folder / "shard-00000.tfrecord"
    expected = faces.read(ROWS)
    with monkeypatch.context() as patch:
        failing(patch, errno.EIO, lambda call, _: call in (2, 3))
        assert faces.read(ROWS) == expected
    assert waits == [1.0, 2.0]
    lines = [f"{shard}: Input/output error; trying again in {wait} s" for wait in (1, 2)]
    assert capsys.readouterr().err.splitlines() == lines
    failing(monkeypatch, errno.EIO, lambda *_: True)
    with pytest.raises(OSError, match="Input/output error") as caught:
        faces.read(ROWS)
    assert (caught.value.errno, caught.value.filename) == (errno.EIO, str(shard))
    assert waits[2:] == list(RETRY_SECONDS)
    assert 60 <= sum(RETRY_SECONDS) <= 65


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


def test_a_shard_that_vanishes_or_is_cut_short(folder, waits):
    used, new, shard = Faces([str(folder)]), Faces([str(folder)]), folder / "shard-00000.tfrecord"
    expected = used.read(ROWS)
    shard.rename(folder / "away")
    # What is open is read on.
    assert used.read(ROWS) == expected
    with pytest.raises(FileNotFoundError) as caught:
        new.read(ROWS)
    assert caught.value.filename == str(shard)
    (folder / "away").rename(shard)
    assert new.read(ROWS) == expected
    os.truncate(shard, new.index["offset"][3] + 5)
    assert new.read(ROWS[:3]) == expected[:3]
    with pytest.raises(InputError, match=r"shard-00000.tfrecord: no record of the set at byte .*prepare verify"):
        new.read(ROWS)
    assert waits == []
