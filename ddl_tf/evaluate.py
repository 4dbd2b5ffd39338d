"""Evaluate a model, one command a protocol: `python -m ddl_tf.evaluate COMMAND`.

    python -m ddl_tf.evaluate --model=runs/ddl --bin=lfw_dev.bin --cfp_root=cfp --cfp_folds=4,5

Each prints one JSON object per set on the last lines of its output. A table and the progress go to stderr.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf import evaluation
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.settings import required, setting
from ddl_tf.evaluation.ijb import evaluate_ijb
from ddl_tf.evaluation.megaface_settings import MegaFaceSettings, face_images, megaface_outcome
from ddl_tf.evaluation.pairs import Bootstrap, add_groups, evaluate_pair_set, race_groups
from ddl_tf.evaluation.people import evaluate_people, false_match_rates, make_benchmark
from ddl_tf.evaluation.people_settings import PeopleSettings, open_people
from ddl_tf.evaluation.reports import json_line
from ddl_tf.evaluation.scface import evaluate_scface
from ddl_tf.evaluation.session import SOURCES, EvaluationSettings, Session
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.evaluation.tinyface import evaluate_tinyface
from ddl_tf.importers.scface import MUGSHOTS, NUM_SUBJECTS, VISIBLE_CAMERAS, read_subjects, split_subjects
from ddl_tf.metrics.pooling import POOLED_FIRST
from ddl_tf.mining.image_columns import image_columns, read_columns
from ddl_tf.protocols.gallery_set import MISSING, GallerySet
from ddl_tf.protocols.ijb import read_ijb
from ddl_tf.protocols.people_groups import GroupChoice, group_images
from ddl_tf.protocols.rfw import RACES, rfw_name
from ddl_tf.protocols.scface import read_scface
from ddl_tf.protocols.tinyface import read_tinyface
from ddl_tf.reporting.comparisons import compare_models
from ddl_tf.reporting.evaluations import check_comparable, read_evaluation
from ddl_tf.runtimes.quality import QualityModelSettings
from ddl_tf.surveillance.commands import (
    CLUSTERS_HELP,
    POOL_FIRST_HELP,
    JanusSurveillanceSettings,
    SurvFaceSettings,
    ijbs,
    survface,
)


@dataclasses.dataclass
class PairsSettings(QualityModelSettings, VerificationSets, GroupChoice, EvaluationSettings):
    """Flags of `pairs`."""

    fmr: list[float] = setting(
        [1e-2, 1e-3], "False match rates of all pairs, at whose thresholds groups (--by, races) are compared."
    )
    measure: bool = setting(
        False,
        "With --store or --by: measure resolution, sharpness and light of the images, for accuracy by quality in a "
        "report.",
    )
    columns: list[str] = setting(
        [], "With --store or --by: CSV files with a column `key` and further ones of the images, such as yaw or gender."
    )
    plot: Optional[str] = setting(None, "Draw ROC and similarities of every set to this file (.png, .pdf or .svg).")


def pairs(settings: PairsSettings) -> None:
    """Verification of pairs: LFW, CFP, AgeDB-30, CALFW, CPLFW, XQLFW, RFW, any .bin, and stored sets."""
    session = Session(settings)
    if settings.plot:
        evaluation.plots.check_format(settings.plot)
    with session.listing_problems():
        sets = load_sets(settings, check_images=session.needs_images)
    if (settings.measure or settings.columns or settings.quality_model) and not (settings.store or settings.by):
        raise InputError("--measure, --columns and --quality_model need --store or --by: they are of a set's images")
    if not sets:
        raise InputError(
            "no verification set: name one with --bin, --cfp_root, --lfw_root and --lfw_pairs, --pairs_csv, or --pairs"
        )
    further, network = read_columns(settings.columns), settings.quality_network()
    targets = false_match_rates(settings.fmr)
    bootstrap = Bootstrap(settings.replicates, settings.seed)
    similarities, outcomes = [], []
    for pair_set in sets:
        columns = image_columns(pair_set, further, settings.measure, network)
        described = pair_set.name, pair_set.images, pair_set.keys, columns
        if settings.list_images:
            session.list_images(*described)
            continue
        groups = {}
        if settings.by:
            known = pd.DataFrame(index=range(len(pair_set.images))) if columns is None else columns
            try:
                groups = group_images(known, settings.by, settings.edges, settings.bins)
            except InputError as error:
                raise InputError(f"{pair_set.name}: {error}") from None
        outcome = evaluate_pair_set(pair_set, session.unit(*described), *bootstrap)
        outcomes.append(outcome)
        session.add(add_groups(outcome, pair_set, groups, targets, bootstrap) if groups else outcome)
        similarities.append(
            evaluation.Similarities(pair_set.name, outcome.scores["similarity"], np.asarray(pair_set.same))
        )
    races = [pair_set for pair_set in sets if pair_set.name in map(rfw_name, RACES)]
    if len(races) == len(RACES) and outcomes:
        session.add(race_groups(sets, outcomes, targets, bootstrap))
    if settings.plot and similarities:
        with write_aside(Path(settings.plot)) as aside:
            evaluation.verification_figure(similarities).savefig(aside)
    session.close()


@dataclasses.dataclass
class IJBSettings(EvaluationSettings):
    """Flags of `ijb`."""

    root: str = setting("", "Folder IJBB or IJBC as InsightFace distributes it: meta/ and loose_crop/; required.")
    norms: bool = setting(True, "Weight an image by the norm of its embedding.")
    detection_scores: bool = setting(True, "Weight an image by the detector's score.")
    pool_first: str = setting("media", POOL_FIRST_HELP, choices=POOLED_FIRST)
    clusters: int = setting(4, CLUSTERS_HELP)
    missing: str = setting(
        "refuse", "Refuse missing images and templates without images, or count them as never found.", choices=MISSING
    )


def ijb(settings: IJBSettings) -> None:
    """IJB-B and IJB-C: verification and identification of templates."""
    session = Session(settings)
    required(settings, "root")
    with session.listing_problems():
        check_images = session.needs_images or settings.missing == "count"
        faces = read_ijb(settings.root, check_images, settings.missing)
    described = faces.name, faces.images, faces.keys
    if settings.list_images:
        session.list_images(*described)
    else:
        views = session.views(*described)
        flip = settings.flip and views.shape[1] > 1
        weights = settings.norms, settings.detection_scores
        pooled = settings.pool_first, settings.clusters
        session.add(evaluate_ijb(faces, views, flip, *weights, settings.replicates, settings.seed, *pooled))
    session.close()


def megaface(settings: MegaFaceSettings) -> None:
    """MegaFace with FaceScrub's probes: rank-1 and TAR among up to a million distractors."""
    session = Session(settings, sources=("features", *SOURCES))
    with session.listing_problems():
        if settings.list_images:
            for faces in face_images(settings, check_images=False):
                session.list_images(faces.name, faces.images, faces.keys)
        else:
            check_images = session.needs_images or settings.missing == "count"
            session.add(megaface_outcome(settings, session.unit_blocks, check_images))
    session.close()


