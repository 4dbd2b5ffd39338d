"""Files that are either whole or not there."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Write a file aside and move it to its place when it is complete.

    A reader never sees half of it, and a failure leaves what was there before.

    Args:
        path: where the file shall be; its folder is made if it is missing.

    Yields:
        The path to write to, in the same folder and with the same suffix.

    Example:
        >>> with write_aside(Path("results.json")) as aside:
        ...     aside.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
