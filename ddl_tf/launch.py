"""Start the workers of a training: `python -m ddl_tf.launch --workers=2 -- --flagfile=recipes/X.cfg --run_dir=DIR`.

What follows `--` are the flags of `python -m ddl_tf.train`. Several workers of this machine talk over loopback; on
several machines the same command runs on each, with --hosts and its own --index. When a worker dies the others are
ended, and all start again from the last checkpoint. The output of worker 0 is that of the command; lines of the others
come on stderr with their number before them.
"""

import contextlib
import ctypes
import dataclasses
import functools
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence
from types import FrameType
from typing import Optional

from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.common.stops import Stops, listening

TRAIN = (sys.executable, "-m", "ddl_tf.train")
# Exit codes after which nothing is started again.
FINAL = {command.BAD_INPUT, 128 + signal.SIGINT, 128 + signal.SIGTERM}
# When one worker ends, the others end by themselves within so many seconds, or wait for it for ever.
GRACE = 10.0
# The workers of other machines first have to notice that one is gone, else the new one would meet the old ones.
OTHER_MACHINES = 30.0
# When the launcher is killed nobody would start a worker again. Linux stops it if the new worker calls this.
_PR_SET_PDEATHSIG, _IS_LINUX = 1, sys.platform == "linux"
_STOP_WITH_LAUNCHER = (
    functools.partial(ctypes.CDLL(None).prctl, _PR_SET_PDEATHSIG, signal.SIGTERM) if _IS_LINUX else None
)


@dataclasses.dataclass
class LaunchSettings:
    """How many workers, and where; see each field's help text."""

    workers: Optional[int] = setting(None, "Workers to start, all on this machine.")
    hosts: list[str] = setting([], "host:port of the worker of each machine, the same list on all; the first is chief.")
    index: Optional[int] = setting(None, "Which of --hosts this machine is, from 0.")
    max_restarts: int = setting(3, "How often all workers are started again after one of them died.")

    def __post_init__(self) -> None:
        """Check the numbers."""
        if bool(self.workers) == bool(self.hosts):
            raise InputError(
                f"--workers={self.workers} and --hosts={','.join(self.hosts)}: give --workers for one machine, or "
                "--hosts and --index for several"
            )
        if self.workers is not None and self.workers < 1:
            raise InputError(f"--workers must be at least 1, got {self.workers}")
        if self.hosts and (self.index is None or not 0 <= self.index < len(self.hosts)):
            raise InputError(
                f"--index={self.index}: give the position of this machine in the {len(self.hosts)} --hosts"
            )
        if self.index is not None and not self.hosts:
            raise InputError(f"--index={self.index} goes with --hosts, not with --workers")
        if self.max_restarts < 0:
            raise InputError(f"--max_restarts must not be negative, got {self.max_restarts}")
        if os.environ.get("TF_CONFIG"):
            raise InputError("TF_CONFIG is set: with it run `python -m ddl_tf.train` itself, or unset it")


def tf_config(addresses: Sequence[str], index: int) -> str:
    """Write the TF_CONFIG (JSON) of worker `index`, where `addresses` are host:port of each worker."""
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