@dataclasses.dataclass
class SCfaceSettings(EvaluationSettings):
    """Flags of `scface`."""

    root: str = setting("", "The folder of SCface: SCface_database, or all images in one folder; required.")
    test_subjects: Optional[str] = setting(
        None, "A list of the subjects to search, a number a line; default: the 80 that --split_seed leaves."
    )
    split_seed: int = setting(0, "Seed of the draw of 50 training subjects of 130; train with the same one.")
    cameras: list[int] = setting(list(VISIBLE_CAMERAS), "The cameras whose images to search with, of 1 to 7.")
    all_mugshots: bool = setting(False, "Search among the mugshots of all 130 subjects.")
    mugshots: str = setting("cropped", "Which of the official folders of mugshots to take.", choices=MUGSHOTS)
    missing: str = setting("refuse", "Refuse missing images, or count them as never found.", choices=MISSING)


def scface(settings: SCfaceSettings) -> None:
    """SCface: faces of surveillance cameras at three distances among mugshots."""
    session = Session(settings)
    required(settings, "root")
    with session.listing_problems():
        subjects = read_subjects(settings.test_subjects) if settings.test_subjects else None
        gallery_set = read_scface(
            settings.root,
            subjects or split_subjects(settings.split_seed)[1],
            settings.cameras,
            gallery_subjects=range(1, NUM_SUBJECTS + 1) if settings.all_mugshots else None,
            mugshots=settings.mugshots,
            missing=settings.missing,
            check_images=session.needs_images or settings.missing == "count",
        )
    _identify(session, gallery_set, evaluate_scface, settings)


