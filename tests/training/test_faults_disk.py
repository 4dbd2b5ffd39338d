"""Disks that are full or cannot be written, and run folders that somebody removes."""

import errno
import os
import shutil
import signal
from types import SimpleNamespace

import numpy as np
import pytest
import tensorflow as tf
from limited_files import files_limited_to
from matplotlib.figure import Figure

from ddl_tf.common import command
from ddl_tf.common.errors import TrainingStopped
from ddl_tf.common.files import as_os_errors, remove_leftovers, write_arrays
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.models import build_recognizer, save_checkpoint
from ddl_tf.training.checkpoints import SaveForResume
from ddl_tf.training.monitoring import RunLog
from ddl_tf.training.periodic import PeriodicArrays
from ddl_tf.training.plots import save_figure
from ddl_tf.training.run_folder import RunFolder

ARRAYS = {"similarity": np.zeros(1000)}


def log(path):
    written = RunLog(path, 0)
    written.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1)))
    written.on_epoch_end(0, {f"set_{n}/auc": 0.5 for n in range(200)})


def plot(path):
    figure = Figure()
    figure.add_subplot().plot(np.arange(10))
    save_figure(figure, path)


def keras_file(path):
    save_checkpoint(build_recognizer("plain_small", 5, embedding_size=4, input_shape=(16, 16, 3)), path)


WRITERS = {
    "log.csv": log,
    "curves.png": plot,
    "last.keras": keras_file,
    "similarities.npz": lambda path: write_arrays(path, ARRAYS),
    "scores.npz": lambda path: write_outcome(path.parent, Outcome({}, ARRAYS), {}),
    "result.json": lambda path: write_outcome(path.parent, Outcome({str(n): 1 for n in range(500)}, {}), {}),
    "000003.npz": lambda path: PeriodicArrays(path.parent, 10, 0, 10).publish(3, ARRAYS),
}


@pytest.mark.parametrize("name", WRITERS)
def test_a_full_disk_is_one_line_and_leaves_what_was_there(tmp_path, name, capfd):
    WRITERS[name](tmp_path / name)
    before = (tmp_path / name).read_bytes()
    with files_limited_to(1000), pytest.raises(OSError) as caught:
        WRITERS[name](tmp_path / name)
    assert (caught.value.errno, str(caught.value.filename)) == (errno.EFBIG, str(tmp_path / name))
    assert (tmp_path / name).read_bytes() == before
    assert not [file for file in tmp_path.iterdir() if file.name.startswith(".")]
    assert "Exception ignored" not in capfd.readouterr().err


@pytest.mark.parametrize(
    "number, kind",
    [
        (errno.ENOSPC, tf.errors.ResourceExhaustedError),
        (errno.EROFS, tf.errors.PermissionDeniedError),
        (errno.EIO, tf.errors.UnknownError),
    ],
)
def test_errors_of_the_system_that_tensorflow_wraps_and_no_others(tmp_path, number, kind):
    message = "{{function_node __wrapped__SaveV2}} /x/ckpt-1_temp/part-00000; " + os.strerror(number) + " [Op:SaveV2]"
    with pytest.raises(OSError) as caught, as_os_errors(tmp_path):
        raise kind(None, None, message)
    assert (caught.value.errno, caught.value.filename) == (number, str(tmp_path))
    # Each says what to do.
    assert "; " in command._explain(caught.value)
    with pytest.raises(tf.errors.ResourceExhaustedError), as_os_errors(tmp_path):
        raise tf.errors.ResourceExhaustedError(None, None, "OOM when allocating tensor with shape[8192,112]")


def test_no_room_for_events(small_run, undisturbed_outcome, monkeypatch):
    on_epoch_end = tf.keras.callbacks.TensorBoard.on_epoch_end

    def no_room(self, epoch, logs=None):
        with files_limited_to(100):
            on_epoch_end(self, epoch, logs)
            self._train_writer.flush()

    with monkeypatch.context() as patch:
        patch.setattr(tf.keras.callbacks.TensorBoard, "on_epoch_end", no_room)
        with pytest.raises(OSError, match="File too large") as caught:
            small_run.run()
    assert caught.value.filename == str(small_run.folder)
    assert small_run.checkpoints() == [1, 2]
    small_run.run()
    assert small_run.outcome() == undisturbed_outcome


def test_a_run_folder_that_is_removed_is_written_anew(small_run, undisturbed_outcome, monkeypatch, capfd):
    check = SaveForResume._check

    def disturbed(self, logs):
        check(self, logs)
        if self.step == 2:
            shutil.rmtree(small_run.folder)
        if self.step == 5:
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patch:
        patch.setattr(SaveForResume, "_check", disturbed)
        with pytest.raises(TrainingStopped):
            small_run.run()
    line = f"{small_run.folder} was removed or emptied while the run goes on; it is written anew\n"
    assert capfd.readouterr().err.count(line) == 1
    assert small_run.checkpoints() == [4, 5]
    small_run.run()
    assert small_run.outcome() == undisturbed_outcome
    assert {"settings.json", "flags.cfg", "versions.json"} <= set(small_run.files())


def test_a_run_folder_below_a_file(small_run, tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(NotADirectoryError) as caught:
        small_run.run(run_dir=str(tmp_path / "file/run"))
    assert command._explain(caught.value) == f"{tmp_path}/file/run: Not a directory; check the path"


def test_leftovers_of_killed_processes_go_and_nothing_else(small_run, tmp_path):
    folder = RunFolder(tmp_path / "run")
    keep = [".lock", "log.csv", ".hidden.csv", "checkpoints/best.keras", "notes.2024.txt", "mined/groups/000001.npz"]
    gone = [".log.123.csv", ".flags.9.cfg", "checkpoints/.last.4711.keras", "mined/groups/.000002.55.npz"]
    with folder.open(small_run.settings):
        pass
    for name in keep + gone:
        (folder.path / name).parent.mkdir(parents=True, exist_ok=True)
        (folder.path / name).write_text("")
    with folder.open(small_run.settings):
        pass
    assert all((folder.path / name).exists() for name in keep)
    assert not any((folder.path / name).exists() for name in gone)
    remove_leftovers(tmp_path / "missing")