class Group:
    """The worker processes of this machine, from their start to their end; `configs`: number -> TF_CONFIG."""

    def __init__(self, program: Sequence[str], configs: dict[int, str]) -> None:
        self._ends: queue.SimpleQueue[int] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        first = min(configs)
        for index, config in configs.items():
            out, err = (None, None) if index == first else (subprocess.PIPE, subprocess.STDOUT)
            # A session of its own: Ctrl-C of a terminal would reach it twice, and the second time ends it at once.
            self._processes[index] = subprocess.Popen(
                program,
                env={**os.environ, "TF_CONFIG": config},
                text=True,
                stdout=out,
                stderr=err,
                start_new_session=True,
                preexec_fn=_STOP_WITH_LAUNCHER,
            )
            threading.Thread(target=self._follow, args=(index,), daemon=True).start()

    def _follow(self, index: int) -> None:
        process = self._processes[index]
        for line in process.stdout or ():
            print(f"worker {index}: {line}", end="", file=sys.stderr, flush=True)
        process.wait()
        self._ends.put(index)

    def send(self, number: int) -> None:
        """Pass a signal on to all that still run."""
        for process in self._processes.values():
            process.send_signal(number)

    def wait(self) -> dict[int, int]:
        """Wait until all have ended; when one fails, the others have a while to end by themselves.

        Returns number -> exit code (128 + the signal) of each worker that ended by itself, the first to fail first.
        """
        codes: dict[int, int] = {}
        while len(codes) < len(self._processes):
            try:
                index = self._ends.get(timeout=GRACE if any(codes.values()) else None)
            except queue.Empty:
                break
            code = self._processes[index].returncode
            codes[index] = 128 - code if code < 0 else code
        self.kill()
        return codes

    def kill(self) -> None:
        """End those that still run, at once."""
        for process in self._processes.values():
            process.kill()
            process.wait()


def launch(settings: LaunchSettings, program: Sequence[str]) -> int:
    """Start the workers of this machine, start them again when one dies, and pass signals on to them.

    It must run in the main thread, since it listens for SIGINT and SIGTERM; a second one, some seconds later, kills the
    workers. `program` is the command of a worker, which reads its TF_CONFIG from its environment. Exit code 2 refuses
    for good, 128 + SIGINT or SIGTERM says that it was stopped: after neither it is started again. Returns the exit
    code: 0, or that of the first worker that failed.
    """
    stop, stops = threading.Event(), Stops()
    stopped_by: list[int] = []
    running: list[Group] = []

    def pass_on(number: int, frame: Optional[FrameType]) -> None:
        second = stops.is_second()
        if stopped_by and not second:
            return
        stopped_by.append(number)
        stop.set()
        for group in running:
            group.send(number if len(stopped_by) == 1 else signal.SIGKILL)

    with listening(pass_on), contextlib.ExitStack() as at_end:
        for attempt in range(settings.max_restarts + 1):
            group = Group(program, _configs(settings))
            at_end.callback(group.kill)
            running[:] = [group]
            # What came while they were started.
            if stopped_by:
                group.send(stopped_by[-1])
            codes = group.wait()
            failed = {index: code for index, code in codes.items() if code}
            if not failed:
                return 0
            final = [code for code in failed.values() if code in FINAL]
            if len(stopped_by) > 1:
                return 128 + stopped_by[-1]
            if final or stopped_by or attempt == settings.max_restarts:
                return (final or list(failed.values()))[0]
            index, code = next(iter(failed.items()))
            line = f"python -m ddl_tf.launch: worker {index} ended with exit code {code}; all start again"
            print(f"{line} ({attempt + 1} of {settings.max_restarts})", file=sys.stderr, flush=True)
            if settings.hosts and stop.wait(OTHER_MACHINES):
                return 128 + stopped_by[-1]
    raise AssertionError("the last attempt returns")


def _configs(settings: LaunchSettings) -> dict[int, str]:
    if settings.index is not None and settings.hosts:
        return {settings.index: tf_config(settings.hosts, settings.index)}
    # Ports of the loopback that nobody listens at.
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(settings.workers or 1)]
    addresses = [f"127.0.0.1:{listener.getsockname()[1]}" for listener in sockets]
    for listener in sockets:
        listener.close()
    return {index: tf_config(addresses, index) for index in range(len(addresses))}


def main() -> None:
    """Part the command line at `--`, and launch."""
    where = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    of_training = sys.argv[where + 1 :]
    del sys.argv[where:]

    def start(settings: LaunchSettings) -> int:
        if not of_training:
            raise InputError("nothing to train: give the flags of ddl_tf.train after --; see --help")
        return launch(settings, [*TRAIN, *of_training])

    command.run(start, LaunchSettings)


if __name__ == "__main__":
    main()
