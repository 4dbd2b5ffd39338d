"""How certain the numbers of millions of pairs of templates are: a bootstrap over people on the points of the ROC."""

from collections.abc import Iterator, Mapping

import numpy as np
from scipy.sparse import csr_matrix

from ddl_tf.common.progress import Progress
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrapped_targets, percentile_interval
from ddl_tf.metrics.template_roc import nearest_tar

# The ROC is computed at no more similarities of same pairs than this; with fewer same pairs it is exact.
_POINTS = 4000
# Replicates that are computed together, and rows of the matrix below that are multiplied at a time.
_TOGETHER, _ROWS = 64, 2**16


def template_numbers(far: np.ndarray, tar: np.ndarray, targets: Mapping[str, float]) -> dict[str, float]:
    """Read `auc`, `eer` and `tar@<name>` (by `nearest_tar`) of a ROC `[points]`, as IJB's script does."""
    tars = {f"tar@{name}": nearest_tar(far, tar, target) for name, target in targets.items()}
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
    """Compute the numbers of the pairs in each replicate of the bootstrap over people.

    People are drawn with replacement, and their pairs with them: a same pair counts as often as its person was drawn, a
    different one as the product of its two people's numbers. Different pairs of two people that lie between the same
    two points of the ROC are counted together, and many replicates are one product of matrices, so that millions of
    pairs take a minute. Equal seeds draw equal people, so that two models can be compared on the same replicates.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, with both classes present.
        first_person: `[pairs]` whom the first template shows, any values.
        second_person: `[pairs]` whom the second one shows.
        targets: name -> false accept rate.
        replicates: how often to draw.
        seed: of the draws.

    Returns:
        Name -> `[replicates]`, for the names of `template_numbers`; without targets of less than three false accepts.

    References:
        Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", CVIU 2004.
    """
    similarity, same = np.asarray(similarity), np.asarray(same, bool)
    targets = bootstrapped_targets(same, targets)
    people, codes = np.unique(np.concatenate([first_person, second_person]), return_inverse=True)
    first, second = codes[: len(same)], codes[len(same) :]
    points = np.unique(similarity[same])
    points = points[:: -(-len(points) // _POINTS)]
    # Odd cells are the points themselves, even ones lie between two; the highest come first, as in a ROC.
    cell = 2 * len(points) - np.searchsorted(points, similarity, "left") - np.searchsorted(points, similarity, "right")
    num_cells = 2 * len(points) + 1
    own = csr_matrix((np.ones(same.sum(), np.float32), (cell[same], first[same])), shape=(num_cells, len(people)))
    different = _CountedPairs(cell[~same], first[~same], second[~same], num_cells, len(people))
    random = np.random.default_rng(seed)
    values: dict[str, list[float]] = {}
    with Progress("bootstrap", replicates, unit="replicate") as progress:
        for start in range(0, replicates, _TOGETHER):
            size = min(_TOGETHER, replicates - start)
            draws = (random.integers(0, len(people), len(people)) for _ in range(size))
            times = np.stack([np.bincount(one, minlength=len(people)) for one in draws], axis=1).astype(np.float32)
            curves = zip(_rates(different.weigh(times)), _rates(own @ times))
            for far, tar in curves:
                for name, value in template_numbers(far, tar, targets).items():
                    values.setdefault(name, []).append(value)
            progress.advance(size)
    return {name: np.array(one) for name, one in values.items()}


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
            self._parts.append((matrix, rows % num_people, cells, places))

    def weigh(self, times: np.ndarray) -> np.ndarray:
        """Sum the products of how often both people were drawn, `[people, replicates]`: `[cells, replicates]`."""
        total = np.zeros([self._num_cells, times.shape[1]])
        for matrix, person, cells, places in self._parts:
            # Sums of rows stay whole numbers that float32 holds; those of cells need float64.
            weights = (matrix @ times) * times[person]
            total[cells] += np.add.reduceat(weights, places, axis=0, dtype=np.float64)
        return total


def intervals_over_people(
    similarity: np.ndarray,
    same: np.ndarray,
    first_person: np.ndarray,
    second_person: np.ndarray,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
) -> dict[str, list[float]]:
    """Compute 95% intervals of the numbers of pairs of templates, by the bootstrap over people.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, with both classes present.
        first_person: `[pairs]` whom the first template shows, any values.
        second_person: `[pairs]` whom the second one shows.
        targets: name -> false accept rate.
        replicates: how often to draw.
        seed: of the draws.

    Returns:
        Name -> [low, high], for the names of `replicates_over_people`.
    """
    values = replicates_over_people(similarity, same, first_person, second_person, targets, replicates, seed)
    return {name: percentile_interval(one) for name, one in values.items()}
