import errno
import os
import subprocess
import sys

import pytest
import tensorflow as tf

from ddl_tf.errors import InputError
from ddl_tf.files import as_os_errors, lock_folder, sync_folder, write_aside


def test_a_file_comes_whole_with_its_folder(tmp_path):
    path = tmp_path / "new" / "results.json"
    with write_aside(path) as aside:
        assert (aside.parent, aside.suffix) == (path.parent, path.suffix)
        aside.write_text("{}")
        assert not path.exists()
    assert path.read_text() == "{}"
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt])
def test_a_failure_leaves_what_was_there(tmp_path, error):
    path = tmp_path / "results.json"
    path.write_text("old")

    def fail():
        with write_aside(path) as aside:
            aside.write_text("half")
            raise error

    with pytest.raises(error):
        fail()
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_a_full_disk_is_named_by_the_file(tmp_path):
    with pytest.raises(OSError) as caught, write_aside(tmp_path / "results.json"):
        # As `write` raises it: without a name.
        raise OSError(errno.ENOSPC, "No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path / "results.json"))


def test_a_folder_in_the_way_is_named(tmp_path):
    with pytest.raises(IsADirectoryError) as caught, write_aside(tmp_path) as aside:
        aside.write_text("{}")
    assert caught.value.filename == str(tmp_path)


def test_tensorflows_full_disk_is_an_os_error(tmp_path):
    with pytest.raises(OSError) as caught, as_os_errors(tmp_path):
        raise tf.errors.ResourceExhaustedError(None, None, "part-00000.data; No space left on device")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(tmp_path))


def test_one_process_at_a_time(tmp_path):
    folder = tmp_path / "run"
    other = "import sys, pathlib, ddl_tf.files\nwith ddl_tf.files.lock_folder(pathlib.Path(sys.argv[1])): print('in')"
    command = [sys.executable, "-c", other, str(folder)]
    with lock_folder(folder):
        with pytest.raises(InputError, match="another process is at work in it"), lock_folder(folder):
            pass
        refused = subprocess.run(command, capture_output=True, text=True)
        assert refused.stderr.splitlines()[-1].startswith(f"ddl_tf.errors.InputError: {folder}: another process")
    assert subprocess.run(command, capture_output=True, text=True).stdout == "in\n"


def test_the_names_of_new_files_and_folders_are_on_the_disk_too(tmp_path, monkeypatch):
    synced = []
    monkeypatch.setattr("ddl_tf.files.os.fsync", lambda number: synced.append(os.readlink(f"/proc/self/fd/{number}")))
    with write_aside(tmp_path / "new" / "run" / "results.json") as aside:
        aside.write_text("{}")
    assert synced[0].endswith(".json")
    assert set(synced[1:]) == {str(tmp_path / "new" / "run"), str(tmp_path / "new"), str(tmp_path)}


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EACCES, errno.EIO])
def test_a_file_system_that_cannot_sync_folders_is_no_error_and_a_broken_disk_is_one(tmp_path, monkeypatch, number):
    def refuse(file):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("ddl_tf.files.os.fsync", refuse)
    if number == errno.EIO:
        with pytest.raises(OSError, match="Input/output error"):
            sync_folder(tmp_path)
    else:
        sync_folder(tmp_path)
