"""Made sets in the layouts of the benchmarks, so that users and tests can see each layout."""

from collections.abc import Iterable
from pathlib import Path


def write_file(path: Path, content: bytes) -> None:
    """Write a file, and the folders that it is in."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def write_lines(path: Path, lines: Iterable[str]) -> None:
    """Write a list, a line for each element."""
    write_file(path, "".join(f"{line}\n" for line in lines).encode())
