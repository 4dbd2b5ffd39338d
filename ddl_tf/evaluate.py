"""Evaluate a model, one command a protocol: `python -m ddl_tf.evaluate COMMAND`.

    python -m ddl_tf.evaluate --model=runs/ddl --bin=lfw_dev.bin --cfp_root=cfp --cfp_folds=4,5

Each prints one JSON object per set on the last lines of its output. A table and the progress go to stderr.
"""

from ddl_tf import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf.errors import InputError
from ddl_tf.evaluation.ijb import evaluate_ijb
from ddl_tf.evaluation.image_columns import image_columns, read_columns
from ddl_tf.evaluation.outcome import Outcome
from ddl_tf.evaluation.pairs import evaluate_pair_set
from ddl_tf.evaluation.plots import Similarities, check_format, verification_figure
from ddl_tf.evaluation.rfw import summarise_rfw
from ddl_tf.evaluation.session import EvaluationSettings, Session
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.files import write_aside
from ddl_tf.protocols.ijb import MISSING, read_ijb
from ddl_tf.protocols.rfw import RACES, rfw_name
from ddl_tf.settings import setting


def _required(settings: Any, *names: str) -> None:
    for name in names:
        if not getattr(settings, name):
            raise InputError(f"--{name} is missing; see --help")


@dataclasses.dataclass
class PairsSettings(VerificationSets, EvaluationSettings):
    """Flags of `pairs`."""

    measure: bool = setting(
        False,
        "With --store: measure resolution, sharpness and light of the images, for accuracy by quality in a report.",
    )
    columns: list[str] = setting(
        [], "With --store: CSV files with a column `key` and further ones, such as yaw, to keep with the images."
    )
    plot: Optional[str] = setting(None, "Draw ROC and similarities of every set to this file (.png, .pdf or .svg).")


def pairs(settings: PairsSettings) -> None:
    """Verification of pairs: LFW, CFP, AgeDB-30, CALFW, CPLFW, XQLFW, RFW, any .bin, and stored sets."""
    session = Session(settings)
    # Before the work, not after it.
    if settings.plot:
        check_format(settings.plot)
    with session.listing_problems():
        sets = load_sets(settings, check_images=session.needs_images)
    if (settings.measure or settings.columns) and not settings.store:
        raise InputError("--measure and --columns need --store: they are kept with the images of a set")
    if not sets:
        raise InputError("no verification set: name one with --bin, --cfp_root, --lfw_root and --lfw_pairs, or --pairs")
    given = read_columns(settings.columns)
    similarities, results = [], []
    for one in sets:
        columns = image_columns(one, given, settings.measure)
        embeddings = session.unit(one.name, one.images, keys=one.keys, columns=columns)
        if session.lists_only:
            continue
        outcome = evaluate_pair_set(one, embeddings, settings.replicates, settings.seed)
        session.add(outcome)
        similarities.append(Similarities(one.name, outcome.scores["similarity"], np.asarray(one.same)))
        results.append(outcome.result)
    races = [result for result in results if result["set"] in map(rfw_name, RACES)]
    if len(races) == len(RACES):
        session.add(Outcome(summarise_rfw(races), {}))
    if settings.plot and similarities:
        with write_aside(Path(settings.plot)) as aside:
            verification_figure(similarities).savefig(aside)
    session.close()


@dataclasses.dataclass
class IJBSettings(EvaluationSettings):
    """Flags of `ijb`."""

    root: str = setting("", "Folder IJBB or IJBC as InsightFace distributes it: meta/ and loose_crop/; required.")
    norms: bool = setting(True, "Weight an image by the norm of its embedding.")
    detection_scores: bool = setting(True, "Weight an image by the detector's score.")
    missing: str = setting(
        "refuse", "Refuse missing images and templates without images, or count them as never found.", choices=MISSING
    )


def ijb(settings: IJBSettings) -> None:
    """IJB-B and IJB-C: verification and identification of templates."""
    session = Session(settings)
    _required(settings, "root")
    with session.listing_problems():
        check_images = session.needs_images or settings.missing == "count"
        one = read_ijb(settings.root, check_images, settings.missing)
    views = session.views(one.name, one.images, keys=one.keys)
    if not session.lists_only:
        flip = settings.flip and views.shape[1] > 1
        weights = {"use_norms": settings.norms, "use_scores": settings.detection_scores}
        session.add(evaluate_ijb(one, views, flip, **weights, replicates=settings.replicates, seed=settings.seed))
    session.close()


COMMANDS: dict[str, tuple[Callable[[Any], None], type]] = {
    "pairs": (pairs, PairsSettings),
    "ijb": (ijb, IJBSettings),
}

if __name__ == "__main__":
    command.run_subcommands(COMMANDS, default="pairs")
