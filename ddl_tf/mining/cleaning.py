"""What is wrong with the images of stored sets: copies, no face, wrong labels, identities that are one person."""

import dataclasses
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.mining.copies import choose_originals, find_copies
from ddl_tf.mining.labels import LabelRules, Labels, judge_labels
from ddl_tf.mining.selection import identity_names

# In the order in which they are looked for: of several, an image has the first.
FAULTS = {
    "undecodable": "cannot be decoded",
    "duplicate": "the same pixels as another image of the person",
    "near_duplicate": "the same picture as another image of the person, stored, scaled or mirrored anew",
    "two_labels": "the same picture as an image of another identity: one of the labels is wrong",
    "no_face": "no face is found",
    "poor_fit": "the face is not where alignment brings it",
    "wrong_identity": "nearer to another identity than to its own",
    "outlier": "far from its own identity, and near to no other",
}
# Of the index.
CLEAN_COLUMNS = (
    "fault",
    "copy_of",
    "copy_similarity",
    "face_score",
    "misfit_px",
    "own_similarity",
    "other_similarity",
    "nearest_identity",
    "merge_with",
)
# Beyond this median misfit a set is not aligned to the template, and no image of it is a poor fit.
_ALIGNED_PX = 8.0


@dataclasses.dataclass(frozen=True)
class CleanRules:
    """What counts as a fault.

    Attributes:
        near_duplicate: correlation of two thumbnails from which on they are one picture.
        poor_fit_px: misfit (see `template_misfit`) from which on a face is a poor fit, in pixels of an image of 112.
        labels: when a label is wrong.
    """

    near_duplicate: float = 0.98
    poor_fit_px: float = 15.0
    labels: LabelRules = dataclasses.field(default_factory=LabelRules)

    def __post_init__(self) -> None:
        if not 0.5 <= self.near_duplicate < 1:
            raise InputError(f"near duplicates correlate by 0.5 to below 1, got {self.near_duplicate}")
        if not self.poor_fit_px > 0:
            raise InputError(f"the misfit of a poor fit must be above 0 pixels, got {self.poor_fit_px}")


class Cleaning(NamedTuple):
    """What was found.

    Attributes:
        columns: `CLEAN_COLUMNS`, `[images]` rows; of what was not looked for there are no columns.
        labels: as a model sees them; None without a model.
        skipped: what was not judged, and why.
    """

    columns: pd.DataFrame
    labels: Optional[Labels]
    skipped: list[str]


def find_faults(faces: Faces, scan: np.ndarray, rules: CleanRules, embeddings: Optional[Embeddings] = None) -> Cleaning:
    """Find what is wrong with each image.

    Args:
        faces: the sets.
        scan: what `scan_faces` saw of them.
        rules: what counts as a fault.
        embeddings: of a model; without them labels are judged by copies alone.

    Raises:
        InputError: if there are embeddings, but fewer than two identities to compare.
    """
    identity = faces.index["identity"].to_numpy(np.int64)
    fits = {name: np.zeros(len(faces), bool) for name in FAULTS}
    fits["undecodable"] = scan["pixels"] == 0
    skipped = _judge_faces(scan, rules, fits)
    copy_of, similarity = _copies(faces, scan, rules)
    picture = np.where(copy_of < 0, np.arange(len(faces)), copy_of)
    columns: dict[str, np.ndarray] = {"copy_of": copy_of, "copy_similarity": similarity}
    if np.isfinite(scan["face_score"]).any():
        columns.update(
            {name: np.where(fits["undecodable"], np.nan, scan[name]) for name in ("face_score", "misfit_px")}
        )
    person, labels = np.arange(faces.num_identities), None
    if embeddings is not None:
        disputed = _in_several(picture, identity)
        usable = (copy_of < 0) & ~disputed & ~fits["undecodable"] & ~fits["no_face"] & ~fits["poor_fit"]
        labels = judge_labels(embeddings, identity, faces.num_identities, usable, rules.labels)
        person = labels.person
        fits["wrong_identity"], fits["outlier"] = labels.wrong, labels.outlier
        # A detector misses some faces; an image that is near to its own identity has one.
        fits["no_face"] = fits["no_face"] & ~(labels.own_similarity >= labels.limits["outlier"])
        columns.update(_label_columns(faces, labels))
    fits["two_labels"] = _in_several(picture, person[identity])
    if labels is not None:
        fits["two_labels"] = fits["two_labels"] & ~_rightful(
            picture, identity, fits["two_labels"], labels, rules.labels.margin
        )
    copied = (copy_of >= 0) & (person[identity] == person[identity[picture]])
    same_pixels = scan["digest"] == scan["digest"][picture]
    fits["duplicate"], fits["near_duplicate"] = copied & same_pixels, copied & ~same_pixels
    fault = np.select(list(fits.values()), list(fits), "")
    return Cleaning(pd.DataFrame({"fault": fault.astype(object), **columns}), labels, skipped)


