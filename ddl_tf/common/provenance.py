"""What every record of a result says of how and when it was made."""

import datetime
import shlex
import sys
from pathlib import Path


def command_line() -> str:
    """The program that was started and its arguments, as a shell takes them."""
    return shlex.join([Path(sys.argv[0]).name, *sys.argv[1:]])


def utc_now() -> str:
    """The time in ISO 8601 and UTC, to the second, such as `2026-11-25T10:23:18+00:00`."""
    return datetime.datetime.now(datetime.timezone.utc).isoformat(timespec="seconds")
