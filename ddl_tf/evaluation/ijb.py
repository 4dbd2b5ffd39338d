"""IJB-B and IJB-C: verification of pairs of templates, and identification in two galleries."""

from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrap_rates, few_false_accepts
from ddl_tf.metrics.pair_people import linked_people, people_of_pairs
from ddl_tf.metrics.template_bootstrap import intervals_over_people
from ddl_tf.metrics.template_roc import corner_roc, nearest_tar
from ddl_tf.metrics.template_search import Search, open_set_tpir, pooled_tpir, search_galleries
from ddl_tf.metrics.templates import NEVER, template_features, template_similarities
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
) -> Outcome:
    """Evaluate the embeddings of all images of IJB-B or IJB-C.

    Args:
        ijb: the set.
        views: `[images, views, dim]`, as the model gave them, in the order of the set's images; a memory map will do.
        flip: whether to add the second view, that of the mirror image.
        use_norms: whether an image counts in its template by the norm of its embedding.
        use_scores: whether an image counts in its template by its detection score.
        replicates: of the bootstrap over people that gives the intervals; 0 gives none.
        seed: of the bootstrap.

    Returns:
        Its `result`, rates 0..1:

        - `set`, `protocol` ("templates"), `images`, `templates`, `missing_images`; `flip`, `norms`, `detection_scores`.
        - `verification`: `pairs`, `same`, `missing_pairs` (never accepted, a template has no image), `tar` by FAR as
          `ijb_11.py`, see `nearest_tar`, `auc`, `eer`; None without a list of pairs.
        - `identification`: `gallery`, `probes`, `missing_gallery` and `missing_probes` (without images, never found),
          and as `ijb_1n.py`, in both galleries together: `rank` and `tpir`, see `pooled_tpir`; None without lists.
        - `open_set`: for each of the `galleries` its number of templates, of `mated` and `non_mated` probes, `rank`
          (share of mated probes whose mate is at rank 1, 5, 10) and `tpir`, see `tpir_at_fpir`; `rank` and `tpir` are
          the means over the galleries. None if a gallery has no mated, or no non-mated probes.
        - In each of these `few_false_accepts`: the names of the rates, such as "tar@1e-6", that fewer than three false
          accepts decide: not reliable, but comparable with those of the scripts.
        - `intervals`: of `verification@auc`, `@eer` and `@tar@...` and `identification@rank@...`.

        Its `scores`: of pairs `similarity` float32 (-2 if a template has no image), `same`, and `first`, `second`, the
        numbers of the templates; `template` `[templates]`, their numbers, and `template_person`, whom each shows (a
        number), by the lists of identification, or else as the same pairs link them; of probes `rank` in both galleries
        together (0 = never found), `condition` ("") and `person`.

    Raises:
        InputError: if the embeddings are not those of the set, or all pairs are same or none is.
    """
    features, ids = template_features(views, ijb.templates, ijb.medias, ijb.scores, flip, use_norms, use_scores)
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
        "verification": None,
        "identification": None,
        "open_set": None,
        "intervals": {},
    }
    scores: dict[str, np.ndarray] = {}
    if ijb.pairs is not None:
        similarity = _pair_similarities(features, known, ijb.pairs)
        result["verification"] = _verify(ijb.name, similarity, ijb.pairs)
        scores.update(
            similarity=similarity.astype(np.float32),
            same=ijb.pairs.same,
            first=ijb.pairs.first,
            second=ijb.pairs.second,
        )
        scores["template"], scores["template_person"] = _people_of_templates(ijb, ijb.pairs)
        if replicates:
            intervals = _intervals(scores, similarity, replicates, seed)
            result["intervals"] = {f"verification@{key}": interval for key, interval in intervals.items()}
    if ijb.probes is not None:
        result["identification"], result["open_set"], rank = _identify(features, known, ijb, ijb.probes)
        people = np.asarray(ijb.probes.subjects)
        scores.update(rank=rank, condition=np.full(len(rank), ""), person=people)
        if replicates:
            found = {most: (rank > 0) & (rank <= most) for most in RANKS}
            result["intervals"].update(
                {
                    f"identification@rank@{most}": bootstrap_rates(correct, replicates, seed, people)
                    for most, correct in found.items()
                }
            )
    return Outcome(result, scores)


def _places(known: pd.Index, templates: np.ndarray) -> np.ndarray:
    """Positions of templates among the features; -1 of those without images."""
    return known.get_indexer(pd.Index(templates)).astype(np.int32)


def _pair_similarities(features: np.ndarray, known: pd.Index, pairs: TemplatePairs) -> np.ndarray:
    return template_similarities(features, _places(known, pairs.first), _places(known, pairs.second))


