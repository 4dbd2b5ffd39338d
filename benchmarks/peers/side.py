"""One side of a comparison, in a process of its own: it answers a line of JSON for each line that it is sent."""

import json
import os
import subprocess
from pathlib import Path
from typing import Any, Optional

from ddl_tf.common.errors import InputError

PEERS = Path(__file__).resolve().parent


def quiet(threads: int) -> dict[str, str]:
    """Make the environment of a side: few messages, so many threads."""
    return {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "OMP_NUM_THREADS": str(threads)}


class Side:
    """A script that does a round of steps when it is asked to.

    Args:
        python: its interpreter.
        script: in this folder, without `.py`; it sends a first answer when it is ready.
        settings: of the script, with `threads`.
        name: for messages.
        environment: what its environment has beside that of this process.

    Raises:
        InputError: of any method, if the script has ended.
    """

    def __init__(
        self,
        python: str,
        script: str,
        settings: dict[str, Any],
        name: str,
        environment: Optional[dict[str, str]] = None,
    ) -> None:
        order = [python, str(PEERS / f"{script}.py"), json.dumps(settings)]
        pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        env = {**quiet(settings["threads"]), **(environment or {})}
        self._process = subprocess.Popen(order, env=env, text=True, **pipes)
        self._name = name

    def ask(self) -> None:
        """Ask for a round."""
        try:
            self._process.stdin.write("\n")
            self._process.stdin.flush()
        except BrokenPipeError:
            self.answer()

    def answer(self) -> dict[str, float]:
        """Wait for the next answer."""
        line = self._process.stdout.readline()
        if not line:
            message = (self._process.communicate()[1].strip() or "no message").splitlines()[-1]
            raise InputError(f"{self._name} ended with {self._process.returncode}: {message}")
        return json.loads(line)

    def end(self) -> None:
        """End the process."""
        self._process.communicate()
