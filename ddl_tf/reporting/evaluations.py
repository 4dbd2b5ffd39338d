"""The stored evaluations that a report compares: read once, and refused if they are not of the same pairs."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf import evaluation
from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.stored import IMAGES, StoredEvaluation
from ddl_tf.metrics.pair_people import people_of_pairs
from ddl_tf.metrics.paired_tests import ALIKE

# Scores of which two models must have equally many, and of what they are.
_UNITS = {"similarity": "pairs", "rank": "probes"}


@dataclasses.dataclass(frozen=True)
class EvaluatedSet:
    """What one model did on one set: numbers, and scores of pairs or probes (see `ddl_tf.evaluation.stored`).

    A summary of other sets has no `images`; `embeddings` are `[images, views, dim]`, None if they were not kept.
    """

    name: str
    result: dict[str, Any]
    scores: dict[str, np.ndarray]
    images: pd.DataFrame
    embeddings: Optional[np.ndarray]
    provenance: dict[str, Any]

    @property
    def has_pairs(self) -> bool:
        """Whether there are scores of pairs of both classes."""
        return "similarity" in self.scores and 0 < int(self.scores["same"].sum()) < len(self.scores["same"])

    @property
    def has_ranks(self) -> bool:
        """Whether there are ranks of probes."""
        return len(self.scores.get("rank", ())) > 0

    @property
    def pairs_of_images(self) -> bool:
        """Whether the pairs are known, and of images, not of templates."""
        return self.has_pairs and "first" in self.scores and self.result.get("protocol", "pairs") != "templates"

    @property
    def of_people(self) -> bool:
        """Whether it is a set of `evaluate people`."""
        return self.result.get("protocol") == "people"

    @property
    def similarities(self) -> "evaluation.Similarities":
        """The similarities of the pairs."""
        same = np.asarray(self.scores["same"], bool)
        return evaluation.Similarities(self.name, np.asarray(self.scores["similarity"], np.float64), same)

    @property
    def people(self) -> tuple[Optional[np.ndarray], Optional[np.ndarray]]:
        """Whom each pair shows, twice `[pairs]`, see `people_of_pairs`; None and None where that is not known."""
        known = people_of_pairs(self.scores) if self.has_pairs else None
        return (None, None) if known is None else (known.first, known.second)


@dataclasses.dataclass(frozen=True)
class EvaluatedModel:
    """A model of a report, the folder of its stored evaluation, and name of a set -> what it did there."""

    name: str
    folder: str
    sets: dict[str, EvaluatedSet]


def named_folders(items: Sequence[str], flag: str) -> dict[str, str]:
    """Read a list of folders, each `name=folder` or a folder, whose name is then its last part: name -> folder."""
    folders: dict[str, str] = {}
    for item in items:
        # A folder may have an equals sign in its name.
        bare = "=" not in item or Path(item).is_dir()
        name, folder = (Path(item).resolve().name, item) if bare else item.split("=", 1)
        name = name.strip()
        if not name or not folder.strip():
            raise InputError(f"--{flag}={item}: give name=folder, or a folder")
        if name in folders:
            raise InputError(
                f"--{flag}: two are named {name!r}, {folders[name]} and {folder}; write name=folder for one"
            )
        folders[name] = folder
    return folders


def read_evaluation(name: str, folder: str) -> EvaluatedModel:
    """Read the stored evaluation of a model (`python -m ddl_tf.evaluate ... --store=folder`)."""
    stored = StoredEvaluation(folder)
    sets = {}
    for set_name in stored.sets:
        scores = stored.scores(set_name)
        # A summary of several sets has no images of its own.
        summary = not (stored.path / set_name / IMAGES).is_file()
        images = pd.DataFrame({"key": []}) if summary else stored.images(set_name)
        embeddings = stored.embeddings(set_name)
        _check_positions(f"{folder}/{set_name}", scores, len(images), embeddings)
        result, provenance = stored.result(set_name), stored.provenance(set_name)
        evaluated = EvaluatedSet(set_name, result, scores, images, embeddings, provenance)
        # The tests and the bootstrap look for the people among the scores.
        known = "person" in images and images["person"].notna().all()
        if evaluated.pairs_of_images and "people" not in scores and known:
            scores["people"] = images["person"].to_numpy(str)
        sets[set_name] = evaluated
    return EvaluatedModel(name, folder, sets)


def _check_positions(
    place: str, scores: Mapping[str, np.ndarray], images: int, embeddings: Optional[np.ndarray]
) -> None:
    if embeddings is not None and len(embeddings) != images:
        raise InputError(f"{place}: {len(embeddings):,} embeddings of {images:,} images; evaluate the set again")
    if "similarity" not in scores:
        return
    lengths = {name: len(scores[name]) for name in ("similarity", "same", "first", "second") if name in scores}
    if "same" not in lengths or len(set(lengths.values())) > 1:
        counts = ", ".join(f"{count:,} {name}" for name, count in lengths.items())
        raise InputError(f"{place}: the scores of pairs do not fit ({counts}); evaluate the set again")


def check_comparable(models: Sequence[EvaluatedModel]) -> None:
    """Refuse models that were evaluated on different pairs or probes of a set of one name."""
    seen: dict[str, tuple[str, EvaluatedSet]] = {}
    for model in models:
        for name, evaluated in model.sets.items():
            first_name, first = seen.setdefault(name, (model.name, evaluated))
            difference = _difference(first, evaluated)
            if difference:
                raise InputError(
                    f"set {name}: {first_name} and {model.name} were not evaluated on the same, {difference}; "
                    "evaluate both on one set, or rename one of the two folders"
                )


def _difference(first: EvaluatedSet, second: EvaluatedSet) -> Optional[str]:
    """What differs between the pairs or probes of two sets, in words."""
    scores = first.scores, second.scores
    counts = {unit: [len(side.get(kind, ())) for side in scores] for kind, unit in _UNITS.items()}
    counts["images"] = [len(first.images), len(second.images)]
    shared = [name for name in ALIKE if all(name in side for side in scores)]
    counts.update({repr(name): [len(side[name]) for side in scores] for name in shared})
    for unit, (before, now) in counts.items():
        if before != now:
            return f"they have {before:,} and {now:,} {unit}"
    for name in shared:
        wrong = int(np.sum(scores[0][name] != scores[1][name]))
        if wrong:
            return f"{wrong:,} pairs or probes differ in {name!r}"
    if (first.images["key"] != second.images["key"]).any():
        return "their images differ, in their names"
    return None


def set_names(models: Sequence[EvaluatedModel]) -> list[str]:
    """List the sets of models, each once: in the order of the first model, then those that only others have."""
    return list(dict.fromkeys(name for model in models for name in model.sets))


def missing_sets(models: Sequence[EvaluatedModel]) -> list[str]:
    """Say, in sentences, which model lacks which set that another one has."""
    names = set_names(models)
    missing = {model.name: ", ".join(name for name in names if name not in model.sets) for model in models}
    return [
        f"{model} was not evaluated on {sets}; a dash stands in its place." for model, sets in missing.items() if sets
    ]


def sets_of_kind(models: Sequence[EvaluatedModel], kind: str) -> Iterator[tuple[str, dict[str, EvaluatedSet]]]:
    """Each set of a kind (`has_pairs`, `has_ranks`, `pairs_of_images`, `of_people`), and what each model did on it."""
    for name in set_names(models):
        sets = {model.name: model.sets[name] for model in models if name in model.sets}
        sets = {model: evaluated for model, evaluated in sets.items() if getattr(evaluated, kind)}
        if sets:
            yield name, sets