def _verify(name: str, similarity: np.ndarray, pairs: TemplatePairs) -> dict[str, Any]:
    """The numbers of 1:1."""
    same = pairs.same
    if same.all() or not same.any():
        raise InputError(f"{name}: {len(same)} pairs, of which {np.sum(same)} are same: both kinds are needed")
    false, true = corner_roc(similarity, same)
    far, tar = false / false[-1], true / true[-1]
    return {
        "pairs": len(same),
        "same": int(np.sum(same)),
        "missing_pairs": int(np.sum(similarity == NEVER)),
        "tar": {key: nearest_tar(far, tar, target) for key, target in FAR_TARGETS.items()},
        "auc": roc.auc(far, tar),
        "eer": roc.eer(far, tar),
        "few_false_accepts": few_false_accepts("tar", FAR_TARGETS, int(np.sum(~same))),
    }


def _people_of_templates(ijb: IJB, pairs: TemplatePairs) -> tuple[np.ndarray, np.ndarray]:
    """The templates of the pairs, sorted, and whom each shows: by the lists of identification, or by the same pairs."""
    known, person = linked_people(pairs.first, pairs.second, pairs.same)
    lists = [*ijb.galleries, *([ijb.probes] if ijb.probes is not None else [])]
    if lists:
        templates, places = np.unique(np.concatenate([one.templates for one in lists]), return_index=True)
        if np.isin(known, templates).all():
            subjects = np.concatenate([one.subjects for one in lists])[places]
            person = np.unique(subjects[np.searchsorted(templates, known)], return_inverse=True)[1]
    return known, person.astype(np.int32)


def _intervals(
    scores: dict[str, np.ndarray], similarity: np.ndarray, replicates: int, seed: int
) -> dict[str, list[float]]:
    people = people_of_pairs(scores)
    assert people is not None
    return intervals_over_people(similarity, scores["same"], people.first, people.second, FAR_TARGETS, replicates, seed)


def _identify(
    features: np.ndarray, known: pd.Index, ijb: IJB, probes: TemplateList
) -> tuple[dict[str, Any], dict[str, Any], np.ndarray]:
    enrolled = [_places(known, gallery.templates) for gallery in ijb.galleries]
    # Of the templates that have an image, gallery after gallery.
    subjects = np.concatenate([one.subjects[places >= 0] for one, places in zip(ijb.galleries, enrolled)])
    searched = _places(known, probes.templates)
    there = searched >= 0
    mate = pd.Index(subjects).get_indexer(pd.Index(probes.subjects[there]))
    found = search_galleries(
        features[searched[there]],
        [features[places[places >= 0]] for places in enrolled],
        mate,
        keep=int(np.ceil(len(probes.templates) * max(FPIR_TARGETS.values()))),
    )
    rank = np.zeros(len(there), np.int32)
    rank[there] = np.where(mate >= 0, 1 + found.above.sum(axis=0), 0)
    identification = {
        "gallery": sum(map(len, enrolled)),
        "probes": len(there),
        "missing_gallery": int(sum(np.sum(places < 0) for places in enrolled)),
        "missing_probes": int(np.sum(~there)),
        "rank": _shares(rank),
        "tpir": {key: pooled_tpir(found, len(there), target) for key, target in FPIR_TARGETS.items()},
        "few_false_accepts": few_false_accepts("tpir", FPIR_TARGETS, len(there)),
    }
    return identification, _open_set(ijb, probes, there, mate, found), rank


def _shares(rank: np.ndarray) -> dict[str, float]:
    return {str(most): float(np.mean((rank >= 1) & (rank <= most))) for most in RANKS}


def _open_set(ijb: IJB, probes: TemplateList, there: np.ndarray, mate: np.ndarray, found: Search) -> dict[str, Any]:
    """For each gallery, with the probes whose subject is in it as mated, and all others as non-mated."""
    galleries: dict[str, Any] = {}
    similarity = np.full(len(there), -np.inf)
    similarity[there] = found.mate
    for number, gallery in enumerate(ijb.galleries):
        mated = np.isin(probes.subjects, gallery.subjects)
        rank, best = np.zeros(len(there), np.int32), np.full(len(there), -np.inf)
        rank[there] = np.where(mate >= 0, 1 + found.above[number], 0)
        best[there] = found.best_other[number]
        tpir: Optional[dict[str, float]] = None
        if mated.any() and not mated.all():
            tpir = {
                key: open_set_tpir(rank[mated] == 1, similarity[mated], best[~mated], target)
                for key, target in FPIR_TARGETS.items()
            }
        galleries[gallery.name] = {
            "gallery": len(gallery.templates),
            "mated": int(mated.sum()),
            "non_mated": int(np.sum(~mated)),
            "rank": _shares(rank[mated]) if mated.any() else None,
            "tpir": tpir,
            "few_false_accepts": few_false_accepts("tpir", FPIR_TARGETS, int(np.sum(~mated))) if tpir else [],
        }
    means = {
        kind: {key: float(np.mean([one[kind][key] for one in galleries.values()])) for key in keys}
        if all(one[kind] for one in galleries.values())
        else None
        for kind, keys in (("rank", [str(most) for most in RANKS]), ("tpir", list(FPIR_TARGETS)))
    }
    few = {name: None for one in galleries.values() for name in one["few_false_accepts"]} if means["tpir"] else {}
    return {**means, "few_false_accepts": list(few), "galleries": galleries}
