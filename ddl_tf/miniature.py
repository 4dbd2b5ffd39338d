"""Write a miniature of a benchmark in its official layout: `python -m ddl_tf.miniature --layout=ijbc --output=ijbc`.

The faces are synthetic and the numbers mean nothing: it shows where each file belongs, and that a command runs.
"""

from ddl_tf import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from ddl_tf.errors import InputError
from ddl_tf.settings import setting

# layout -> what writes it, and the command that evaluates it, from the folder it is in.
LAYOUTS: dict[str, tuple[Callable[[Path, int], None], str]] = {}


@dataclasses.dataclass
class MiniatureSettings:
    """Flags of the command."""

    layout: Optional[str] = setting(None, "The benchmark; required.", choices=tuple(LAYOUTS))
    output: Optional[str] = setting(None, "The folder to write; required, must not be there yet.")
    seed: int = setting(0, "Seed of the people and the pairs.")


def main(settings: MiniatureSettings) -> None:
    """Write a miniature of a benchmark in its official layout."""
    for name in ("layout", "output"):
        if not getattr(settings, name):
            raise InputError(f"--{name} is missing; see --help")
    folder = Path(str(settings.output))
    if folder.exists():
        raise InputError(f"{folder} is there already: choose another --output, or remove it")
    write, evaluate = LAYOUTS[str(settings.layout)]
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        write(partial, settings.seed)
        partial.rename(folder)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    for path in sorted(folder.rglob("*"))[:20]:
        print(path)
    print(f"evaluate it: python -m ddl_tf.evaluate {evaluate.format(root=folder)} --model=MODEL")


if __name__ == "__main__":
    command.run(main, MiniatureSettings)
