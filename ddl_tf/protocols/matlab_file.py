"""MATLAB files from anybody, read in a process of its own: SciPy can crash on a damaged one, or fill the memory."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file

# The official lists have thousands of names, which take less than a tenth of each of these.
_MOST_BYTES = 64 << 20
_MOST_TEXT = 16 << 20
_MOST_MEMORY = 1 << 30
_SECONDS = 60
_PROGRAM = Path(__file__).with_name("matlab_child.py")


def read_matlab(path: Path, names: Sequence[str]) -> dict[str, Any]:
    """Read variables of a MATLAB file of version 4 to 7; nothing in it can crash the process, fill its memory or run.

    Gives the variables as nested lists of their rows: of numbers, of texts, of cells (each again such a list), of
    structures (each a dictionary of such lists). Raises an `InputError` if it is damaged, much too large, or lacks one.
    """
    require_regular_file(path)
    with open(path, "rb") as file:
        content = file.read(_MOST_BYTES + 1)
    if len(content) > _MOST_BYTES:
        raise InputError(f"{path}: more than {_MOST_BYTES:,} bytes; is it the official list? get it anew")
    try:
        variables = _read_apart(content, names)
    except ValueError as error:
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{path}: cannot be read as a MATLAB file ({reason}); get it anew") from None
    for name in names:
        if name not in variables:
            raise InputError(f"{path}: has no variable {name}; is it the official list? get it anew")
    return variables


def _read_apart(content: bytes, names: Sequence[str]) -> dict[str, Any]:
    """Read in a process of its own; a ValueError says why a file cannot be read."""
    # The process finds the NumPy and SciPy of this one, and nothing else of the environment counts.
    task: dict[str, Any] = {"path": [os.fspath(folder) for folder in sys.path], "names": list(names)}
    task |= {"memory": _MOST_MEMORY, "most_text": _MOST_TEXT}
    command = [sys.executable, "-I", str(_PROGRAM), json.dumps(task)]
    # A thread for each core would only take of the memory.
    environment = {**os.environ, "OPENBLAS_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}
    try:
        process = subprocess.run(command, input=content, capture_output=True, timeout=_SECONDS, env=environment)
    except subprocess.TimeoutExpired:
        raise ValueError(f"SciPy is still at work after {_SECONDS} s") from None
    if process.returncode < 0:
        raise ValueError(f"SciPy crashed: {signal.strsignal(-process.returncode)}")
    try:
        answer = json.loads(process.stdout)
    except (ValueError, RecursionError):
        last = process.stderr.decode(errors="replace").strip().rpartition("\n")[2]
        raise ValueError(f"SciPy ended with exit code {process.returncode}: {last or 'no message'}") from None
    if "reason" in answer:
        raise ValueError(answer["reason"])
    return answer["variables"]
