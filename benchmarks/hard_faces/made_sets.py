"""The sets of the experiments: imports, sets with made students, all pairs of CFP's folds, and distractors."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.data.layout import PAIRS
from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.importers.cfp import cfp_source
from ddl_tf.importers.recordio import recordio_source
from ddl_tf.importers.source import Problem, Sample, Source, Value, listed_source
from ddl_tf.mining.degradation import degrade_image, degraded_source, neutral_strengths, parse_degradation
from ddl_tf.protocols.pair_sets import read_bin

SEED = 0
# `number` of an image that is no frontal one, nor a copy of one.
NO_NUMBER = -1


@dataclasses.dataclass(frozen=True)
class Places:
    """Where the data is: the folders of CelebA and CFP, LFW's verification file; `sets` is the folder of made sets."""

    celeba: Path
    cfp: Path
    lfw_bin: Path
    sets: Path


# Makes a set: (where the data is, folder to make).
Maker = Callable[[Places, Path], object]


def celeba() -> Maker:
    """Import CelebA with its table; what is no image is left out."""

    def make(places: Places, folder: Path) -> None:
        table = places.celeba / "train.csv"
        source = recordio_source(str(places.celeba / "train.rec"), str(table) if table.exists() else None)
        write_set(source, StoreSettings(output=str(folder)), "skip")

    return make


def cfp(*folds: int) -> Maker:
    """Import folds of CFP for training."""

    def make(places: Places, folder: Path) -> None:
        write_set(cfp_source(str(places.cfp), folds), StoreSettings(output=str(folder)))

    return make


def with_students(name: str, students: Sequence[str], least_images: int = 1) -> Maker:
    """Make a set of easy images and degraded copies of them, as `python -m ddl_tf.mine degrade` does.

    Args:
        name: the made set that the images are taken from: those of group 0, or all where there are no groups.
        students: the degradation of groups 1, 2, ...; without any there is group 0 alone.
        least_images: people of fewer images are left out.

    Returns:
        What makes the set.
    """

    def make(places: Places, folder: Path) -> None:
        faces = Faces([str(places.sets / name)])
        group, identity = (faces.index[column].to_numpy() for column in ("group", "identity"))
        chosen = group == 0 if np.any(group >= 0) else np.ones(len(faces), bool)
        chosen &= np.bincount(identity)[identity] >= least_images
        rows = np.flatnonzero(chosen)
        degradations = [parse_degradation(text) for text in students]
        source = degraded_source(faces, rows, degradations, SEED) if students else _easy_source(faces, rows)
        write_set(source, StoreSettings(output=str(folder)))

    return make


def _easy_source(faces: Faces, rows: np.ndarray) -> Source:
    """Make a set of some images of another one, as they are in group 0."""
    keys = faces.index["identity_key"].astype(str).to_numpy()

    def sample(row: int) -> Sample:
        (encoded,) = faces.read(np.array([row]))
        return Sample(encoded, keys[row], f"{faces.paths[0]}, row {row}", 0, {"source_row": row})

    name = f"{faces.paths[0]}, {len(rows)} images"
    return listed_source("easy", name, rows.tolist(), sample, list(dict.fromkeys(keys[rows])))


def all_pairs(folds: Sequence[int], degradation: Optional[str] = None, profiles: bool = False) -> Maker:
    """Make a verification set in which every frontal image of a fold's people is compared with all probes of the fold.

    The probes are degraded copies of the frontal images, the profiles, or else the frontal images themselves, each
    unordered pair once. An image and its own copy are no pair. Columns of the images are `person`; `number`, the place
    of a frontal image among those of its person, which a copy has too; `probe`, 1 for those that are compared with the
    others; and the strengths of the degradation, which follow from `SEED` and the number of the frontal image.

    Args:
        folds: CFP's numbers of the folds, from 1.
        degradation: of the copies.
        profiles: whether the probes are the profiles.

    Returns:
        What makes the set.
    """

    def make(places: Places, folder: Path) -> None:
        samples = _samples(places.cfp, folds)
        sharp = [sample for sample in samples if sample.group == 0]
        probes = [sample for sample in samples if sample.group == 1] if profiles else sharp if degradation else None
        numbers = _people(sharp).groupby("person").cumcount().tolist()
        wanted = [(sample, {"number": number, "probe": int(probes is None)}) for sample, number in zip(sharp, numbers)]
        if probes:
            of_probes = [NO_NUMBER] * len(probes) if profiles else numbers
            wanted += [(sample, {"number": number, "probe": 1}) for sample, number in zip(probes, of_probes)]
        source = _pair_images(f"{places.cfp}, folds {','.join(map(str, folds))}", wanted, len(sharp), degradation)
        table = pairs_of_folds(_people(sharp), None if probes is None else _people(probes), bool(degradation))
        write_set(source, StoreSettings(output=str(folder)), tables={PAIRS: table})

    return make


