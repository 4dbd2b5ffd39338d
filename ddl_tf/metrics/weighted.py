"""The numbers of a set of pairs in which some count more than once: what the bootstrap computes again and again."""

from collections.abc import Mapping
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import roc
from ddl_tf.metrics.k_fold import ACCURACY_THRESHOLDS
from ddl_tf.metrics.templates import NEVER


class WeightedPairs:
    """The verification numbers of weighted pairs (a pair of weight 2 counts as two); the rest is computed once.

    `similarity` (finite) and `same` are `[pairs]`, with both classes; `fold` `[pairs]` int from 0 without gaps is for
    the k-fold accuracy; `far_targets` has the false accept rate, 0..1, of each `tar@name`.
    """

    def __init__(
        self,
        similarity: np.ndarray,
        same: np.ndarray,
        fold: Optional[np.ndarray] = None,
        far_targets: Mapping[str, float] = roc.FAR_TARGETS,
    ) -> None:
        similarity, same = np.asarray(similarity, np.float64), np.asarray(same, bool)
        if similarity.shape != same.shape or similarity.ndim != 1 or (fold is not None and len(fold) != len(same)):
            shapes = [similarity.shape, same.shape] + ([] if fold is None else [np.shape(fold)])
            raise InputError(f"similarity, same and fold are of shapes {shapes}: give one value of each for each pair")
        if not np.all(np.isfinite(similarity)):
            raise InputError(f"{np.sum(~np.isfinite(similarity))} similarities are not finite; look at the embeddings")
        if not 0 < same.sum() < len(same):
            raise InputError(f"same and different pairs are needed, got {same.sum()} same of {len(same)}")
        self.same = same
        self.far_targets = dict(far_targets)
        self._order = np.argsort(-similarity, kind="stable")
        # The last pair of each distinct similarity: pairs that are equally similar are accepted together.
        self._ends = np.append(np.flatnonzero(np.diff(similarity[self._order])), len(same) - 1)
        self._same_in_order = same[self._order].astype(np.float64)
        # A pair without an image is never accepted, but has no similarity that a mean could hold.
        measured = similarity != NEVER
        self._of_same, self._of_different = same & measured, ~same & measured
        self._similarity = np.where(measured, similarity, 0.0)
        self._sign = np.where(same, 1.0, -1.0)
        # The first threshold on the squared distance that accepts a pair; the last cell is for none.
        self._accepting = np.searchsorted(ACCURACY_THRESHOLDS, 2 - 2 * similarity, side="right")
        self._fold = None if fold is None else np.asarray(fold)

    def roc_curve(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Compute the ROC for weights `[pairs]`: FAR and TAR, each `[points]`, one for every distinct similarity."""
        in_order = np.asarray(weights, np.float64)[self._order]
        accepted = np.cumsum(in_order)[self._ends]
        accepted_same = np.cumsum(in_order * self._same_in_order)[self._ends]
        accepted_different = accepted - accepted_same
        far = np.concatenate([[0.0], accepted_different / accepted_different[-1]])
        return far, np.concatenate([[0.0], accepted_same / accepted_same[-1]])

    def numbers(self, weights: np.ndarray) -> dict[str, float]:
        """Compute the numbers as of a set in which each pair is repeated as often as its weight says.

        They are `auc`, `eer`, `tar@<name>`, `mean_same`, `mean_different`, `expectation_margin`, `threshold_accuracy`;
        with folds `accuracy`, the mean over the folds that have any weight. They mean what they do in `evaluate_pairs`.
        """
        weights = np.asarray(weights, np.float64)
        far, tar = self.roc_curve(weights)
        mean_same, mean_different = (
            float(weights @ (self._similarity * members)) / max(1.0, float(weights @ members))
            for members in (self._of_same, self._of_different)
        )
        numbers = {
            "auc": roc.auc(far, tar),
            "eer": roc.eer(far, tar),
            **{f"tar@{name}": roc.tar_at_far(far, tar, target) for name, target in self.far_targets.items()},
            "mean_same": mean_same,
            "mean_different": mean_different,
            "expectation_margin": mean_same - mean_different,
        }
        correct, total = self._correct(weights)
        numbers["threshold_accuracy"] = float(correct.sum(axis=0).max() / total.sum())
        if self._fold is not None:
            best = np.argmax(correct.sum(axis=0) - correct, axis=1)
            present = total > 0
            numbers["accuracy"] = float(np.mean(correct[np.arange(len(total)), best][present] / total[present]))
        return numbers

    def _correct(self, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Weigh what each threshold decides rightly in each fold: `[folds, thresholds]`, and all: `[folds]`."""
        fold = np.zeros(len(weights), np.int64) if self._fold is None else self._fold
        num_folds, num_cells = int(fold.max()) + 1, len(ACCURACY_THRESHOLDS) + 1
        cells = np.bincount(
            fold * num_cells + self._accepting, weights * self._sign, minlength=num_folds * num_cells
        ).reshape(num_folds, num_cells)
        different = np.bincount(fold, np.where(self.same, 0.0, weights), minlength=num_folds)
        total = np.bincount(fold, weights, minlength=num_folds)
        return np.cumsum(cells[:, :-1], axis=1) + different[:, np.newaxis], total
