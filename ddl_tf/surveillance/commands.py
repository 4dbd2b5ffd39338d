"""The commands `evaluate survface` and `evaluate ijbs`, and how their images are pooled."""

import dataclasses
import sys
from collections.abc import Callable, Sequence
from typing import Optional, Union

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import required, setting
from ddl_tf.evaluation.session import EvaluationSettings, Session
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics.pooling import POOLED_FIRST, Pooling
from ddl_tf.mining.image_columns import read_columns
from ddl_tf.protocols.gallery_set import MISSING, NO_IMAGE, GallerySet
from ddl_tf.surveillance.ijbs import evaluate_ijbs
from ddl_tf.surveillance.ijbs_files import IJBS, read_ijbs
from ddl_tf.surveillance.survface import evaluate_survface_pairs, evaluate_survface_search
from ddl_tf.surveillance.survface_files import read_survface_pairs, read_survface_search

PROTOCOLS = ("verification", "search")
POOL_FIRST_HELP = (
    "What of a template is pooled first, to count no more than the others: nothing, each media (photo, video or "
    "camera), or clusters of like images."
)
CLUSTERS_HELP = "With --pool_first=cluster: how many clusters a template has, at most."


@dataclasses.dataclass
class PoolingSettings(EvaluationSettings):
    """How the images of a template are pooled; the settings of a protocol inherit these fields."""

    norms: bool = setting(True, "Weight an image by the norm of its embedding.")
    quality: Optional[str] = setting(
        None, "Weight an image of a template by this column of --columns, a number of at least 0."
    )
    columns: list[str] = setting(
        [],
        "CSV files with a column `key`, as --list_images names the images, and further ones, to keep with them.",
    )
    pool_first: str = setting("none", POOL_FIRST_HELP, choices=POOLED_FIRST)
    clusters: int = setting(4, CLUSTERS_HELP)

    @property
    def pooling(self) -> Pooling:
        """The pooling that they say."""
        if self.quality and not self.columns:
            raise InputError(f"--quality={self.quality} without --columns: name the CSV file that has this column")
        return Pooling(self.norms, bool(self.quality), self.pool_first, self.clusters)

    def table(self, name: str, keys: Sequence[str], pooled: np.ndarray) -> Optional[pd.DataFrame]:
        """Read the columns of the images of a set, a row for each; None without --columns.

        The images at the places `pooled` need a quality, if images count by it.
        """
        columns = read_columns(self.columns)
        if columns is None:
            return None
        if self.quality and self.quality not in columns:
            has = ", ".join(map(str, columns)) or "none"
            raise InputError(f"--quality={self.quality}: --columns have no such column, but {has}")
        table = columns.reindex(np.asarray(keys, object)).reset_index(drop=True)
        print(
            f"{name}: columns are given for {table.notna().any(axis=1).sum():,} of {len(keys):,} images",
            file=sys.stderr,
        )
        if self.quality:
            numbers = pd.to_numeric(table[self.quality], errors="coerce").to_numpy(np.float64)
            lacking = np.unique(pooled[~(np.isfinite(numbers[pooled]) & (numbers[pooled] >= 0))])
            if len(lacking):
                images = f"{len(lacking):,} images of templates, the first {keys[int(lacking[0])]}"
                raise InputError(
                    f"{name}: no number of at least 0 in the column {self.quality} for {images}; give one for each"
                )
        return table

    def qualities(self, table: Optional[pd.DataFrame]) -> Optional[np.ndarray]:
        """The quality of each image in a table; None without --quality."""
        return None if table is None or not self.quality else table[self.quality].to_numpy(np.float64)


@dataclasses.dataclass
class SurvFaceSettings(PoolingSettings):
    """Flags of `survface`."""

    root: str = setting("", "The folder QMUL-SurvFace, with Face_Verification_Test_Set and the other; required.")
    images: Optional[str] = setting(
        None, "A folder with other images under the same names in verification_images, gallery, and so on."
    )
    protocols: list[str] = setting(list(PROTOCOLS), "What to evaluate: verification (the official pairs), search.")
    norms: bool = setting(False, "Weight an image by the norm of its embedding.")
    missing: str = setting("refuse", "Refuse missing images, or count them as never found.", choices=MISSING)


def survface(settings: SurvFaceSettings) -> None:
    """QMUL-SurvFace: the official pairs, and open-set search among people of several images."""
    session, pooling = Session(settings), settings.pooling
    required(settings, "root")
    unknown = [name for name in settings.protocols if name not in PROTOCOLS]
    if unknown or not settings.protocols:
        raise InputError(f"--protocols={','.join(settings.protocols)}: name some of {', '.join(PROTOCOLS)}")
    pair_set, faces, table = None, None, None
    with session.listing_problems():
        if "verification" in settings.protocols:
            pair_set = read_survface_pairs(settings.root, settings.images, session.needs_images)
        if "search" in settings.protocols:
            check = session.needs_images or settings.missing == "count"
            faces = read_survface_search(settings.root, settings.images, settings.missing, check)
    if faces is not None:
        table = settings.table(faces.name, faces.keys, faces.gallery[faces.gallery != NO_IMAGE])
    if pair_set is not None:
        people = pd.DataFrame({"person": pair_set.people})
        described = pair_set.name, pair_set.images, pair_set.keys, people
        if settings.list_images:
            session.list_images(*described)
        else:
            embeddings = session.unit(*described)
            session.add(evaluate_survface_pairs(pair_set, embeddings, settings.replicates, settings.seed))
    if faces is not None:
        _of_templates(session, settings, pooling, faces, table, evaluate_survface_search)
    session.close()


@dataclasses.dataclass
class JanusSurveillanceSettings(PoolingSettings):
    """Flags of `ijbs`."""

    root: str = setting("", "The folder IJBS of the release, with protocols/; required.")
    images: Optional[str] = setting(
        None, "The folder of the crops, SUBJECT/videos_5004_FRAME.jpg and SUBJECT/img_101146.jpg; default: aligned_112."
    )
    missing: str = setting(
        "refuse", "Refuse photos and videos without crops, or count their templates as never found.", choices=MISSING
    )


def ijbs(settings: JanusSurveillanceSettings) -> None:
    """IJB-S: videos of surveillance cameras searched among photos, and among other videos."""
    session, pooling = Session(settings), settings.pooling
    required(settings, "root")
    with session.listing_problems():
        faces = read_ijbs(settings.root, settings.images, settings.missing)
    table = settings.table(faces.name, faces.keys, faces.positions)
    _of_templates(session, settings, pooling, faces, table, evaluate_ijbs)
    session.close()


def _of_templates(
    session: Session,
    settings: PoolingSettings,
    pooling: Pooling,
    faces: Union[GallerySet, IJBS],
    table: Optional[pd.DataFrame],
    evaluate: Callable[..., Outcome],
) -> None:
    described = faces.name, faces.images, faces.keys, table
    if settings.list_images:
        session.list_images(*described)
        return
    views = session.views(*described)
    flip = settings.flip and views.shape[1] > 1
    weights = settings.qualities(table)
    session.add(evaluate(faces, views, pooling, weights, flip, settings.replicates, settings.seed))
