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
    """Read SCface for identification, as Lu, Jiang and Kot, 2018, and Huang et al., ECCV 2020, table 1, do.

    `subjects` are searched for, such as the 80 of the test half of `split_subjects`, with the images of `cameras`; 6
    and 7 are infrared. The gallery are their mugshots, or those of `gallery_subjects`, they among them; "cropped" or
    "original" ones. The conditions are "d1" (4.20 m), "d2" (2.60 m) and "d3" (1.00 m). Missing images are refused, or
    with `missing="count"` the probe, or all probes of a subject without a mugshot, are never found. Without
    `check_images` nothing is looked for in `root`; what that may be `ddl_tf.importers.scface` says.
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