def _judge_faces(scan: np.ndarray, rules: CleanRules, fits: dict[str, np.ndarray]) -> list[str]:
    """Find images without a face, and poor fits; returns what was skipped."""
    looked = (scan["pixels"] > 0) & np.isfinite(scan["face_score"])
    fits["no_face"] = looked & (scan["face_score"] == 0)
    misfit = scan["misfit_px"][looked & ~fits["no_face"]]
    if len(misfit) and np.median(misfit) > _ALIGNED_PX:
        return [f"poor_fit: half of the faces are {np.median(misfit):.1f} px or more from where alignment brings them"]
    fits["poor_fit"] = looked & (scan["misfit_px"] >= rules.poor_fit_px)
    return []


def _copies(faces: Faces, scan: np.ndarray, rules: CleanRules) -> tuple[np.ndarray, np.ndarray]:
    """For every image, of which one it is a copy (-1: of none), and their similarity."""
    # The larger picture stays, and of the same size the file that holds more.
    order = np.lexsort((-faces.index["length"].to_numpy(np.int64), -scan["pixels"]))
    rank = np.empty(len(faces), np.int64)
    rank[order] = np.arange(len(faces))
    seen = np.flatnonzero(scan["pixels"] > 0)
    copies = find_copies(scan["digest"][seen], scan["thumbnail"][seen], rules.near_duplicate)
    original, alike = choose_originals(copies, rank[seen])
    copy_of, similarity = np.full(len(faces), -1), np.full(len(faces), np.nan, np.float32)
    copy_of[seen], similarity[seen] = np.where(original < 0, -1, seen[original]), alike
    return copy_of, similarity


def _in_several(picture: np.ndarray, owner: np.ndarray) -> np.ndarray:
    """Whether an image's picture, `[images]`, belongs to several owners."""
    owners = pd.Series(owner).groupby(picture)
    return (owners.transform("min") != owners.transform("max")).to_numpy()


def _rightful(
    picture: np.ndarray, identity: np.ndarray, disputed: np.ndarray, labels: Labels, margin: float
) -> np.ndarray:
    """Whether an image of a disputed picture is of the person to whom the picture belongs beyond doubt.

    That is to whose others it is nearer than to anybody else's by the margin, and no outlier.
    """
    own = np.nan_to_num(labels.own_similarity, nan=-1)
    person = labels.person[identity]
    table = pd.DataFrame({"picture": picture, "person": person, "own": own})[disputed]
    nearest = table.groupby(["picture", "person"])["own"].max().sort_values(ascending=False).reset_index()
    first, second = (nearest.groupby("picture").nth(place).set_index("picture") for place in (0, 1))
    beyond_doubt = (first["own"] >= labels.limits["outlier"]) & (first["own"] - second["own"] > margin)
    owner = first["person"].where(beyond_doubt, -1)
    return disputed & (owner.reindex(picture, fill_value=-1).to_numpy() == person)


def _label_columns(faces: Faces, labels: Labels) -> dict[str, np.ndarray]:
    identity = faces.index["identity"].to_numpy(np.int64)
    names = np.full(faces.num_identities, "", object)
    names[identity] = identity_names(faces)
    counts = pd.Series(np.bincount(identity, minlength=faces.num_identities))
    # The identity with the most images gives the person its name.
    largest = counts.groupby(labels.person).transform("idxmax").to_numpy()
    merge_with = np.where(largest == np.arange(len(largest)), "", names[largest])
    return {
        "own_similarity": labels.own_similarity,
        "other_similarity": labels.other_similarity,
        "nearest_identity": np.where(labels.nearest_identity < 0, "", names[labels.nearest_identity]),
        "merge_with": merge_with[identity],
    }


def faults_table(fault: np.ndarray) -> pd.DataFrame:
    """Count the images of each fault."""
    rows = [(name, int(np.sum(fault == name)), text) for name, text in FAULTS.items()]
    rows.append(("", int(np.sum(fault == "")), "nothing is wrong"))
    table = pd.DataFrame(rows, columns=["fault", "images", "what"])
    table.insert(2, "share", [f"{count / len(fault):.2%}" for count in table["images"]])
    return table


def fault_rows(faces: Faces, columns: pd.DataFrame) -> pd.DataFrame:
    """List the images with a fault: `row`, `identity_key`, and what was found, worst kinds first."""
    chosen = columns[columns["fault"] != ""]
    table = chosen.assign(row=chosen.index, identity=identity_names(faces)[chosen.index])
    order = table["fault"].map(list(FAULTS).index)
    table = table.iloc[np.argsort(order, kind="stable")]
    return table[["row", "identity", *columns]]


def same_person_table(faces: Faces, labels: Labels) -> pd.DataFrame:
    """List the pairs of identities that are one person, with their images, the surest first."""
    identity = faces.index["identity"].to_numpy(np.int64)
    names = np.full(faces.num_identities, "", object)
    names[identity] = identity_names(faces)
    counts = np.bincount(identity, minlength=faces.num_identities)
    first, second = labels.same["first"].to_numpy(), labels.same["second"].to_numpy()
    table = pd.DataFrame(
        {
            "first": names[first],
            "second": names[second],
            "similarity": labels.same["similarity"],
            "first_images": counts[first],
            "second_images": counts[second],
            "person": labels.person[first],
        }
    )
    return table.sort_values("similarity", ascending=False, ignore_index=True)
