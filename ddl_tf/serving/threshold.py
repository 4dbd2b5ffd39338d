"""The similarity from which on two images are called the same person, chosen from a stored evaluation."""

import dataclasses
from pathlib import Path
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embedding_file import is_fingerprint
from ddl_tf.evaluation.stored import StoredEvaluation
from ddl_tf.metrics.roc import threshold_at_far

# With fewer the measured rate says little of the true one: of 3 the interval of 95% is from 0.2 to 2.9 times the rate.
MIN_ACCEPTED = 3


@dataclasses.dataclass(frozen=True)
class Threshold:
    """A threshold and where it comes from.

    Attributes:
        value: the cosine similarity from which on two images are accepted as one person.
        far: the false accept rate that was asked for, 0..1.
        set: the name of the set that it was chosen on.
        protocol: of that set.
        evaluation: provenance: the `folder` of the evaluation, `different` and `same`, the numbers of pairs, `far` and
            `tar`, the rates that they have at the threshold, and what the evaluation says that it was made of and with.
    """

    value: float
    far: float
    set: str
    protocol: str
    evaluation: dict[str, Any]


def choose_threshold(folder: str, name: str, far: float) -> Threshold:
    """Choose a threshold on a set of pairs of a stored evaluation (`python -m ddl_tf.evaluate ... --store`).

    Args:
        folder: of the evaluation.
        name: of the set.
        far: the false accept rate that it may have there, above 0 and below 1.

    Raises:
        InputError: if there is no such set, it has no pairs, or too few different ones to measure that rate.

    Example:
        >>> choose_threshold("evaluations/ddl", "lfw", far=1e-3).value  # doctest: +SKIP
        0.31
    """
    if not 0 < far < 1:
        raise InputError(f"false accept rate {far:g}: must be above 0 and below 1, such as 1e-3")
    stored = StoredEvaluation(folder)
    scores, result = stored.scores(name), stored.result(name)
    if not {"similarity", "same"} <= scores.keys():
        raise InputError(f"{folder}: the set {name} ({result.get('protocol')}) has no pairs; name a set of pairs")
    similarity, same = scores["similarity"], scores["same"].astype(bool)
    different = int(np.sum(~same))
    needed = int(np.ceil(MIN_ACCEPTED / far * (1 - 1e-9)))
    if different < needed:
        raise InputError(
            f"{folder}: {name} has {different:,} different pairs, too few to measure a false accept rate of {far:g}, "
            f"which takes {needed:,}; use a larger set, or a higher rate"
        )
    value = threshold_at_far(similarity, same, far)
    accepted = similarity.astype(np.float32) >= np.float32(value)
    evaluation = {
        "folder": str(Path(folder).resolve()),
        "different": different,
        "same": int(np.sum(same)),
        "far": float(np.mean(accepted[~same])),
        "tar": float(np.mean(accepted[same])) if same.any() else None,
        **{key: content for key, content in stored.provenance(name).items() if key not in ("far", "tar")},
    }
    return Threshold(value, far, name, str(result["protocol"]), evaluation)


def _check_checkpoint(where: str, source: dict[str, Any], checkpoint: Path) -> None:
    if "model" not in source or not is_fingerprint(source.get("sha256"), checkpoint):
        made_of = source.get("model") or source.get("embeddings") or "unknown embeddings"
        advice = "evaluate that one: numbers of another model mean nothing for it"
        raise InputError(f"{where} was evaluated with {made_of}, not with {checkpoint}; {advice}")


def check_evaluated(folder: str, checkpoint: Path) -> None:
    """Refuse a stored evaluation of another model than the `.keras` file `checkpoint`.

    Raises:
        InputError: naming the first set that was evaluated with something else.
    """
    stored = StoredEvaluation(folder)
    for name in stored.sets:
        provenance = stored.provenance(name)
        # A result of several sets of images has the source of each, a summary of other results has none.
        parts = [part for part in provenance.values() if isinstance(part, dict) and "sha256" in part]
        for source in [provenance] if "sha256" in provenance else parts:
            _check_checkpoint(f"{folder}: {name}", source, checkpoint)


def check_same_model(threshold: Threshold, checkpoint: Path, flip: bool) -> None:
    """Refuse a threshold that was chosen with other embeddings than those that are served.

    Raises:
        InputError: if the evaluation was of another model than `checkpoint`, or with the other choice of `flip`.
    """
    evaluation = threshold.evaluation
    where = f"{evaluation['folder']}: {threshold.set}"
    _check_checkpoint(where, evaluation, checkpoint)
    if evaluation.get("flip") is not flip:
        evaluated, served = ("--flip" if mirrored else "--noflip" for mirrored in (evaluation.get("flip"), flip))
        raise InputError(f"{where} was evaluated with {evaluated}, the export is with {served}; use the same in both")
