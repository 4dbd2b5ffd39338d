"""What every record of a result says of how and when it was made."""

import contextlib
import datetime
import shlex
import sys
from collections.abc import Iterable
from importlib import metadata
from pathlib import Path


def command_line() -> str:
    """The program that was started and its arguments, as a shell takes them."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def utc_now() -> str:
    """The time in ISO 8601 and UTC, to the second, such as `2026-11-25T10:23:18+00:00`."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")


def package_versions(packages: Iterable[str]) -> dict[str, str]:
    """Look up the versions of those packages that are installed, without importing them: package -> version."""
    versions = {}
    for package in packages:
        with contextlib.suppress(metadata.PackageNotFoundError):
            versions[package] = metadata.version(package)
    return versions
