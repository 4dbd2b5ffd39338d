"""MegaFace challenge 1 from settings: lists and features, or images and a model, to the outcome."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import required, setting
from ddl_tf.evaluation.megaface import evaluate_megaface, replace_by_center
from ddl_tf.evaluation.session import EvaluationSettings
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.feature_files import FeatureFiles, FeatureSource, PackedFeatures, feature_blocks, pack_features
from ddl_tf.protocols.gallery_set import MISSING
from ddl_tf.protocols.megaface import FaceImages, MegaFace, feature_files, megaface_images, read_megaface

# Name, images and keys -> blocks of the embeddings `[n, dim]` of unit norm, in order.
Embed = Callable[[str, Sequence[bytes], Sequence[str]], Iterable[np.ndarray]]


@dataclasses.dataclass
class MegaFaceSettings(EvaluationSettings):
    """Flags of `megaface`."""

    facescrub_list: str = setting("", "List of the probes: facescrub_lst, or facescrub_features_list.json.")
    megaface_list: str = setting("", "List of the distractors: megaface_lst, or megaface_features_list.json_1000000_1.")
    facescrub_noises: Optional[str] = setting(None, "List of noisy probes, facescrub_noises.txt; default: none is.")
    megaface_noises: Optional[str] = setting(None, "List of noisy distractors, megaface_noises.txt; default: none is.")
    noisy_probes: str = setting(
        "exclude",
        "What to do with noisy probes: leave them out, or replace each by the center of its person's others, as in "
        "published results, which flatters.",
        choices=("exclude", "center"),
    )
    distractors: Optional[int] = setting(None, "Take only so many distractors, the first of the list; default: all.")
    missing: str = setting(
        "refuse",
        "What to do if probes have no feature or image: refuse, or count them as never found. Without a distractor "
        "the task would be easier, so that a missing one is always refused.",
        choices=MISSING,
    )
    features: Optional[str] = setting(None, "Folder of feature files, facescrub/ and megaface/; instead of a model.")
    suffix: str = setting("_insightface.bin", "What the feature files' names have after those of the images.")
    packed: Optional[str] = setting(
        None,
        "Folder for the features of --features in two .npy files: written if they are not there, else used instead "
        "of the feature files.",
    )
    facescrub_images: str = setting("", "Folder of the probes' aligned images, for a model.")
    megaface_images: str = setting("", "Folder of the distractors' aligned images, for a model.")


def read_lists(settings: MegaFaceSettings) -> MegaFace:
    """Read the lists that settings name, as `read_megaface`."""
    required(settings, "facescrub_list", "megaface_list")
    names = ("facescrub_list", "megaface_list", "facescrub_noises", "megaface_noises", "distractors")
    return read_megaface(*(getattr(settings, name) for name in names))


def face_images(settings: MegaFaceSettings, check_images: bool = True) -> tuple[FaceImages, FaceImages]:
    """Find the images of probes and distractors, as `megaface_images`; without `check_images` no folder is needed."""
    for name in ("facescrub_images", "megaface_images"):
        if check_images and not getattr(settings, name):
            raise InputError(f"--{name} is missing: the folder of images to embed, where there are no --features")
    return megaface_images(
        read_lists(settings), settings.facescrub_images, settings.megaface_images, settings.missing, check_images
    )


def megaface_outcome(settings: MegaFaceSettings, embed: Optional[Embed] = None, check_images: bool = True) -> Outcome:
    """Evaluate from the lists and the features, or `embed` of the images; `first`, `second` are places in the list."""
    if settings.packed and not settings.features:
        raise InputError("--packed is given without --features: name the folder that is, or shall be, packed")
    megaface = read_lists(settings)
    used = positions = megaface.clean_probes()
    blocks: Iterable[np.ndarray]
    if settings.features:
        rows, blocks = _from_features(megaface, settings)
    elif embed is None:
        raise InputError("there are neither features nor a model: name one of them")
    else:
        faces, distractors = face_images(settings, check_images)
        positions, rows = faces.positions, np.concatenate(list(embed(faces.name, faces.images, faces.keys)))
        # An embedding of zeros must not tie with the mate, which a tie counts for.
        rows = np.where(rows.any(axis=1, keepdims=True), rows, np.nan)
        blocks = embed(distractors.name, distractors.images, distractors.keys)
    probes = np.full([len(megaface.probes), rows.shape[1]], np.nan, np.float32)
    probes[positions] = rows
    if settings.noisy_probes == "center":
        used = np.arange(len(probes))
        probes = replace_by_center(probes, megaface.people, megaface.noisy_probes)
    outcome = evaluate_megaface(
        probes[used],
        megaface.people[used],
        blocks,
        len(megaface.clean_distractors()),
        megaface.sizes(),
        megaface.name,
        settings.replicates,
        settings.seed,
    )
    places = {name: used[outcome.scores[name]] for name in ("first", "second")}
    counts = {**megaface.counts(), "noisy_probes_are": settings.noisy_probes}
    return Outcome({**outcome.result, **counts}, {**outcome.scores, **places})


def _from_features(megaface: MegaFace, settings: MegaFaceSettings) -> tuple[np.ndarray, Iterable[np.ndarray]]:
    """The clean probes' features, NaN where there is none, and the blocks of the clean distractors."""
    files = feature_files(megaface, str(settings.features), settings.suffix)
    probes, distractors = (_source(part, settings.packed, name) for part, name in zip(files, ("facescrub", "megaface")))
    problems = ProblemList("facescrub")
    rows = probes.read(megaface.clean_probes(), problems, missing_allowed=settings.missing == "count")
    problems.refuse("write these features, or take --missing=count where there are none")
    return rows, feature_blocks(distractors, megaface.clean_distractors(), megaface.name)


def _source(files: FeatureFiles, packed: Optional[str], name: str) -> FeatureSource:
    if packed is None:
        return files
    path = Path(packed) / f"{name}.npy"
    return PackedFeatures(path, files) if path.exists() else pack_features(files, path)
