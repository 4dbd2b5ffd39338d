"""The sets of the experiments: imports, sets with made students, and verification sets with one image degraded."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np

from arms.experiment import Maker
from ddl_tf.data.layout import PAIRS
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.importers.cfp import cfp_source
from ddl_tf.importers.recordio import recordio_source
from ddl_tf.importers.source import Problem, Sample, Source
from ddl_tf.mining.degradation import degrade_image, degraded_source, neutral_strengths, parse_degradation
from ddl_tf.mining.rules import Rule
from ddl_tf.protocols.pair_sets import PairSet, pairs_table, read_bin, read_cfp

# Where the output folder has links to the data that it was given.
CELEBA, CFP, LFW = "data/celeba", "data/cfp", "data/lfw_dev.bin"
SEED = 0


def celeba() -> Maker:
    """Import CelebA with its table; what is no image is left out."""

    def make(root: Path, folder: Path) -> None:
        table = root / CELEBA / "train.csv"
        source = recordio_source(str(root / CELEBA / "train.rec"), str(table) if table.exists() else None)
        write_set(source, StoreSettings(output=str(folder)), "skip")

    return make


def cfp(*folds: int) -> Maker:
    """Import folds of CFP for training."""

    def make(root: Path, folder: Path) -> None:
        write_set(cfp_source(str(root / CFP), folds), StoreSettings(output=str(folder)))

    return make


def with_students(
    name: str, students: Sequence[str], easy: Optional[str] = None, hard: Optional[str] = None, rest: bool = False
) -> Maker:
    """Make a set of easy images and degraded copies of them, as `python -m ddl_tf.mine degrade` does.

    Args:
        name: folder of the set that the images are taken from.
        students: the degradation of groups 1, 2, ...
        easy: rule of the easy images; default: group 0, or all where there are no groups.
        hard: rule of images that are hard as they are, and join group 1.
        rest: whether the other images follow, in group -1.

    Returns:
        What makes the set.
    """

    def make(root: Path, folder: Path) -> None:
        faces = Faces([str(root / name)])
        group = faces.index["group"].to_numpy()
        if easy is not None:
            chosen = Rule(easy).select(faces.index)
        else:
            chosen = group == 0 if np.any(group >= 0) else np.ones(len(faces), bool)
        degradations = [parse_degradation(text) for text in students]
        source = degraded_source(faces, np.flatnonzero(chosen), degradations, SEED)
        if hard is not None:
            is_hard = Rule(hard).select(faces.index) & ~chosen
            source, chosen = _joined(source, faces, np.flatnonzero(is_hard), 1), chosen | is_hard
        if rest:
            source = _joined(source, faces, np.flatnonzero(~chosen), -1)
        write_set(source, StoreSettings(output=str(folder)))

    return make


def _joined(source: Source, faces: Faces, rows: np.ndarray, group: int) -> Source:
    """Let further images of the same people follow, as they are."""
    keys = faces.index["identity_key"].astype(str).to_numpy()
    resolution = float(max(faces.image_size)) if faces.image_size else 0.0
    columns = {"degradation": "", **neutral_strengths(int(resolution))}

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        if start < source.count:
            yield from source.read(start)
        for row in rows[max(start - source.count, 0) :].tolist():
            (encoded,) = faces.read(np.array([row]))
            place = f"{faces.paths[0]}, row {row}"
            yield Sample(encoded, keys[row], place, group, {"source_row": row, **columns})

    name = f"{source.name} and {len(rows)} as they are in group {group}"
    return Source(source.kind, name, source.count + len(rows), read)


def cfp_pairs(*folds: int) -> Callable[[Path], PairSet]:
    """Read the frontal-frontal pairs of folds of CFP."""
    return lambda root: read_cfp(str(root / CFP), "FF", folds)


def lfw_pairs(root: Path) -> PairSet:
    """Read the pairs of LFW."""
    return read_bin(str(root / LFW))


def degraded_pairs(read: Callable[[Path], PairSet], degradation: str) -> Maker:
    """Make a verification set in which the second image of each pair is degraded, with strengths in its columns.

    Args:
        read: output folder -> the pairs.
        degradation: what to do; the strengths of an image follow from `SEED` and its number.

    Returns:
        What makes the set.
    """

    def make(root: Path, folder: Path) -> None:
        pairs = read(root)
        # An image may be the first of one pair and the second of another: it is there twice then.
        sharp, first = np.unique(pairs.first, return_inverse=True)
        hard, second = np.unique(pairs.second, return_inverse=True)
        source = _degraded_images(pairs, sharp, hard, degradation)
        table = pairs_table(pairs).assign(first=first, second=second + len(sharp))
        write_set(source, StoreSettings(output=str(folder)), tables={PAIRS: table})

    return make


def _degraded_images(pairs: PairSet, sharp: np.ndarray, hard: np.ndarray, text: str) -> Source:
    """Make the images of a set: those that stay as they are, then the degraded ones."""
    wanted = [*((image, False) for image in sharp.tolist()), *((image, True) for image in hard.tolist())]
    degradation = parse_degradation(text)

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        for number, (image, is_hard) in enumerate(wanted[start:], start):
            encoded = pairs.images[image]
            # A JPEG has no more to say of its size than that it is not smaller: 112 px is that of aligned faces.
            strengths = neutral_strengths(112)
            if is_hard:
                encoded, strengths = degrade_image(encoded, degradation, np.random.default_rng([SEED, image]))
            yield Sample(encoded, number, f"{pairs.name}, image {image}", columns=strengths)

    name = f"{pairs.name}, the second image {text}, seed {SEED}"
    return Source("degraded_pairs", name, len(wanted), read, skippable=False)