def _samples(root: Path, folds: Sequence[int]) -> list[Sample]:
    samples = []
    for sample in cfp_source(str(root), folds).read(0):
        if isinstance(sample, Problem):
            raise InputError(f"{sample}; check the folder")
        samples.append(sample)
    return samples


def _people(samples: Sequence[Sample]) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "person": [str(sample.identity) for sample in samples],
            "fold": [int(sample.columns["fold"]) - 1 for sample in samples],
        }
    )


def pairs_of_folds(sharp: pd.DataFrame, probes: Optional[pd.DataFrame], copies: bool) -> pd.DataFrame:
    """Pair every sharp image with every probe of its fold.

    Args:
        sharp: a row for each sharp image, with `person` and `fold`.
        probes: those of the probes, which follow the sharp images; None: these are compared with each other.
        copies: whether the probes are copies of the sharp images, in their order.

    Returns:
        `first`, `second`, `same`, `fold` of each pair.
    """
    other = sharp if probes is None else probes
    firsts, seconds = [], []
    for fold in np.unique(sharp["fold"]):
        a, b = (np.flatnonzero(table["fold"] == fold) for table in (sharp, other))
        first, second = np.repeat(a, len(b)), np.tile(b, len(a))
        kept = first < second if probes is None else (first != second) | (not copies)
        firsts.append(first[kept])
        seconds.append(second[kept])
    first, second = np.concatenate(firsts), np.concatenate(seconds)
    same = sharp["person"].to_numpy(object)[first] == other["person"].to_numpy(object)[second]
    start = 0 if probes is None else len(sharp)
    return pd.DataFrame(
        {"first": first, "second": second + start, "same": same.astype(bool), "fold": sharp["fold"].to_numpy()[first]}
    )


def _pair_images(name: str, wanted: Sequence[tuple[Sample, dict[str, int]]], sharp: int, text: Optional[str]) -> Source:
    """Make the images of a set of pairs: `sharp` ones as they are, then the probes, degraded if a `text` says how."""
    degradation = parse_degradation(text) if text else None

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        for place, (sample, columns) in enumerate(wanted[start:], start):
            encoded = sample.image
            # A JPEG has no more to say of its size than that it is not smaller: 112 px is that of aligned faces.
            strengths = neutral_strengths(112)
            if degradation and place >= sharp:
                encoded, strengths = degrade_image(encoded, degradation, np.random.default_rng([SEED, place - sharp]))
            known: dict[str, Value] = {"person": str(sample.identity), **columns, **strengths}
            yield Sample(encoded, place, sample.source, columns=known)

    return Source("all_pairs", f"{name}, probes {text or 'as they are'}", len(wanted), read, skippable=False)


def distractors() -> Maker:
    """Make a set of faces of nobody who is trained on or searched: CelebA's people of one image, and all of LFW's."""

    def make(places: Places, folder: Path) -> None:
        faces = Faces([str(places.sets / "celeba")])
        identity = faces.index["identity"].to_numpy()
        alone = np.flatnonzero(np.bincount(identity)[identity] == 1)
        lfw = read_bin(str(places.lfw_bin))
        # The file repeats an image in each of its pairs.
        lfw_images = [lfw.images[place] for place in np.unique(np.asarray(lfw.copy_of))]

        def read(start: int) -> Iterator[Union[Sample, Problem]]:
            for place in range(start, len(alone) + len(lfw_images)):
                if place < len(alone):
                    (encoded,) = faces.read(alone[[place]])
                    yield Sample(encoded, place, f"{faces.paths[0]}, row {alone[place]}")
                else:
                    yield Sample(lfw_images[place - len(alone)], place, f"{places.lfw_bin}, image {place - len(alone)}")

        source = Source("distractors", f"{faces.paths[0]}, {places.lfw_bin}", len(alone) + len(lfw_images), read)
        write_set(source, StoreSettings(output=str(folder)))

    return make
