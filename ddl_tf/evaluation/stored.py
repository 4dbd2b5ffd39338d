"""Evaluations on disk: a folder of a model, with one of each set: embeddings, images, scores and result."""

import dataclasses
import json
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import map_array, read_arrays, require_regular_file, write_arrays, write_aside
from ddl_tf.evaluation.embedding_file import EMBEDDINGS


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The outcome of one protocol on one set.

    Attributes:
        result: what `json.dumps` takes: `set`, `protocol`, counts, rates 0..1, `intervals` (95%) by number.
        scores: for reports and paired tests. Of pairs: `similarity`, `same` bool, and where known `first`, `second`,
            `fold` int, each `[pairs]`, and `people` `[images]` text; of templates `template` and `template_person`
            `[templates]`, their numbers and whom they show. Of probes, each `[probes]`: `rank` int, from 1, of the mate
            (0 = never found), `condition` text, and where known `average_precision` and `person`; of open-set search
            also `mated_similarity` `[probes]` of the mates, and `unmated_similarity` `[unmated probes]`.
    """

    result: dict[str, Any]
    scores: dict[str, np.ndarray]


RESULT, SCORES, IMAGES = "result.json", "scores.npz", "images.csv"


def write_outcome(folder: Path, outcome: Outcome, provenance: dict[str, Any]) -> None:
    """Store the outcome of a set in its folder, with `provenance`: what the result was made of, as JSON takes it."""
    # The result gets its name last: its being there says that the rest is.
    with write_aside(folder / RESULT) as aside:
        content = {"result": outcome.result, "provenance": provenance}
        aside.write_text(json.dumps(content, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        with write_aside(folder / SCORES) as scores_aside:
            write_arrays(scores_aside, outcome.scores)
            # Both are written: a full disk has not cost the result that was there.
            forget_result(folder)


def forget_result(folder: Path) -> None:
    """Remove the result of a set before its sources are replaced: else a killed process leaves both."""
    (folder / RESULT).unlink(missing_ok=True)


class StoredEvaluation:
    """The stored evaluation of one model.

    Args:
        path: its folder.

    Attributes:
        path: the folder.
        sets: the names of the sets that have a result, sorted.

    Raises:
        InputError: if there is no result in it.

    Example:
        >>> evaluation = StoredEvaluation("evaluations/ddl")  # doctest: +SKIP
        >>> evaluation.result("lfw")["auc"]  # doctest: +SKIP
    """

    def __init__(self, path: str) -> None:
        self.path = Path(path)
        self.sets = sorted(file.parent.name for file in self.path.glob(f"*/{RESULT}"))
        if not self.sets:
            raise InputError(
                f"{path}: no stored evaluation there; make one with `python -m ddl_tf.evaluate ... --store={path}`"
            )

    def _file(self, name: str, file: str) -> Path:
        if name not in self.sets:
            raise InputError(f"{self.path}: has no set {name!r}, but {', '.join(self.sets)}")
        return self.path / name / file

    def _content(self, name: str) -> dict[str, Any]:
        file = self._file(name, RESULT)
        require_regular_file(file)
        try:
            content = json.loads(file.read_text(encoding="utf-8"))
            return {key: dict(content[key]) for key in ("result", "provenance")}
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f"{file}: no stored result ({error!r}); evaluate the set again") from None

    def result(self, name: str) -> dict[str, Any]:
        """Read the result of a set."""
        return self._content(name)["result"]

    def provenance(self, name: str) -> dict[str, Any]:
        """Read what the result of a set was made of."""
        return self._content(name)["provenance"]

    def scores(self, name: str) -> dict[str, np.ndarray]:
        """Read the scores of a set, by name; see `Outcome`."""
        return read_arrays(self._file(name, SCORES), "evaluate the set again")

    def embeddings(self, name: str) -> Optional[np.ndarray]:
        """Map the embeddings of a set `[images, views, dim]`, kept here or in the given file; None if it is gone."""
        recorded = self.provenance(name).get("embeddings")
        # What a model left there before is not what the result was made of.
        if recorded is not None and not isinstance(recorded, str):
            raise InputError(f"{self.path / name}: its embeddings are {recorded!r}, no path; evaluate the set again")
        file = Path(recorded) if recorded else self._file(name, EMBEDDINGS)
        return read_embeddings(str(file)) if file.is_file() else None

    def images(self, name: str) -> pd.DataFrame:
        """Read the table of the images of a set: `key` and further columns."""
        file = self._file(name, IMAGES)
        require_regular_file(file)
        try:
            images = pd.read_csv(file, dtype={"key": str, "person": str})
        except ValueError as error:
            # pandas' own errors, and text that is no UTF-8.
            reason = str(error).strip().splitlines()[0]
            raise InputError(f"{file}: no table of images ({reason}); evaluate the set again") from None
        if "key" not in images:
            raise InputError(f"{file}: there is no column 'key'; evaluate the set again")
        return images


def read_embeddings(path: str) -> np.ndarray:
    """Map the embeddings of a `.npy` file, floats `[images, dim]` or `[images, views, dim]`: `[images, views, dim]`."""
    array = map_array(Path(path), "write embeddings with np.save as one array of float32 [images, dim]")
    if array.dtype.kind != "f" or array.ndim not in (2, 3):
        raise InputError(
            f"{path}: holds {array.dtype} {list(array.shape)}, where floats [images, dim] or [images, views, dim] are "
            "expected"
        )
    if 0 in array.shape:
        raise InputError(f"{path}: an array of shape {list(array.shape)} holds no embedding; write the file again")
    views = array if array.ndim == 3 else array[:, np.newaxis]
    if views.shape[1] not in (1, 2):
        raise InputError(f"{path}: {views.shape[1]} views of an image, where 1 or 2 (image, mirror image) are expected")
    return views
