"""IJB-S: videos of surveillance cameras, as templates, searched among photos and among other videos."""

from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics.bootstrap import bootstrap_rates, few_false_accepts
from ddl_tf.metrics.open_set import tpir_at_false_alarms
from ddl_tf.metrics.pooling import Pooling, TemplateImages, pool_templates
from ddl_tf.metrics.ranks import GalleriesSearch, rank_rates, search_galleries
from ddl_tf.surveillance.ijbs_files import IJBS, TemplateSearch

FPIR_TARGETS = {"1e-2": 1e-2, "1e-1": 1e-1}
RANKS = (1, 5, 10)


def evaluate_ijbs(
    ijbs: IJBS,
    views: np.ndarray,
    pooling: Pooling,
    qualities: Optional[np.ndarray] = None,
    flip: bool = True,
    replicates: int = 1000,
    seed: int = 0,
) -> Outcome:
    """Evaluate the embeddings `[images, views, dim]` of the crops, as the model gave them.

    A tie counts against the probe. A template is pooled from the crops of its video or photos, a media is one of these;
    `qualities` are `[images]`. docs/surveillance.md has the fields of the result. The scores are those of the probes
    that somebody of the galleries is a mate of: `rank`, `condition` (the protocol) and `person`.

    References:
        https://github.com/mk-minchul/AdaFace, validation_lq/PFE/ijbs.py
    """
    if len(views) != len(ijbs.images):
        raise InputError(f"{ijbs.name}: {len(views)} embeddings for {len(ijbs.images)} images; embed this set")
    weights = None if qualities is None else qualities[ijbs.positions]
    images = TemplateImages(ijbs.templates, ijbs.medias, weights, ijbs.positions)
    features, known = pool_templates(views, images, pooling, flip)
    places = pd.Index(known)
    result: dict[str, Any] = {
        "set": ijbs.name,
        "protocol": "template_search",
        "pooling": pooling.name,
        "images": len(ijbs.images),
        "templates": len(ijbs.subjects),
        "missing_templates": len(ijbs.subjects) - len(known),
        **{name: {} for name in ("probes", "gallery", *(f"rank{k}" for k in RANKS))},
        "tpir": {name: {} for name in FPIR_TARGETS},
        "few_false_accepts": [],
    }
    ranks, people = [], []
    for search in ijbs.searches:
        rank, tpir, strangers = _evaluate(ijbs, search, features, places)
        mated = np.isin(ijbs.subjects[search.probes], ijbs.subjects[np.concatenate(search.galleries)])
        if not mated.any():
            raise InputError(f"{ijbs.name}, {search.name}: no probe has a mate in the galleries; get the lists anew")
        result["probes"][search.name] = int(mated.sum())
        result["gallery"][search.name] = sum(map(len, search.galleries))
        for k, rate in zip(RANKS, rank_rates(rank[mated], RANKS)):
            result[f"rank{k}"][search.name] = float(rate)
        for name, value in tpir.items():
            result["tpir"][name][search.name] = value
        result["few_false_accepts"] += [
            f"{name}@{search.name}" for name in few_false_accepts("tpir", FPIR_TARGETS, strangers)
        ]
        ranks.append(rank[mated])
        people.append(ijbs.subjects[search.probes][mated])
    if replicates:
        result["intervals"] = {
            f"rank{k}@{search.name}": bootstrap_rates((rank > 0) & (rank <= k), replicates, seed, person)
            for k in RANKS
            for search, rank, person in zip(ijbs.searches, ranks, people)
        }
    condition = np.repeat([search.name for search in ijbs.searches], list(map(len, ranks)))
    scores = {"rank": np.concatenate(ranks), "condition": condition, "person": np.concatenate(people)}
    return Outcome(result, scores)


def _evaluate(
    ijbs: IJBS, search: TemplateSearch, features: np.ndarray, places: pd.Index
) -> tuple[np.ndarray, dict[str, Optional[float]], int]:
    """Rank of each probe (0: never found), the means of both galleries' TPIR, and the smaller number of strangers."""
    enrolled = [places.get_indexer(pd.Index(gallery)) for gallery in search.galleries]
    subjects = [ijbs.subjects[gallery[place >= 0]] for gallery, place in zip(search.galleries, enrolled)]
    probes, shown = places.get_indexer(pd.Index(search.probes)), ijbs.subjects[search.probes]
    mate = pd.Index(np.concatenate(subjects)).get_indexer(pd.Index(shown[probes >= 0]))
    galleries = [features[place[place >= 0]] for place in enrolled]
    found = search_galleries(features[probes[probes >= 0]], galleries, mate, keep=1)
    rank = np.zeros(len(probes), np.int64)
    rank[probes >= 0] = np.where(mate >= 0, 1 + found.above.sum(axis=0), 0)
    rates: list[np.ndarray] = []
    strangers = []
    for number, gallery in enumerate(search.galleries):
        mated = np.isin(shown, ijbs.subjects[gallery])
        strangers.append(int(np.sum(~mated)))
        rate = _open_set(found, number, mated, probes >= 0, mate)
        rates += [] if rate is None else [rate]
    # Without strangers to a gallery, or anybody of it, there is no rate.
    means = np.mean(rates, axis=0).tolist() if len(rates) == len(enrolled) else [None] * len(FPIR_TARGETS)
    tpir: dict[str, Optional[float]] = dict(zip(FPIR_TARGETS, means))
    return rank, tpir, min(strangers)


def _open_set(
    found: GalleriesSearch, number: int, mated: np.ndarray, searched: np.ndarray, mate: np.ndarray
) -> Optional[np.ndarray]:
    """The TPIR at each target in one gallery, whose people are `mated` and all others strangers."""
    if mated.all() or not mated.any():
        return None
    rank, best = np.zeros(len(mated), np.int64), np.full(len(mated), -np.inf)
    similarity = best.copy()
    rank[searched] = np.where(mate >= 0, 1 + found.above[number], 0)
    similarity[searched], best[searched] = found.mate, found.best_other[number]
    return tpir_at_false_alarms(rank[mated], similarity[mated], best[~mated], list(FPIR_TARGETS.values()))
