"""IJB-B and IJB-C: verification of pairs of templates, and identification in two galleries."""

from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrap_rates, few_false_accepts, percentile_interval
from ddl_tf.metrics.pair_people import linked_people, people_of_pairs
from ddl_tf.metrics.pooling import Pooling, TemplateImages, pool_templates
from ddl_tf.metrics.ranks import GalleriesSearch, pooled_tpir, rank_rates, search_galleries, tpir_at_fpir
from ddl_tf.metrics.template_bootstrap import replicates_over_people
from ddl_tf.metrics.templates import NEVER, template_similarities
from ddl_tf.protocols.ijb import IJB, TemplateList, TemplatePairs

FAR_TARGETS = {"1e-6": 1e-6, "1e-5": 1e-5, "1e-4": 1e-4, "1e-3": 1e-3, "1e-2": 1e-2, "1e-1": 1e-1}
FPIR_TARGETS = {"1e-2": 1e-2, "1e-1": 1e-1}
RANKS = (1, 5, 10)


def evaluate_ijb(
    ijb: IJB,
    views: np.ndarray,
    flip: bool = True,
    use_norms: bool = True,
    use_scores: bool = True,
    replicates: int = 1000,
    seed: int = 0,
    pool_first: str = "media",
    clusters: int = 4,
) -> Outcome:
    """Evaluate the embeddings of all images of IJB-B or IJB-C, `[images, views, dim]` as the model gave them.

    In its template an image counts by the norm of its embedding (`use_norms`) and its detection score (`use_scores`);
    medias, or whatever `pool_first` says (see `Pooling`), are pooled first.
    docs/ijb.md has the fields of the result: `verification` is None without a list of pairs, `identification` and
    `open_set` are without lists, means of `open_set` if a gallery has no mated, or no non-mated probes. The similarity
    of a pair without an image is -2, and `template_person` is whom each template shows by the lists of identification,
    or else as the same pairs link them.
    """
    pooling = Pooling(use_norms, use_scores, pool_first, clusters)
    features, ids = pool_templates(views, TemplateImages(ijb.templates, ijb.medias, ijb.scores), pooling, flip)
    known = pd.Index(ids)
    result: dict[str, Any] = {
        "set": ijb.name,
        "protocol": "templates",
        "images": len(ijb.templates),
        "templates": len(ids),
        "missing_images": len(ijb.missing_images),
        "flip": flip,
        "norms": use_norms,
        "detection_scores": use_scores,
        "pooling": pooling.name,
        "verification": None,
        "identification": None,
        "open_set": None,
        "intervals": {},
    }
    scores: dict[str, np.ndarray] = {}
    if ijb.pairs is not None:
        pairs = ijb.pairs
        similarity = template_similarities(features, _places(known, pairs.first), _places(known, pairs.second))
        result["verification"] = _verify(ijb.name, similarity, pairs)
        scores = {"similarity": similarity.astype(np.float32), **vars(pairs)}
        scores["template"], scores["template_person"] = _people_of_templates(ijb, pairs)
        people = people_of_pairs(scores)
        if replicates and people:
            values = replicates_over_people(
                similarity, pairs.same, people.first, people.second, FAR_TARGETS, replicates, seed
            )
            for name, column in values.items():
                result["intervals"][f"verification@{name}"] = percentile_interval(column)
    if ijb.probes is not None:
        result["identification"], result["open_set"], rank = _identify(features, known, ijb, ijb.probes)
        subjects = np.asarray(ijb.probes.subjects)
        scores.update(rank=rank, condition=np.full(len(rank), ""), person=subjects)
        for k in RANKS if replicates else ():
            interval = bootstrap_rates((rank > 0) & (rank <= k), replicates, seed, subjects)
            result["intervals"][f"identification@rank@{k}"] = interval
    return Outcome(result, scores)


def _places(known: pd.Index, templates: np.ndarray) -> np.ndarray:
    """Positions of templates among the features; -1 of those without images."""
    return known.get_indexer(pd.Index(templates)).astype(np.int32)


def _verify(name: str, similarity: np.ndarray, pairs: TemplatePairs) -> dict[str, Any]:
    """The numbers of 1:1."""
    same = pairs.same
    if same.all() or not same.any():
        raise InputError(f"{name}: {len(same)} pairs, of which {np.sum(same)} are same: both kinds are needed")
    false, true = roc.corner_roc(similarity, same)
    far, tar = false / false[-1], true / true[-1]
    return {
        "pairs": len(same),
        "same": int(np.sum(same)),
        "missing_pairs": int(np.sum(similarity == NEVER)),
        "tar": {name: roc.nearest_tar(far, tar, target) for name, target in FAR_TARGETS.items()},
        "auc": roc.auc(far, tar),
        "eer": roc.eer(far, tar),
        "few_false_accepts": few_false_accepts("tar", FAR_TARGETS, int(np.sum(~same))),
    }


