"""QMUL-SurvFace: verification of the official pairs, and open-set search among people of several images."""

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.gallery_search import count_missing
from ddl_tf.evaluation.pairs import evaluate_pair_set
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrap_rates, few_false_accepts
from ddl_tf.metrics.open_set import SteppedSearch, bootstrap_steps
from ddl_tf.metrics.pooling import Pooling, TemplateImages, pool_templates
from ddl_tf.metrics.ranks import rank_rates, search_galleries
from ddl_tf.metrics.templates import image_features
from ddl_tf.protocols.gallery_set import NO_IMAGE, GallerySet
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.surveillance.survface_files import STRANGER, camera_of, person_of

FAR_TARGETS = {"3e-1": 3e-1, "1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3}
FPIR_TARGETS = {"3e-1": 3e-1, "2e-1": 2e-1, "1e-1": 1e-1, "1e-2": 1e-2}
# A mate counts among the first so many.
TOP = 20
RANKS = (1, 5, 10, 20)


def evaluate_survface_pairs(
    pair_set: PairSet, embeddings: np.ndarray, replicates: int = 1000, seed: int = 0
) -> Outcome:
    """Evaluate the official pairs from the embeddings `[images, dim]` of unit norm, as `evaluate_pair_set`.

    `tar` is at the false accept rates of the benchmark. `tar_nearest` reads the same ROC as the public script does,
    where the rate is *nearest* to the target, above or below it.

    References:
        https://github.com/gist-ailab/feature-similarity-KD, face_recognition/test_qmul_ver.py
    """
    outcome = evaluate_pair_set(pair_set, embeddings, replicates, seed, FAR_TARGETS)
    false, true = roc.corner_roc(outcome.scores["similarity"], outcome.scores["same"])
    far, tar = false / false[-1], true / true[-1]
    nearest = {name: roc.nearest_tar(far, tar, target) for name, target in FAR_TARGETS.items()}
    return Outcome({**outcome.result, "tar_nearest": nearest}, outcome.scores)


def evaluate_survface_search(
    faces: GallerySet,
    views: np.ndarray,
    pooling: Pooling,
    qualities: Optional[np.ndarray] = None,
    flip: bool = True,
    replicates: int = 1000,
    seed: int = 0,
) -> Outcome:
    """Search mated and unmated probes among the people of the gallery; a tie counts against the probe.

    A person of the gallery is a template: all images of it, pooled; a media is what one camera saw. `views` are
    `[images, views, dim]` as the model gave them, `qualities` `[images]`. docs/surveillance.md has the fields of the
    result. Scores are those of the mated probes (`rank`, `condition`, `person`), and the similarities that the rates
    follow from, `mated_similarity` (-2 without mate) and `unmated_similarity`.

    References:
        https://github.com/gist-ailab/feature-similarity-KD, face_recognition/test_qmul_id.py
    """
    if len(views) != len(faces.images):
        raise InputError(f"{faces.name}: {len(views)} embeddings for {len(faces.images)} images; embed this set")
    enrolled = faces.gallery[faces.gallery != NO_IMAGE]
    cameras = np.unique([camera_of(faces.keys[place]) for place in enrolled], return_inverse=True)[1]
    images = TemplateImages(
        faces.gallery_people[faces.gallery != NO_IMAGE],
        cameras,
        None if qualities is None else qualities[enrolled],
        enrolled,
    )
    gallery, people = pool_templates(views, images, pooling, flip)
    rank, mate, best = _search(faces, views, gallery, people, flip)
    mated = faces.probe_people != STRANGER
    if not np.isfinite(best[~mated]).any():
        raise InputError(f"{faces.name}: no unmated probe has an image; complete the set")
    search = SteppedSearch(np.where((rank > 0) & (rank <= TOP), mate, -np.inf)[mated], best[~mated])
    curve = search.curve()
    read = {name: curve.nearest(target) for name, target in FPIR_TARGETS.items()}
    person, strangers = faces.probe_people[mated], _strangers(faces)
    shares = {f"rank{k}": float(rate) for k, rate in zip(RANKS, rank_rates(rank[mated], RANKS))}
    result: dict[str, Any] = {
        "set": faces.name,
        "protocol": "open_set",
        "pooling": pooling.name,
        "people": len(np.unique(faces.gallery_people)),
        "gallery": len(faces.gallery),
        "mated": int(mated.sum()),
        "unmated": int(np.sum(~mated)),
        **count_missing(faces),
        **shares,
        "tpir20": {name: tpir for name, (tpir, _) in read.items()},
        "fpir_reached": {name: fpir for name, (_, fpir) in read.items()},
        "tpir20_auc": curve.auc,
        "few_false_accepts": few_false_accepts("tpir20", FPIR_TARGETS, int(np.sum(~mated))),
    }
    if replicates:
        result["intervals"] = _intervals(search, rank[mated], person, strangers, replicates, seed)
    scores = {
        "rank": rank[mated],
        "condition": np.full(int(mated.sum()), ""),
        "person": person,
        "mated_similarity": np.where(np.isfinite(mate), mate, -2)[mated].astype(np.float32),
        "unmated_similarity": np.where(np.isfinite(best), best, -2)[~mated].astype(np.float32),
    }
    return Outcome(result, scores)


def _search(
    faces: GallerySet, views: np.ndarray, gallery: np.ndarray, people: np.ndarray, flip: bool
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each probe: rank of the mate (0: never found), its similarity, and the largest of the others; -inf without."""
    searched = np.flatnonzero(faces.probes != NO_IMAGE)
    places = faces.probes[searched]
    rows = image_features(views[places], places, flip, use_norms=False)
    place = np.minimum(np.searchsorted(people, faces.probe_people[searched]), len(people) - 1)
    position = np.where(people[place] == faces.probe_people[searched], place, -1)
    found = search_galleries(rows, [gallery], position, keep=1)
    rank = np.zeros(len(faces.probes), np.int64)
    mate, best = np.full(len(rank), -np.inf), np.full(len(rank), -np.inf)
    rank[searched] = np.where(position >= 0, 1 + found.above[0], 0)
    mate[searched], best[searched] = found.mate, found.best_other[0]
    return rank, mate, best


def _strangers(faces: GallerySet) -> np.ndarray:
    """Whom each unmated probe shows, by its name; one without an image is somebody of its own."""
    probes = faces.probes[faces.probe_people == STRANGER]
    return np.array([person_of(faces.keys[place]) if place != NO_IMAGE else f"{n}" for n, place in enumerate(probes)])


def _intervals(
    search: SteppedSearch, rank: np.ndarray, people: np.ndarray, strangers: np.ndarray, replicates: int, seed: int
) -> Mapping[str, list[float]]:
    few = few_false_accepts("tpir20", FPIR_TARGETS, len(strangers))
    targets = {name: target for name, target in FPIR_TARGETS.items() if f"tpir20@{name}" not in few}
    intervals = {f"rank{k}": bootstrap_rates((rank > 0) & (rank <= k), replicates, seed, people) for k in RANKS}
    return {**intervals, **bootstrap_steps(search, people, strangers, "tpir20", targets, replicates, seed)}
