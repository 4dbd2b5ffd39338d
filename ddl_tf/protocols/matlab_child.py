"""The program that reads a MATLAB file for `matlab_file.py`, in a process of its own: SciPy can crash on a damaged one.

The file comes on stdin; what is in it goes to stdout as JSON. It imports nothing of this package, so it starts fast.
"""

import contextlib
import io
import json
import resource
import sys
import warnings
from typing import Any


def _limit(kind: int, most: int) -> None:
    # Some systems do not limit memory, and nobody may raise a limit that an administrator set.
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(kind, (most, most))


def _plain(value: Any, fields: tuple[str, ...] = ()) -> Any:
    """Make lists of arrays and cells, and dictionaries of structures."""
    if type(value) in (str, int, float):
        return value
    if isinstance(value, list):
        return [_plain(cell, fields) for cell in value]
    if isinstance(value, tuple):
        return {field: _plain(cell) for field, cell in zip(fields, value)}
    if hasattr(value, "tolist"):
        return _plain(value.tolist(), value.dtype.names or ())
    raise TypeError(f"{type(value).__name__} is neither text, a number, a cell nor a structure")


def read(content: bytes, names: list[str]) -> dict[str, Any]:
    """Read variables of a MATLAB file as lists, as `read_matlab` gives them."""
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadWarning

    with warnings.catch_warnings():
        # Of a variable that is there twice, of which SciPy takes the last one.
        warnings.simplefilter("error", MatReadWarning)
        variables = loadmat(io.BytesIO(content))
    return {name: _plain(variables[name]) for name in names if name in variables}


def main() -> None:
    """Read the file on stdin as the first argument says: a JSON object of `path`, `memory`, `most_text` and `names`."""
    task = json.loads(sys.argv[1])
    sys.path[:] = task["path"]
    _limit(resource.RLIMIT_AS, task["memory"])
    _limit(resource.RLIMIT_CORE, 0)
    try:
        text = json.dumps({"variables": read(sys.stdin.buffer.read(), task["names"])})
        if len(text) > task["most_text"]:
            raise ValueError(f"{len(text):,} characters of content, where {task['most_text']:,} is the most")
    except Exception as error:  # SciPy raises nearly anything for a damaged file
        text = json.dumps({"reason": f"{type(error).__name__}: {error}"})
    sys.stdout.write(text)


if __name__ == "__main__":
    main()
