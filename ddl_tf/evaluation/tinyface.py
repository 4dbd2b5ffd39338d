"""TinyFace: rank-k and mean average precision among distractors."""

from typing import Any

import numpy as np

from ddl_tf.evaluation.gallery_search import count_missing, find_mates
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics.bootstrap import bootstrap_rates
from ddl_tf.metrics.ranks import average_precisions, rank_rates
from ddl_tf.protocols.gallery_set import NO_IMAGE, GallerySet
from ddl_tf.protocols.tinyface import DISTRACTOR

# AdaFace and later papers quote 1, 5 and 20; the official script prints 1, 5, 10, 20 and 50, and the mAP.
RANKS = (1, 5, 10, 20, 50)
OFFICIAL_COUNTS = {"gallery": 4443, "distractors": 153428, "probes": 3728}


def evaluate_tinyface(tinyface: GallerySet, embeddings: np.ndarray, replicates: int = 1000, seed: int = 0) -> Outcome:
    """Identify tiny faces among tiny faces and distractors; a tie counts against the probe.

    `embeddings` are `[images, dim]` of unit norm. The result has counts, and whether they are the official ones;
    `rank1` to `rank50`, `map` (the mean of `average_precisions`); and `intervals` of these over people, if there are
    `replicates`. The scores are `rank`, `condition`, `average_precision`, and `person` `[probes]`.
    """
    rank, mate_ranks, num_mates = find_mates(tinyface, embeddings)
    precision = average_precisions(mate_ranks, num_mates)
    is_distractor = tinyface.gallery_people == DISTRACTOR
    counts = {
        "gallery": int(np.sum(~is_distractor)),
        "distractors": int(np.sum(is_distractor)),
        "probes": len(tinyface.probes),
    }
    missing = count_missing(tinyface)
    missing["missing_distractors"] = int(np.sum(tinyface.gallery[is_distractor] == NO_IMAGE))
    missing["missing_gallery"] -= missing["missing_distractors"]
    people = tinyface.probe_people
    rates = {f"rank{k}": float(rate) for k, rate in zip(RANKS, rank_rates(rank, RANKS))}
    result: dict[str, Any] = {
        "set": tinyface.name,
        "protocol": "identification",
        "people": len(np.unique(people)),
        **counts,
        "official_counts": counts == OFFICIAL_COUNTS,
        **missing,
        **rates,
        "map": float(precision.mean()),
    }
    if replicates:
        values = {f"rank{k}": (rank > 0) & (rank <= k) for k in RANKS}
        values["map"] = precision
        result["intervals"] = {
            name: bootstrap_rates(column, replicates, seed, people) for name, column in values.items()
        }
    return Outcome(
        result,
        {"rank": rank, "condition": tinyface.condition, "average_precision": precision, "person": people},
    )
