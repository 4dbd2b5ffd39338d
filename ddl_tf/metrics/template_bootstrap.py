"""How certain the numbers of millions of pairs of templates are: a bootstrap over people on the points of the ROC."""

from collections.abc import Iterator, Mapping

import numpy as np
import pandas as pd
from scipy.sparse import csr_matrix

from ddl_tf.common.progress import Progress
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrapped_targets

# The ROC is computed at no more similarities of same pairs than this; with fewer same pairs it is exact.
_POINTS = 4000
# Replicates that are computed together, and rows of the matrix below that are multiplied at a time.
_TOGETHER, _ROWS = 64, 2**16


def template_numbers(far: np.ndarray, tar: np.ndarray, targets: Mapping[str, float]) -> dict[str, float]:
    """Read `auc`, `eer` and `tar@<name>` (by `nearest_tar`) of a ROC `[points]`, as IJB's script does."""
    tars = {f"tar@{name}": roc.nearest_tar(far, tar, target) for name, target in targets.items()}
    return {"auc": roc.auc(far, tar), "eer": roc.eer(far, tar), **tars}


def replicates_over_people(
    similarity: np.ndarray,
    same: np.ndarray,
    first_person: np.ndarray,
    second_person: np.ndarray,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
) -> dict[str, np.ndarray]:
    """Compute the numbers of `[pairs]` of templates in the bootstrap over people: name -> `[replicates]`.

    A same pair counts as often as its person was drawn, a different one as the product of its two people's numbers.
    Different pairs of two people between the same two points of the ROC are counted together, and many replicates are
    one product of matrices. Equal seeds draw equal people. Targets of fewer than three false accepts are left out.
    """
    similarity, same = np.asarray(similarity), np.asarray(same, bool)
    targets = bootstrapped_targets(same, targets)
    # Sorted as by `np.unique`, which would sort the people of all pairs instead of those that differ.
    codes, people = pd.factorize(np.concatenate([first_person, second_person]), sort=True)
    first, second = codes[: len(same)], codes[len(same) :]
    points = np.unique(similarity[same])
    points = points[:: -(-len(points) // _POINTS)]
    # Odd cells are the points themselves, even ones lie between two; the highest come first, as in a ROC.
    cell = 2 * len(points) - np.searchsorted(points, similarity, "left") - np.searchsorted(points, similarity, "right")
    num_cells = 2 * len(points) + 1
    shape = (num_cells, len(people))
    same_pairs = csr_matrix((np.ones(same.sum(), np.float32), (cell[same], first[same])), shape)
    different_pairs = _CountedPairs(cell[~same], first[~same], second[~same], *shape)
    random = np.random.default_rng(seed)
    values: dict[str, list[float]] = {}
    with Progress("bootstrap", replicates, unit="replicate") as progress:
        for start in range(0, replicates, _TOGETHER):
            size = min(_TOGETHER, replicates - start)
            draws = (random.integers(0, len(people), len(people)) for _ in range(size))
            times = np.stack([np.bincount(drawn, minlength=len(people)) for drawn in draws], axis=1).astype(np.float32)
            for far, tar in zip(_rates(different_pairs.weigh(times)), _rates(same_pairs @ times)):
                for name, value in template_numbers(far, tar, targets).items():
                    values.setdefault(name, []).append(value)
            progress.advance(size)
    return {name: np.array(column) for name, column in values.items()}


def _rates(weights: np.ndarray) -> Iterator[np.ndarray]:
    """Accept rates from weights `[cells, replicates]`: for each replicate `[1 + cells]`, from 0 to 1."""
    for column in weights.T:
        accepted = np.concatenate([[0.0], np.cumsum(column, dtype=np.float64)])
        # A class that got no weight at all has no rate; 1 keeps it at 0.
        yield accepted / max(1.0, accepted[-1])


class _CountedPairs:
    """Different pairs, counted by cell and by their two people, in rows of a cell and a first person."""

    def __init__(
        self, cell: np.ndarray, first: np.ndarray, second: np.ndarray, num_cells: int, num_people: int
    ) -> None:
        keys, counts = np.unique((cell * num_people + first) * num_people + second, return_counts=True)
        row_keys, starts = np.unique(keys // num_people, return_index=True)
        starts = np.append(starts, len(keys))
        columns, counts = (keys % num_people).astype(np.int32), counts.astype(np.float32)
        self._num_cells = num_cells
        self._parts = []
        for start in range(0, len(row_keys), _ROWS):
            rows = row_keys[start : start + _ROWS]
            bounds = starts[start : start + len(rows) + 1]
            inside = slice(bounds[0], bounds[-1])
            matrix = csr_matrix((counts[inside], columns[inside], bounds - bounds[0]), shape=(len(rows), num_people))
            cells, places = np.unique(rows // num_people, return_index=True)
            # Sums of rows stay whole numbers that float32 holds; those of cells need float64.
            ends = np.append(places, len(rows))
            sums = csr_matrix((np.ones(len(rows)), np.arange(len(rows)), ends), shape=(len(cells), len(rows)))
            self._parts.append((matrix, rows % num_people, cells, sums))

    def weigh(self, times: np.ndarray) -> np.ndarray:
        """Sum the products of how often both people were drawn, `[people, replicates]`: `[cells, replicates]`."""
        total = np.zeros([self._num_cells, times.shape[1]])
        for matrix, person, cells, sums in self._parts:
            weights = matrix @ times
            weights *= times[person]
            total[cells] += sums @ weights
        return total
