"""SCface: mugshots are the gallery, the images of surveillance cameras at three distances the probes."""

from collections.abc import Sequence
from typing import Any, Optional

import numpy as np

from ddl_tf.data.problem_list import ProblemList
from ddl_tf.data.scface import DISTANCES, VISIBLE_CAMERAS, View, check_choice, find_views, mugshot
from ddl_tf.evaluation.bootstrap import bootstrap_rates
from ddl_tf.evaluation.identification import rank_rates
from ddl_tf.evaluation.outcome import Outcome
from ddl_tf.protocols.gallery_set import GallerySet, ImageList, count_missing, find_mates

RANKS = (1, 5, 10)


def read_scface(
    root: str,
    subjects: Sequence[int],
    cameras: Sequence[int] = VISIBLE_CAMERAS,
    gallery_subjects: Optional[Sequence[int]] = None,
    mugshots: str = "cropped",
    missing: str = "refuse",
    check_images: bool = True,
) -> GallerySet:
    """Read SCface for identification.

    Args:
        root: the official `SCface_database`, the folder that holds it, or a folder with all images in it; see
            `ddl_tf.data.scface`.
        subjects: whom to search, such as the 80 of the test half of `split_subjects`.
        cameras: whose images to search with; 1 to 5 are those of the papers, 6 and 7 are infrared.
        gallery_subjects: whose mugshots are the gallery, the `subjects` among them; None: those of `subjects`.
        mugshots: "cropped" or "original": which of the official folders of mugshots to take.
        missing: what to do about missing images: "refuse" the set, or "count" the probe, or all probes of a subject
            without a mugshot, as never found.
        check_images: whether the images must be there; without, nothing is looked for in `root`, and what is missing
            cannot be known.

    Returns:
        The set, named `scface`, with the conditions "d1" (4.20 m), "d2" (2.60 m) and "d3" (1.00 m).

    Raises:
        InputError: if there is no such subject or camera, or an image is missing, there twice, or of another name.

    Example:
        >>> scface = read_scface("SCface_database", split_subjects(seed=0)[1])
        >>> len(scface.gallery), len(scface.probes)
        (80, 1200)

    References:
        Lu, Jiang and Kot, "Deep Coupled ResNet for Low-Resolution Face Recognition", IEEE Signal Processing Letters
        2018; Huang et al., ECCV 2020, table 1.
    """
    enrolled = list(subjects if gallery_subjects is None else gallery_subjects)
    check_choice(subjects, cameras)
    check_choice(enrolled, cameras)
    problems = ProblemList(f"scface in {root}")
    images = ImageList(problems, missing, check_images)
    for subject in sorted(set(subjects) - set(enrolled)):
        problems.add("probe without mate", f"subject {subject}", "it is not in the gallery")
    paths = find_views(root, mugshots) if check_images else {}
    gallery = [images.add(mugshot(subject).key, paths.get(mugshot(subject))) for subject in enrolled]
    probes = [View(*view) for view in _product(subjects, cameras)]
    positions = [images.add(view.key, paths.get(view)) for view in probes]
    problems.refuse("complete the folder, choose other subjects, or count missing images as never found")
    return GallerySet(
        "scface",
        images.images(),
        images.keys,
        np.array(gallery),
        np.array(enrolled),
        np.array(positions),
        np.array([view.subject for view in probes]),
        np.array([f"d{view.distance}" for view in probes]),
    )


def _product(subjects: Sequence[int], cameras: Sequence[int]) -> list[tuple[int, int, int]]:
    return [(subject, camera, distance) for distance in DISTANCES for subject in subjects for camera in cameras]


def evaluate_scface(scface: GallerySet, embeddings: np.ndarray, replicates: int = 1000, seed: int = 0) -> Outcome:
    """Identify the faces of surveillance cameras among mugshots.

    Args:
        scface: the set, of `read_scface`.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.
        replicates: of the bootstrap over subjects that gives the intervals; 0 gives none.
        seed: of the bootstrap.

    Returns:
        The result: `subjects`, `gallery`, `probes` (of each distance), `missing_probes`, `missing_gallery`; `rank1`,
        `rank5` and `rank10`, each with `d1`, `d2`, `d3` and `average`, the mean of the three as in the papers;
        `intervals` of these, such as `rank1@d1`. A tie counts against the probe. The scores: `rank`, `condition`, and
        `person` `[probes]`.

    Raises:
        InputError: if there is not one embedding for each image, one is not finite, or there are between 1 and 39
            replicates.
    """
    rank = find_mates(scface, embeddings).rank
    names = [f"d{distance}" for distance in DISTANCES]
    result: dict[str, Any] = {
        "set": scface.name,
        "protocol": "identification",
        "subjects": len(np.unique(scface.probe_people)),
        "gallery": len(scface.gallery),
        "probes": int(np.sum(scface.condition == names[0])),
        **count_missing(scface),
    }
    for k in RANKS:
        rates = {name: float(rank_rates(rank[scface.condition == name], [k])[0]) for name in names}
        result[f"rank{k}"] = {**rates, "average": float(np.mean(list(rates.values())))}
    if replicates:
        result["intervals"] = _intervals(scface, rank, replicates, seed)
    scores = {"rank": rank, "condition": scface.condition, "person": scface.probe_people}
    return Outcome(result, scores)


def _intervals(scface: GallerySet, rank: np.ndarray, replicates: int, seed: int) -> dict[str, list[float]]:
    # Every distance has as many probes as another, so that the mean of all probes is that of the three means.
    chosen = {f"d{distance}": scface.condition == f"d{distance}" for distance in DISTANCES}
    chosen["average"] = np.ones(len(rank), bool)
    return {
        f"rank{k}@{name}": bootstrap_rates(((rank > 0) & (rank <= k))[own], replicates, seed, scface.probe_people[own])
        for k in RANKS
        for name, own in chosen.items()
    }
