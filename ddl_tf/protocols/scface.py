"""SCface: mugshots are the gallery, the images of surveillance cameras at three distances the probes."""

from collections.abc import Sequence
from typing import Optional

import numpy as np

from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.importers.scface import DISTANCES, VISIBLE_CAMERAS, View, check_choice, find_views, mugshot
from ddl_tf.protocols.gallery_set import GallerySet, ImageList


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
            `ddl_tf.importers.scface`.
        subjects: whom to search, such as the 80 of the test half of `split_subjects`.
        cameras: whose images to search with; 1 to 5 are those of the papers, 6 and 7 are infrared.
        gallery_subjects: whose mugshots are the gallery, the `subjects` among them; None: those of `subjects`.
        mugshots: "cropped" or "original": which of the official folders of mugshots to take.
        missing: what to do about missing images: "refuse" the set, or "count" the probe, or all probes of a subject
            without a mugshot, as never found.
        check_images: whether the images must exist; else nothing is looked for in `root`.

    Returns:
        The set, named `scface`, with the conditions "d1" (4.20 m), "d2" (2.60 m) and "d3" (1.00 m).

    Raises:
        InputError: if there is no such subject or camera, or an image is missing, found twice, or of another name.

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
    probes = [View(subject, camera, far) for far in DISTANCES for subject in subjects for camera in cameras]
    positions = [images.add(view.key, paths.get(view)) for view in probes]
    problems.refuse("complete the folder, choose other subjects, or count missing images as never found")
    shown, condition = [view.subject for view in probes], [f"d{view.distance}" for view in probes]
    columns = map(np.array, (gallery, enrolled, positions, shown, condition))
    return GallerySet("scface", images.images(), images.keys, *columns)
