"""Celebrities in Frontal-Profile (CFP): its lists, and its images as a training set.

Two layouts of folders are read: the official one (`Protocol/Split/FF/01/same.txt`, images in `Data/Images`), and
`protocol/FF/01/same.txt` beside `images`.

References:
    Sengupta et al., "Frontal to Profile Face Verification in the Wild", WACV 2016, http://www.cfpw.io
"""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, Union

from ddl_tf.common.errors import InputError
from ddl_tf.importers.image_files import read_sample
from ddl_tf.importers.source import Problem, Sample, Source, listed_source
from ddl_tf.importers.text_list import numbered_lines, quoted, whole_number

PROTOCOLS = ("FF", "FP")
_LISTS = {"F": "Pair_list_F.txt", "P": "Pair_list_P.txt"}
_GROUP_OF_VIEW = {"frontal": 0, "profile": 1}


class Pair(NamedTuple):
    """One pair of CFP's lists."""

    first: Path
    second: Path
    same: bool
    fold: int


def identity_and_view(path: Path) -> tuple[str, str]:
    """Read the identity and the view of an image from its path, `.../<identity>/<view>/<number>.jpg`."""
    return path.parts[-3], path.parts[-2]


class CFP:
    """The lists of CFP in a folder; an `InputError` if they are missing or cannot be read."""

    def __init__(self, root: str) -> None:
        self._root = Path(root)
        for self._protocol, split in (("protocol", "protocol"), ("Protocol", "Protocol/Split")):
            self._split = self._root / split
            if all((self._root / self._protocol / name).is_file() for name in _LISTS.values()):
                break
        else:
            raise InputError(
                f"{root}: not CFP, neither protocol/{_LISTS['F']} nor Protocol/{_LISTS['F']} with {_LISTS['P']} "
                "beside it; give the folder that holds protocol/ and images/, or Protocol/ and Data/"
            )
        self.images = {view: self._read_list(self._root / self._protocol / name) for view, name in _LISTS.items()}

    def _read_list(self, file: Path) -> dict[int, Path]:
        images = {}
        for line, text in numbered_lines(file):
            first, _, path = text.partition(" ")
            number, parts = whole_number(first), Path(path.strip()).parts
            if number is None or len(parts) < 3 or parts[-2] not in _GROUP_OF_VIEW:
                what = f"{quoted(text)} is not a number and .../<identity>/<frontal or profile>/<image>"
                raise InputError(f"{file}, line {line}: {what}")
            # Official lists say ../Data/Images/..., from their own folder.
            base = self._root / self._protocol if parts[0] == ".." else self._root
            images[number] = base.joinpath(*parts)
        return images

    def pairs(self, protocol: str, folds: Sequence[int]) -> Iterator[Pair]:
        """Yield the pairs of "FF" or "FP" of some folds (from 1), in each fold the same ones first."""
        if protocol not in PROTOCOLS:
            raise InputError(f"CFP protocol {protocol!r}: use {' or '.join(PROTOCOLS)}")
        if not folds:
            raise InputError("no fold of CFP is chosen: give some of 1 to 10")
        if len(set(folds)) < len(folds):
            raise InputError(f"folds {','.join(map(str, folds))} of CFP: one is there twice; give each once")
        views = [self.images[view] for view in protocol]
        for fold in folds:
            folder = self._split / protocol / f"{fold:02d}"
            if not folder.is_dir():
                present = ", ".join(str(int(f.name)) for f in sorted(folder.parent.glob("[0-9][0-9]"))) or "none"
                raise InputError(f"{self._root}: CFP has no fold {fold} of {protocol} there; choose of {present}")
            for name in ("same", "diff"):
                file = folder / f"{name}.txt"
                for line, text in numbered_lines(file):
                    try:
                        # What is no number is in no list.
                        left, right = (whole_number(part.strip()) for part in text.split(","))
                        first, second = views[0][left], views[1][right]  # type: ignore[index]
                    except (ValueError, KeyError):
                        what = f"{quoted(text)} is not two numbers of images in the lists"
                        raise InputError(f"{file}, line {line}: {what}") from None
                    yield Pair(first, second, name == "same", fold)


def cfp_source(root: str, folds: Sequence[int]) -> Source:
    """Make a training set of all images of the identities of some folds.

    Args:
        root: folder of CFP.
        folds: CFP's numbers of the folds, from 1; a fold's identities are those in its pairs, and in no other's.

    Returns:
        The samples by identity, group 0 (frontal) before group 1 (profile), with the columns `view` and `fold`.
    """
    lists = CFP(root)
    fold_of: dict[str, int] = {}
    for protocol in PROTOCOLS:
        for pair in lists.pairs(protocol, folds):
            for path in (pair.first, pair.second):
                identity = identity_and_view(path)[0]
                if fold_of.setdefault(identity, pair.fold) != pair.fold:
                    raise InputError(f"{root}: identity {identity} is in the folds {fold_of[identity]} and {pair.fold}")
    paths = {path for images in lists.images.values() for path in images.values()}
    chosen = sorted(path for path in paths if identity_and_view(path)[0] in fold_of)

    def sample(path: Path) -> Union[Sample, Problem]:
        identity, view = identity_and_view(path)
        columns = {"view": view, "fold": fold_of[identity]}
        return read_sample(path, str(path), identity, str(path), _GROUP_OF_VIEW[view], columns)

    return listed_source("cfp", f"{root}, folds {','.join(map(str, folds))}", chosen, sample, sorted(fold_of))
