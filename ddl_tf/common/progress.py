"""Progress of long work on stderr: a bar in a terminal, a line now and then elsewhere."""

import sys
import time

from tqdm import tqdm

_SECONDS_BETWEEN_LINES = 10.0


class Progress:
    """Shows how much is done of `total`, how fast, and the time left; a context manager."""

    def __init__(self, name: str, total: int, done: int = 0, unit: str = "image") -> None:
        self._name, self._total, self._done, self._before = name, total, done, done
        self._units = {"identity": "identities"}.get(unit, f"{unit}s")
        self._began = self._told = time.monotonic()
        self._bar = tqdm(total=total, initial=done, desc=name, unit=unit, unit_scale=True, disable=None)

    def advance(self, count: int = 1, note: str = "") -> None:
        """Count more items as done, and show a note beside the progress."""
        self._done += count
        if not self._bar.disable:
            self._bar.set_postfix_str(note, refresh=False)
            self._bar.update(count)
            return
        now = time.monotonic()
        # Without anything done there is no pace to tell.
        if now - self._told >= _SECONDS_BETWEEN_LINES and self._done > self._before:
            self._told = now
            rate = (self._done - self._before) / (now - self._began)
            pace = f"{rate:,.1f} {self._units}/s" if rate >= 1 else f"{1 / rate:,.1f} s each"
            left = f"{(self._total - self._done) / rate:,.0f} s left" + (f"; {note}" if note else "")
            self.write(f"{self._name}: {self._done:,} of {self._total:,}, {pace}, {left}")

    def write(self, line: str) -> None:
        """Print a line on stderr without tearing the bar."""
        tqdm.write(line, file=sys.stderr)

    def __enter__(self) -> "Progress":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._bar.close()
