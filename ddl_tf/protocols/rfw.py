"""Racial Faces in-the-Wild: four verification sets, one of each race, by its lists or InsightFace's files."""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from ddl_tf.common.errors import InputError
from ddl_tf.importers.problem_list import ProblemsError
from ddl_tf.protocols.pair_collection import PairCollection, add_lfw_lines, first_folder, read_lines
from ddl_tf.protocols.pair_sets import PairSet, read_bin

RACES = ("African", "Asian", "Caucasian", "Indian")


def rfw_name(race: str) -> str:
    """The name of the set of a race: `rfw_african`, ..."""
    return f"rfw_{race.lower()}"


def read_rfw(root: str, check_images: bool = True) -> list[PairSet]:
    """Read RFW (Wang et al., ICCV 2019) by its official lists, with the checks of `ddl_tf.protocols.pair_lists`.

    `root` has `test/txts/<Race>/<Race>_pairs.txt`, of LFW's form without a first line, and
    `test/data/<Race>/<id>/<id>_0001.jpg`; or it is the folder `test` itself, or one made like it of aligned faces (the
    official images are not; those of the official `.bin` files are, see `read_rfw_bins`). A fold is a tenth of a list.
    """
    test = first_folder(Path(root), ("test",))
    lists = {race: test / "txts" / race / f"{race}_pairs.txt" for race in RACES}
    missing = [str(path) for path in lists.values() if not path.is_file()]
    if missing:
        raise InputError(f"{root}: there is no {', '.join(missing)}; give the folder of RFW that holds test/txts")
    sets, refused = [], []
    for race, path in lists.items():
        collection = PairCollection(rfw_name(race), path, test / "data" / race, check_images)
        add_lfw_lines(collection, path, read_lines(path))
        try:
            sets.append(collection.finish("complete the images, or get the list anew", folds="blocks"))
        except ProblemsError as error:
            refused.append(error)
    if refused:
        problems = [problem for error in refused for problem in error.problems]
        raise ProblemsError("; ".join(map(str, refused)), problems)
    return sets


def read_rfw_bins(paths: Sequence[str]) -> list[PairSet]:
    """Read Racial Faces in-the-Wild by the four `.bin` files: the sets of `read_rfw`, without keys and people.

    The files may be in any order; the name of each holds its race as a word, such as `African_test.bin`.
    """
    files: dict[str, str] = {}
    for path in paths:
        # Words, because "caucasian" ends in "asian".
        words = re.findall("[a-z]+", Path(path).stem.lower())
        races = [race for race in RACES if race.lower() in words]
        if len(races) != 1:
            raise InputError(f"{path}: its name has no race, or several; name it {RACES[0]}_test.bin and so on")
        if races[0] in files:
            raise InputError(f"{path}: {races[0]} as {files[races[0]]} is; give one file of each race")
        files[races[0]] = path
    missing = [race for race in RACES if race not in files]
    if missing:
        raise InputError(f"{','.join(paths)}: no file of {', '.join(missing)}; give one file of each race")
    return [dataclasses.replace(read_bin(files[race]), name=rfw_name(race)) for race in RACES]
