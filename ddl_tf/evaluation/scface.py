"""SCface: rank-1 by the distance of the camera."""

from typing import Any

import numpy as np

from ddl_tf.evaluation.gallery_search import count_missing, find_mates
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.importers.scface import DISTANCES
from ddl_tf.metrics.bootstrap import bootstrap_rates
from ddl_tf.metrics.ranks import rank_rates
from ddl_tf.protocols.gallery_set import GallerySet

RANKS = (1, 5, 10)


def evaluate_scface(scface: GallerySet, embeddings: np.ndarray, replicates: int = 1000, seed: int = 0) -> Outcome:
    """Identify the faces of surveillance cameras among mugshots; a tie counts against the probe.

    `embeddings` are `[images, dim]` of unit norm, in the order of the set's images. The result has counts, `rank1`,
    `rank5` and `rank10`, each with `d1`, `d2`, `d3` and `average`, the mean of the three as in the papers, and, with
    `replicates` of the bootstrap over subjects, `intervals`. The scores are `rank`, `condition`, and `person`
    `[probes]`.
    """
    rank = find_mates(scface, embeddings).rank
    chosen = {f"d{distance}": scface.condition == f"d{distance}" for distance in DISTANCES}
    result: dict[str, Any] = {
        "set": scface.name,
        "protocol": "identification",
        "subjects": len(np.unique(scface.probe_people)),
        "gallery": len(scface.gallery),
        "probes": int(np.sum(scface.condition == f"d{DISTANCES[0]}")),
        **count_missing(scface),
    }
    for k in RANKS:
        rates = {name: float(rank_rates(rank[probes], [k])[0]) for name, probes in chosen.items()}
        result[f"rank{k}"] = {**rates, "average": float(np.mean(list(rates.values())))}
    if replicates:
        # Every distance has as many probes as another, so that the mean of all probes is that of the three means.
        chosen["average"] = np.ones(len(rank), bool)
        people = scface.probe_people
        result["intervals"] = {
            f"rank{k}@{name}": bootstrap_rates(
                (rank > 0)[probes] & (rank <= k)[probes], replicates, seed, people[probes]
            )
            for k in RANKS
            for name, probes in chosen.items()
        }
    return Outcome(result, {"rank": rank, "condition": scface.condition, "person": scface.probe_people})