def _people_of_templates(ijb: IJB, pairs: TemplatePairs) -> tuple[np.ndarray, np.ndarray]:
    """The templates of the pairs, sorted, and whom each shows: by the lists of identification, or by the same pairs."""
    known, person = linked_people(pairs.first, pairs.second, pairs.same)
    lists = [*ijb.galleries, *([ijb.probes] if ijb.probes is not None else [])]
    if lists:
        templates, places = np.unique(np.concatenate([part.templates for part in lists]), return_index=True)
        if np.isin(known, templates).all():
            subjects = np.concatenate([part.subjects for part in lists])[places]
            person = np.unique(subjects[np.searchsorted(templates, known)], return_inverse=True)[1]
    return known, person.astype(np.int32)


def _identify(
    features: np.ndarray, known: pd.Index, ijb: IJB, probes: TemplateList
) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    enrolled = [_places(known, gallery.templates) for gallery in ijb.galleries]
    # Of the templates that have an image, gallery after gallery.
    subjects = np.concatenate([gallery.subjects[places >= 0] for gallery, places in zip(ijb.galleries, enrolled)])
    places_of_probes = _places(known, probes.templates)
    searched = places_of_probes >= 0
    mate = pd.Index(subjects).get_indexer(pd.Index(probes.subjects[searched]))
    search = search_galleries(
        features[places_of_probes[searched]],
        [features[places[places >= 0]] for places in enrolled],
        mate,
        keep=int(np.ceil(len(probes.templates) * max(FPIR_TARGETS.values()))),
    )
    rank = np.zeros(len(searched), np.int32)
    rank[searched] = np.where(mate >= 0, 1 + search.above.sum(axis=0), 0)
    identification = {
        "gallery": sum(map(len, enrolled)),
        "probes": len(searched),
        "missing_gallery": int(sum(np.sum(places < 0) for places in enrolled)),
        "missing_probes": int(np.sum(~searched)),
        "rank": _shares(rank),
        "tpir": {name: pooled_tpir(search, len(searched), target) for name, target in FPIR_TARGETS.items()},
        "few_false_accepts": few_false_accepts("tpir", FPIR_TARGETS, len(searched)),
    }
    return identification, _open_set(ijb, probes, searched, mate, search), rank


def _shares(rank: np.ndarray) -> dict[str, float]:
    return dict(zip(map(str, RANKS), rank_rates(rank, RANKS).tolist()))


def _open_set(
    ijb: IJB, probes: TemplateList, searched: np.ndarray, mate: np.ndarray, search: GalleriesSearch
) -> dict[str, Any]:
    """For each gallery, with the probes whose subject is in it as mated, and all others as non-mated."""
    galleries: dict[str, Any] = {}
    similarity = np.full(len(searched), -np.inf)
    similarity[searched] = search.mate
    for number, gallery in enumerate(ijb.galleries):
        mated = np.isin(probes.subjects, gallery.subjects)
        rank, best = np.zeros(len(searched), np.int32), np.full(len(searched), -np.inf)
        rank[searched] = np.where(mate >= 0, 1 + search.above[number], 0)
        best[searched] = search.best_other[number]
        tpir: Optional[dict[str, float]] = None
        if mated.any() and not mated.all():
            rates, _ = tpir_at_fpir(rank[mated], similarity[mated], best[~mated], list(FPIR_TARGETS.values()))
            tpir = dict(zip(FPIR_TARGETS, rates.tolist()))
        galleries[gallery.name] = {
            "gallery": len(gallery.templates),
            "mated": int(mated.sum()),
            "non_mated": int(np.sum(~mated)),
            "rank": _shares(rank[mated]) if mated.any() else None,
            "tpir": tpir,
            "few_false_accepts": few_false_accepts("tpir", FPIR_TARGETS, int(np.sum(~mated))) if tpir else [],
        }
    parts = list(galleries.values())
    means = {
        kind: pd.DataFrame([part[kind] for part in parts]).mean().to_dict()
        if all(part[kind] for part in parts)
        else None
        for kind in ("rank", "tpir")
    }
    few = dict.fromkeys(name for part in parts for name in part["few_false_accepts"]) if means["tpir"] else {}
    return {**means, "few_false_accepts": list(few), "galleries": galleries}
