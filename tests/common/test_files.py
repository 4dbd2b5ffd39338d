import contextlib
import errno
import os
import subprocess
import sys
from unittest.mock import Mock

import numpy as np
import pytest
import tensorflow as tf
from tiny_sets import pipe

from ddl_tf.common import files
from ddl_tf.common.errors import InputError


def test_a_file_comes_whole_or_not_at_all(tmp_path, monkeypatch):
    synced, path = [], tmp_path / "new" / "run" / "results.json"
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
        with files.write_aside(path) as aside:
            assert (aside.parent, aside.suffix) == (path.parent, path.suffix)
            aside.write_text("{}")
            assert not path.exists()
    assert path.read_text() == "{}"
    # The names of the new folders are on the disk too.
    assert synced[0].endswith(".json")
    assert set(synced[1:]) == {str(tmp_path / "new" / "run"), str(tmp_path / "new"), str(tmp_path)}
    for error in (ValueError, KeyboardInterrupt):
        with contextlib.suppress(error), files.write_aside(path) as aside:
            aside.write_text("half")
            raise error
        assert path.read_text() == "{}"
        assert list(path.parent.iterdir()) == [path]
    for name in (".log.4711.csv", ".log.4711", ".hidden"):
        (path.parent / name).touch()
    (path.parent / ".link.4711.csv").symlink_to(path)
    files.remove_leftovers(path.parent)
    assert sorted(os.listdir(path.parent)) == [".hidden", ".link.4711.csv", "results.json"]


def test_errors_of_the_system_name_the_file(tmp_path):
    with pytest.raises(OSError) as caught, files.write_aside(tmp_path / "results.json"):
        # As `write` raises it: without a name.
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "results.json"))
    with pytest.raises(OSError) as caught, files.as_os_errors(tmp_path):
        raise tf.errors.ResourceExhaustedError(None, None, "part-00000.data; No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))
    with pytest.raises(IsADirectoryError) as caught, files.write_aside(tmp_path) as aside:
        aside.write_text("{}")
    assert caught.value.filename == str(tmp_path)


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "run"
    program = f"from ddl_tf.common import files\nwith files.lock_folder(files.Path({str(folder)!r})): print('in')"
    command = [sys.executable, "-c", program]
    with files.lock_folder(folder):
        with pytest.raises(InputError, match="another process is at work in it"), files.lock_folder(folder):
            pass
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.stderr.splitlines()[-1].startswith(f"ddl_tf.common.errors.InputError: {folder}: another process")
        waiting = program.replace(")):", "), wait=True):")
        waits = subprocess.Popen([sys.executable, "-c", waiting], stdout=subprocess.PIPE, text=True)
        with pytest.raises(subprocess.TimeoutExpired):
            waits.wait(1)
    assert waits.communicate()[0] == "in\n"
    assert subprocess.run(command, capture_output=True, text=True).stdout == "in\n"


def test_a_lock_that_is_no_file_is_refused_and_nothing_is_emptied(tmp_path):
    thesis, lock = tmp_path / "thesis.txt", tmp_path / "run/lock"
    thesis.write_text("years of work")
    lock.parent.mkdir()
    for number, make in enumerate(
        (lambda: lock.symlink_to(thesis), lambda: lock.symlink_to(tmp_path / "nothing"), lock.mkdir, lambda: pipe(lock))
    ):
        make()
        with pytest.raises(InputError, match=r"lock: a link, or no regular file, .*; move it away"):
            files.lock_folder(lock.parent).__enter__()
        lock.rename(tmp_path / str(number))
    assert thesis.read_text() == "years of work"
    assert not (tmp_path / "nothing").exists()
    (tmp_path / "lock").write_text("what is in a lock stays")
    with files.lock_folder(tmp_path):
        assert (tmp_path / "lock").read_text() == "what is in a lock stays"


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "file")
    for path in (tmp_path / "file", str(tmp_path / "link")):
        files.require_regular_file(path)
    for path in (pipe(tmp_path / "pipe"), "/dev/zero"):
        with pytest.raises(OSError, match="a pipe, device or socket; give a regular file") as caught:
            files.require_regular_file(path)
        assert caught.value.filename == str(path)
    for path, error in ((tmp_path / "nothing", FileNotFoundError), (tmp_path, IsADirectoryError)):
        with pytest.raises(error):
            files.require_regular_file(path)


def test_a_walk_sees_visible_files_and_each_folder_once_by_its_own_path(tmp_path):
    root = tmp_path / "photos"
    names = ("z/1", "z/deep/2", "z/10", "z.jpg", "bob/3", "bob/.hidden", ".hidden/1", "../elsewhere/4")
    for path in (root / name for name in (*names, "../elsewhere/deep/5")):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    links = {"z/self": "z", "z/self2": "z", "z/up": ".", "z/above": "..", "z/deep/up": "z", "a_link": "z"}
    for name, target in {**links, "more": "../elsewhere", "../elsewhere/back": "."}.items():
        (root / name).symlink_to(root / target)
    (root / "nothing").symlink_to(tmp_path / "nowhere")

    def walked(folder):
        return [file.relative_to(folder).as_posix() for file in files.walk_files(folder)]

    assert walked(root) == ["bob/3", "more/4", "more/deep/5", "nothing", "z/1", "z/10", "z/deep/2", "z.jpg"]
    # From a folder further down a link upwards does not bring in the files of others.
    assert walked(root / "z") == ["1", "10", "deep/2"]
    with pytest.raises(FileNotFoundError):
        files.walk_files(tmp_path / "nowhere")


def test_a_file_system_that_cannot_sync_folders_is_no_error_and_a_broken_disk_is_one(tmp_path, monkeypatch):
    for number in (errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EIO):
        refuse = Mock(side_effect=OSError(number, os.strerror(number)))
        monkeypatch.setattr("ddl_tf.common.files.os.fsync", refuse)
        with pytest.raises(OSError, match="Input/output") if number == errno.EIO else contextlib.nullcontext():
            files.sync_folder(tmp_path)


def test_arrays_come_back_and_what_is_none_is_refused_in_a_line(tmp_path):
    files.write_arrays(tmp_path / "a.npz", {"a": np.arange(3), "b": np.eye(2)})
    assert files.read_arrays(tmp_path / "a.npz", "make it anew")["a"].tolist() == [0, 1, 2]
    file = tmp_path / "a.npy"
    np.save(file, np.eye(2))
    np.testing.assert_array_equal(files.map_array(file, "make it anew"), np.eye(2))
    unclosed = (b"\x93NUMPY\x01\x00\x10\x00{'descr': 'unclosed", b"\x93NUMPY\x01\x00\x08\x00((((((((")
    for read in (files.read_arrays, files.map_array):
        for content in (b"", b"PK\x03\x04", *unclosed):
            file.write_bytes(content)
            with pytest.raises(InputError, match=r"a\.npy: no arrays that NumPy can read .*; make it anew") as error:
                read(file, "make it anew")
            assert "\n" not in str(error.value)
    with pytest.raises(OSError, match="a pipe, device or socket"):
        files.map_array(pipe(file), "make it anew")
