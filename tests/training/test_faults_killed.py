"""`kill -9` of real training processes: at steps, while checkpoints and other files are written."""

import signal
import subprocess
import sys

from fault_runs import SmallRun
from tiny_network import TINY

from ddl_tf.training.run_folder import RunFolder, read_json

# `python -m ddl_tf.train` again and again in one folder, each killed at another moment. They are forks of a process
# that has imported TensorFlow and started nothing of it: imports are most of what a start costs.
KILLED = '''
import os, resource, signal, sys
from ddl_tf import train
from ddl_tf.common import command
from ddl_tf.common import files
from ddl_tf.models.plain import PLAIN_NETS
from ddl_tf.training import TrainSettings, checkpoints, run

PLAIN_NETS["plain_small"] = TINY
run.plot_run = lambda folder: None

def die():
    os.kill(os.getpid(), signal.SIGKILL)

replace, sync, write = os.replace, checkpoints.sync_file, checkpoints.ResumePoint._write

def within_the_data(self, path, step):
    """The kernel kills by a signal when a file grows over the limit: so many bytes of the checkpoint are there."""
    if step == 2:
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (40_000, 40_000))
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    write(self, path, step)

def before_the_log_has_its_name(source, target):
    if str(target).endswith("log.csv"):
        die()
    replace(source, target)

def when_the_checkpoint_is_written(path):
    if "ckpt-5" in str(path):
        die()
    sync(path)

def kill_1():
    checkpoints.ResumePoint._write = within_the_data

def kill_2():
    os.replace = before_the_log_has_its_name

def kill_3():
    checkpoints.sync_file = when_the_checkpoint_is_written

folder, undisturbed = sys.argv[1:]
for kill, run_dir in [(kill, folder) for kill in (kill_1, kill_2, kill_3, None)] + [(None, undisturbed)]:
    child = os.fork()
    if not child:
        if kill:
            kill()
        sys.argv[1:] = [f"--flagfile={folder}/flags.cfg", f"--run_dir={run_dir}"]
        command.run(train.main, TrainSettings)
    _, status = os.waitpid(child, 0)
    left = sorted(os.listdir(folder + "/resume"))
    hidden = [name for name in os.listdir(folder) if name.startswith(".log")]
    print("left:", os.WTERMSIG(status), *left, *hidden, flush=True)
'''.replace("TINY", str(TINY))


def test_killed_again_and_again(small_run, tmp_path):
    with RunFolder(small_run.folder).open(small_run.settings):
        settings = read_json(small_run.folder / "settings.json", dict)
    whole = SmallRun(small_run.faces, tmp_path / "undisturbed")
    command = [sys.executable, "-c", KILLED, str(small_run.folder), str(whole.folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    assert read_json(small_run.folder / "settings.json", dict) == settings
    left = [line[len("left: ") :] for line in done.stdout.splitlines() if line.startswith("left:")]
    first = "ckpt-1.data-00000-of-00001 ckpt-1.index"
    assert left[0] == f"{signal.SIGXFSZ:d} {first} ckpt-2_temp"
    # A file that has not its name yet.
    assert left[1].startswith(f"{signal.SIGKILL:d} ckpt-")
    assert ".log." in left[1]
    # Nothing was removed before the new checkpoint was on the disk.
    assert "ckpt-4.index" in left[2]
    assert "ckpt-5.index" in left[2]
    assert [line.split()[0] for line in left[3:]] == ["0", "0"], done.stderr
    assert small_run.outcome() == whole.outcome()
    assert small_run.checkpoints() == [5, 6]
    assert not [name for name in small_run.files() if ".log." in name or "_temp" in name]
