"""Synthetic faces: drawn, not photographed, of nobody; the true strength of every variation is known."""

import dataclasses
import functools
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from PIL import Image

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.data.layout import PAIRS, read_description
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.importers.source import Sample, Source
from ddl_tf.synthetic.shots import draw_shots, plan_shots, render

__all__ = ["SyntheticSettings", "prepare_synthetic", "render", "synthetic_images", "synthetic_samples"]

# Of a verification set: its folds, and the images of an identity.
NUM_FOLDS, TEST_IMAGES = 10, 8


def synthetic_samples(
    num_identities: int,
    images_per_identity: int,
    seed: int = 0,
    size: int = 112,
    hard_fraction: float = 0.5,
    first_identity: int = 0,
) -> Iterator[Sample]:
    """Draw a set of faces, identity by identity.

    Args:
        num_identities: number of identities.
        images_per_identity: number of images of each.
        seed: seed of the whole population.
        size: side of the images in pixels.
        hard_fraction: share of an identity's images that are hard (group 1); the others are easy (group 0).
        first_identity: number of the first identity.

    Yields:
        The samples, JPEG, in a fixed order, with the columns of `render`.

    Example:
        >>> [sample.group for sample in synthetic_samples(1, 4, size=32)]
        [0, 1, 0, 1]
    """
    identities = range(first_identity, first_identity + num_identities)
    yield from (shot.draw() for shot in plan_shots(identities, images_per_identity, seed, size, hard_fraction))


def synthetic_images(count: int, size: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Draw faces of different people as a network takes them: uint8 `[count, height, width, 3]` RGB."""
    height, width = size
    faces = (Image.fromarray(render(identity, 0, seed, max(size))[0]) for identity in range(count))
    return np.stack([np.asarray(face.resize((width, height))) for face in faces])


@dataclasses.dataclass
class SyntheticSettings(StoreSettings):
    """The synthetic faces to make."""

    identities: int = setting(1000, "Identities of the training set.")
    images_per_identity: int = setting(20, "Images of each identity of the training set.")
    hard_fraction: float = setting(
        0.5, "Share of the training images that are hard: large yaw, low resolution, bad light, occlusion, blur."
    )
    test_identities: int = setting(100, "Further identities, for the verification sets; 0 makes no verification sets.")
    test_pairs: int = setting(1000, "Pairs of each verification set, half of them of one identity; a multiple of 20.")
    image_size: int = setting(112, "Side of the images in pixels.")
    aligned: bool = setting(
        False, "Whether the faces are brought to ArcFace's template, as those that `prepare photos` finds."
    )
    seed: int = setting(0, "Seed of the faces: another seed gives other people.")


def prepare_synthetic(settings: SyntheticSettings) -> dict[str, dict[str, Any]]:
    """Draw synthetic faces and store them; an `InputError` if a setting is out of its range, or the sets are there.

    `<output>/train` is the training set, with easy (group 0) and hard (group 1) images. `<output>/easy` and
    `<output>/hard` are verification sets of other identities, with easy or hard images alone. Their ten folds share no
    identities. An interrupted call, made again, goes on where it stopped. Many images are drawn in several processes,
    so that a script calls this below `if __name__ == "__main__":`.

    Args:
        settings: what to make.

    Returns:
        The description of each set, by its name.
    """
    _check(settings)
    train = range(settings.identities)
    test = range(settings.identities, settings.identities + settings.test_identities)
    plans = {"train": (train, settings.images_per_identity, settings.hard_fraction)}
    if test:
        plans.update({"easy": (test, TEST_IMAGES, 0.0), "hard": (test, TEST_IMAGES, 1.0)})
    output = Path(str(settings.output))
    if not settings.overwrite and all((output / name).exists() for name in plans):
        raise InputError(f"{output} holds these sets already: choose another --output, or replace by --overwrite")
    descriptions = {}
    for name, (identities, images, hard_fraction) in plans.items():
        shots = plan_shots(identities, images, settings.seed, settings.image_size, hard_fraction, settings.aligned)
        source = Source("synthetic", f"synthetic faces, {name}", len(shots), functools.partial(draw_shots, shots))
        set_settings = dataclasses.replace(settings, output=str(output / name))
        if not settings.overwrite and _is_made(set_settings):
            print(f"{set_settings.output} is there already, made with these settings", file=sys.stderr)
            descriptions[name] = read_description(output / name)
            continue
        tables = None if name == "train" else {PAIRS: draw_pairs(len(test), settings.test_pairs, settings.seed)}
        descriptions[name] = write_set(source, set_settings, tables=tables)
    return descriptions


def _is_made(settings: SyntheticSettings) -> bool:
    """Whether an earlier, interrupted call stored this set with the same settings."""
    folder = Path(str(settings.output))
    made = read_description(folder).get("made_by", {}) if folder.exists() else {}
    return made.get("ddl_tf") == ddl_tf.__version__ and all(
        made.get("settings", {}).get(name) == value
        for name, value in dataclasses.asdict(settings).items()
        if name not in ("output", "overwrite")
    )


def _check(settings: SyntheticSettings) -> None:
    if not settings.output:
        raise InputError("--output is missing: name the folder to store the sets in")
    for name, low in (("identities", 2), ("images_per_identity", 2), ("image_size", 16), ("seed", 0)):
        if getattr(settings, name) < low:
            raise InputError(f"--{name} must be at least {low}, got {getattr(settings, name)}")
    if not 0 <= settings.hard_fraction <= 1:
        raise InputError(f"--hard_fraction must be between 0 and 1, got {settings.hard_fraction}")
    people, pairs, step = settings.test_identities, settings.test_pairs, 2 * NUM_FOLDS
    if people == 0:
        return
    if people < step:
        raise InputError(f"--test_identities must be 0, or at least {step} (two for each fold), got {people}")
    most = step * (people // NUM_FOLDS) * (TEST_IMAGES * (TEST_IMAGES - 1) // 2)
    if pairs % step or not 0 < pairs <= most:
        limits = f"a multiple of {step}, at most {most} with --test_identities={people}"
        raise InputError(f"--test_pairs must be {limits}, got {pairs}")


def draw_pairs(num_identities: int, num_pairs: int, seed: int) -> pd.DataFrame:
    """Draw `[num_pairs]` pairs of a verification set: in each fold half same, half different, none twice.

    Each identity has `TEST_IMAGES` images, one after the other. A fold's identities are in no other.
    """
    rng = np.random.default_rng([seed, num_identities, num_pairs])
    owners = np.repeat(np.arange(num_identities), TEST_IMAGES)
    tables = []
    for fold in range(NUM_FOLDS):
        rows = np.flatnonzero(owners % NUM_FOLDS == fold)
        first, second = (rows[side] for side in np.triu_indices(len(rows), k=1))
        same = owners[first] == owners[second]
        for kind in (True, False):
            chosen = rng.choice(np.flatnonzero(same == kind), num_pairs // (2 * NUM_FOLDS), replace=False)
            tables.append(pd.DataFrame({"first": first[chosen], "second": second[chosen], "same": kind, "fold": fold}))
    return pd.concat(tables, ignore_index=True)
