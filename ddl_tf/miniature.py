"""Write a miniature of a benchmark in its official layout: `python -m ddl_tf.miniature --layout=ijbc --output=ijbc`.

The faces are synthetic and the numbers mean nothing: it shows where each file belongs, and that a command runs. The
layout `photos` is no benchmark's: a folder of photos for each person, and photos of groups.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import functools
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import sync_folder, sync_tree
from ddl_tf.common.settings import required, setting
from ddl_tf.miniatures import ijb, ijbs, megaface, pairs, photos, scface, survface, tinyface

# layout -> what writes it, and the command that takes it.
LAYOUTS: dict[str, tuple[Callable[[Path, int], None], str]] = {
    "bin": (pairs.write_bin, "evaluate pairs --bin={root}/lfw.bin --model=MODEL"),
    "lfw": (pairs.write_lfw, "evaluate pairs --lfw_root={root}/lfw --lfw_pairs={root}/pairs.txt --model=MODEL"),
    "cfp": (pairs.write_cfp, "evaluate pairs --cfp_root={root} --model=MODEL"),
    "calfw": (pairs.write_calfw, "evaluate pairs --calfw_root={root} --model=MODEL"),
    "cplfw": (pairs.write_cplfw, "evaluate pairs --cplfw_root={root} --model=MODEL"),
    "agedb": (pairs.write_agedb, "evaluate pairs --agedb_root={root} --model=MODEL"),
    "xqlfw": (pairs.write_xqlfw, "evaluate pairs --xqlfw_root={root} --model=MODEL"),
    "ijbb": (functools.partial(ijb.write_ijb, name="ijbb"), "evaluate ijb --root={root} --model=MODEL"),
    "ijbc": (functools.partial(ijb.write_ijb, name="ijbc"), "evaluate ijb --root={root} --model=MODEL"),
    "ijbs": (ijbs.write_ijbs, "evaluate ijbs --root={root}/IJBS --model=MODEL"),
    "megaface": (
        megaface.write_megaface,
        "evaluate megaface --facescrub_list={root}/facescrub_lst --megaface_list={root}/megaface_lst "
        "--facescrub_noises={root}/facescrub_noises.txt --megaface_noises={root}/megaface_noises.txt "
        "--facescrub_images={root}/facescrub_images --megaface_images={root}/megaface_images --model=MODEL",
    ),
    "scface": (
        scface.write_scface,
        "evaluate scface --root={root} --test_subjects={root}/test_subjects.txt --model=MODEL",
    ),
    "survface": (survface.write_survface, "evaluate survface --root={root}/QMUL-SurvFace --model=MODEL"),
    "tinyface": (tinyface.write_tinyface, "evaluate tinyface --root={root} --model=MODEL"),
    "photos": (photos.write_photos, "prepare photos --root={root}/people --output={root}.faces"),
    "rfw": (pairs.write_rfw, "evaluate pairs --rfw_root={root} --model=MODEL"),
}

# Files or folders that are alike are shown if they are no more.
_FEW = 8


@dataclasses.dataclass
class MiniatureSettings:
    """Flags of the command."""

    layout: Optional[str] = setting(None, "The benchmark, or `photos`; required.", choices=tuple(LAYOUTS))
    output: Optional[str] = setting(None, "The folder to write; required, must not be there yet.")
    seed: int = setting(0, "Seed of the people and the pairs.")


def _show(folder: Path) -> None:
    """Print a folder: what is in it, and of many files that are alike the first two."""
    print(f"{folder}/")
    files, folders = ([path for path in sorted(folder.iterdir()) if path.is_dir() == kind] for kind in (False, True))
    for suffix in dict.fromkeys(path.suffix for path in files):
        alike = [f"  {path.name}" for path in files if path.suffix == suffix]
        print(*(alike if len(alike) <= _FEW else [*alike[:2], f"  ... {len(alike)} files"]), sep="\n")
    for path in folders[:_FEW]:
        _show(path)
    if len(folders) > _FEW:
        print(f"... {len(folders)} folders in {folder}/")


def main(settings: MiniatureSettings) -> None:
    """Write a miniature of a benchmark in its official layout."""
    required(settings, "layout", "output")
    folder = Path(str(settings.output))
    if folder.exists():
        raise InputError(f"{folder} is there already: choose another --output, or remove it")
    write, command_line = LAYOUTS[str(settings.layout)]
    folder.parent.mkdir(parents=True, exist_ok=True)
    # A folder of a name that nothing has: what is removed below is this command's.
    partial = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".partial", dir=folder.parent))
    try:
        write(partial / folder.name, settings.seed)
        sync_tree(partial / folder.name)
        (partial / folder.name).rename(folder)
        sync_folder(folder.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    _show(folder)
    print(f"go on by: python -m ddl_tf.{command_line.format(root=folder)}")


if __name__ == "__main__":
    command.run(main, MiniatureSettings)
