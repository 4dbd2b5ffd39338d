"""Start the workers of a training: `python -m ddl_tf.launch --workers=2 -- --flagfile=recipes/X.cfg --run_dir=DIR`.

What follows `--` are the flags of `python -m ddl_tf.train`. Several workers of this machine talk over loopback; on
several machines the same command runs on each, with --hosts and its own --index. When a worker dies the others are
ended, and all start again from the last checkpoint. The output of worker 0 is that of the command; lines of the others
come on stderr with their number before them.
"""

import ctypes
import dataclasses
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
from ddl_tf.common.stops import Stops

TRAIN = (sys.executable, "-m", "ddl_tf.train")
STOPS = {128 + signal.SIGINT, 128 + signal.SIGTERM}
# When one worker ends, the others end by themselves within so many seconds, or wait for it for ever.
GRACE = 10.0
# The workers of other machines first have to notice that one is gone, else the new one would meet the old ones.
OTHER_MACHINES = 30.0
# Linux ends a process with its parent if it is asked to: prctl(PR_SET_PDEATHSIG, signal).
_LIBC, _PR_SET_PDEATHSIG = (ctypes.CDLL(None) if sys.platform == "linux" else None), 1


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
    """Write the TF_CONFIG (JSON) of worker `index`, where `addresses` are host:port of each worker.

    Example:
        >>> tf_config(["10.0.0.1:4000"], 0)
        '{"cluster": {"worker": ["10.0.0.1:4000"]}, "task": {"type": "worker", "index": 0}}'
    """
    return json.dumps({"cluster": {"worker": list(addresses)}, "task": {"type": "worker", "index": index}})


def free_ports(count: int) -> list[int]:
    """Find `count` ports of this machine's loopback that nobody listens at."""
    sockets = [socket.socket() for _ in range(count)]
    try:
        for listener in sockets:
            listener.bind(("127.0.0.1", 0))
        return [listener.getsockname()[1] for listener in sockets]
    finally:
        for listener in sockets:
            listener.close()


def _stop_with_the_launcher() -> None:
    """In a new worker: when the launcher is killed, write a checkpoint and stop, since nobody would start it again."""
    if _LIBC:
        _LIBC.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM)


class Group:
    """The worker processes of this machine, from their start to their end.

    Args:
        program: the command of a worker.
        configs: number of a worker -> its TF_CONFIG.
    """

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
                preexec_fn=_stop_with_the_launcher,
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

        Returns:
            Number -> exit code, 128 + the signal that it died of, of each worker that ended by itself; that which
            failed first comes first.
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
    workers.

    Args:
        settings: which workers.
        program: the command of a worker, which reads its TF_CONFIG from its environment. Exit code 2 refuses for
            good, 128 + SIGINT or SIGTERM says that it was stopped: after neither it is started again.

    Returns:
        The exit code: 0, or that of the first worker that failed.

    Example:
        >>> launch(LaunchSettings(workers=2), ["true"])
        0
    """
    stop = threading.Event()
    running: list[Group] = []

    def pass_on(number: int, frame: Optional[FrameType]) -> None:
        second = stops.is_second()
        if stopped_by and not second:
            return
        stopped_by.append(number)
        stop.set()
        for group in running:
            group.send(number if len(stopped_by) == 1 else signal.SIGKILL)

    stopped_by: list[int] = []
    stops = Stops()
    handlers = {number: signal.signal(number, pass_on) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        for attempt in range(settings.max_restarts + 1):
            group = Group(program, _configs(settings))
            running[:] = [group]
            # What came while they were started.
            if stopped_by:
                group.send(stopped_by[-1])
            codes = group.wait()
            failed = {index: code for index, code in codes.items() if code}
            if not failed:
                return 0
            final = [code for code in failed.values() if code == command.BAD_INPUT or code in STOPS]
            if len(stopped_by) > 1:
                return 128 + stopped_by[-1]
            if final or stopped_by or attempt == settings.max_restarts:
                return (final or list(failed.values()))[0]
            index, code = next(iter(failed.items()))
            again = f"all start again ({attempt + 1} of {settings.max_restarts})"
            _say(f"worker {index} ended with exit code {code}; {again}")
            if settings.hosts and stop.wait(OTHER_MACHINES):
                return 128 + stopped_by[-1]
    finally:
        for group in running:
            group.kill()
        for number, handler in handlers.items():
            signal.signal(number, handler)
    raise AssertionError("the last attempt returns")


def _configs(settings: LaunchSettings) -> dict[int, str]:
    if settings.index is not None and settings.hosts:
        return {settings.index: tf_config(settings.hosts, settings.index)}
    addresses = [f"127.0.0.1:{port}" for port in free_ports(settings.workers or 1)]
    return {index: tf_config(addresses, index) for index in range(len(addresses))}


def _say(text: str) -> None:
    print(f"python -m ddl_tf.launch: {text}", file=sys.stderr, flush=True)


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