@dataclasses.dataclass
class TinyFaceSettings(EvaluationSettings):
    """Flags of `tinyface`."""

    root: str = setting("", "The folder of TinyFace's lists, Testing_Set, or one that holds it; required.")
    images: Optional[str] = setting(
        None, "A folder with other, aligned images in Gallery_Match, Probe and Gallery_Distractor."
    )
    missing: str = setting("refuse", "Refuse missing images, or count them as never found.", choices=MISSING)


def tinyface(settings: TinyFaceSettings) -> None:
    """TinyFace: tiny faces among tiny faces and distractors."""
    session = Session(settings)
    required(settings, "root")
    with session.listing_problems():
        check_images = session.needs_images or settings.missing == "count"
        gallery_set = read_tinyface(settings.root, settings.images, settings.missing, check_images)
    _identify(session, gallery_set, evaluate_tinyface, settings)


def people(settings: PeopleSettings) -> None:
    """People of your own: 1:1 and search with strangers, thresholds for wanted error rates, and rates by group."""
    session = Session(settings)
    with open_people(settings) as faces:
        described = faces.name, faces.images, faces.keys, faces.table()
        if settings.list_images:
            session.list_images(*described)
        else:
            benchmark = make_benchmark(faces, settings)
            session.add(evaluate_people(benchmark, session.unit(*described), settings.replicates, settings.seed))
    session.close()


def _identify(
    session: Session, faces: GallerySet, evaluate: Callable[..., Outcome], settings: EvaluationSettings
) -> None:
    described = faces.name, faces.images, faces.keys
    if settings.list_images:
        session.list_images(*described)
    else:
        session.add(evaluate(faces, session.unit(*described), settings.replicates, settings.seed))
    session.close()


@dataclasses.dataclass
class CompareSettings:
    """Flags of `compare`."""

    baseline: str = setting("", "The stored evaluation (--store) of the model to be better than; required.")
    candidate: str = setting("", "The stored evaluation of the other model; required.")
    easy: Optional[str] = setting(None, "An easy set of pairs, to compare the gap between it and --hard too.")
    hard: Optional[str] = setting(None, "The hard set of --easy.")
    replicates: int = setting(1000, "Bootstrap replicates, at least 40; fewer are drawn of very many pairs.")
    seed: int = setting(0, "Seed of the bootstrap.")
    output: Optional[str] = setting(None, "Also write the comparison to this CSV file.")


def compare(settings: CompareSettings) -> None:
    """Is one model better than another on the same pairs or probes? Differences, with intervals and p-values."""
    required(settings, "baseline", "candidate")
    models = [read_evaluation(name, getattr(settings, name)) for name in ("baseline", "candidate")]
    check_comparable(models)
    for flag, name in (("easy", settings.easy), ("hard", settings.hard)):
        if name and any(name not in model.sets or not model.sets[name].has_pairs for model in models):
            raise InputError(f"--{flag}={name}: not both models have a set of pairs of that name; choose another set")
    differences = compare_models(models, settings.replicates, settings.seed, settings.easy, settings.hard)
    if not differences:
        raise InputError(f"{settings.baseline} and {settings.candidate} share no set with scores; see --store")
    table = pd.DataFrame(map(dataclasses.asdict, differences)).drop(columns="model").rename(columns={"set_name": "set"})
    if settings.output:
        with write_aside(Path(settings.output)) as aside:
            table.to_csv(aside, index=False)
    print(table.to_string(index=False, float_format="{:.4f}".format), file=sys.stderr)
    rows = table.astype(object).where(table.notna(), None).to_dict("records")
    print(*map(json_line, rows), sep="\n")


COMMANDS: dict[str, tuple[Callable[[Any], None], type]] = {
    "pairs": (pairs, PairsSettings),
    "ijb": (ijb, IJBSettings),
    "megaface": (megaface, MegaFaceSettings),
    "scface": (scface, SCfaceSettings),
    "tinyface": (tinyface, TinyFaceSettings),
    "survface": (survface, SurvFaceSettings),
    "ijbs": (ijbs, JanusSurveillanceSettings),
    "people": (people, PeopleSettings),
    "compare": (compare, CompareSettings),
}

if __name__ == "__main__":
    command.run_subcommands(COMMANDS, default="pairs")
