"""The verification protocol: are the two images of a pair the same person?"""

from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.data.verification import PairSet
from ddl_tf.errors import InputError
from ddl_tf.evaluation import roc
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.k_fold import best_threshold, k_fold_accuracy, k_fold_tar, usable_folds
from ddl_tf.evaluation.outcome import Outcome

FAR_TARGETS = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}


def pair_similarities(pair_set: PairSet, embeddings: np.ndarray) -> np.ndarray:
    """Compute the cosine similarity of each pair of a set.

    Args:
        pair_set: the pairs.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.

    Returns:
        `[pairs]` float64, -1..1.
    """
    embeddings = embeddings.astype(np.float64)
    return np.sum(embeddings[pair_set.first] * embeddings[pair_set.second], axis=1)


def verify(pair_set: PairSet, embeddings: np.ndarray) -> dict[str, Any]:
    """Compute the verification results of a set from the embeddings of its images.

    Args:
        pair_set: the pairs.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.

    Returns:
        As `evaluate_pairs`.

    Raises:
        InputError: as `evaluate_pairs`.
    """
    same = np.asarray(pair_set.same, bool)
    try:
        fold = usable_folds(same, np.asarray(pair_set.fold))
    except InputError as error:
        raise InputError(f"verification set {pair_set.name}: {error}") from None
    similarity = pair_similarities(pair_set, embeddings)
    wide = embeddings.astype(np.float64)
    # Not 2 - 2 * similarity: the k-fold numbers are InsightFace's to the last digit.
    distance = np.sum((wide[pair_set.first] - wide[pair_set.second]) ** 2, axis=1)
    accuracy = k_fold_accuracy(distance, same, fold)
    tar, far = k_fold_tar(distance, same, fold)
    threshold, threshold_accuracy = best_threshold(distance, same)
    curve = roc.roc_curve(similarity, same)
    mean_same, mean_different = float(similarity[same].mean()), float(similarity[~same].mean())
    return {
        "set": pair_set.name,
        "pairs": len(same),
        "same": int(same.sum()),
        "folds": len(accuracy),
        "accuracy": float(accuracy.mean()),
        "accuracy_std": float(accuracy.std()),
        "auc": roc.auc(*curve),
        "eer": roc.eer(*curve),
        "tar": {name: roc.tar_at_far(*curve, target) for name, target in FAR_TARGETS.items()},
        "expectation_margin": mean_same - mean_different,
        "mean_same": mean_same,
        "mean_different": mean_different,
        "threshold": threshold,
        "threshold_accuracy": threshold_accuracy,
        # None where no fold has both classes.
        "val": {"tar": float(tar.mean()), "tar_std": float(tar.std()), "far": float(far.mean())} if len(tar) else None,
    }


def evaluate_pairs(model: tf.keras.Model, pair_set: PairSet, flip: bool = True, batch_size: int = 64) -> dict[str, Any]:
    """Evaluate an embedding model on a verification set.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        pair_set: the images and pairs.
        flip: whether to add the embedding of the mirrored image.
        batch_size: images a step.

    Returns:
        What `json.dumps` takes, rates and accuracies 0..1:

        - `set`, `pairs`, `same`: the name, the number of pairs, and of same pairs.
        - `folds`, `accuracy`, `accuracy_std`: k-fold accuracy, see `k_fold_accuracy` and `usable_folds`.
        - `auc`, `eer`, `tar`: from the ROC of all pairs; `tar` by FAR, see `tar_at_far`.
        - `mean_same`, `mean_different`, `expectation_margin`: the mean similarities and their difference.
        - `threshold`, `threshold_accuracy`: the similarity above which to accept for the best accuracy over all
          pairs, and that accuracy.
        - `val`: `tar`, `tar_std` and `far` of k-fold cross-validation at FAR 1e-3, see `k_fold_tar`; None where
          no fold has both classes.

    Raises:
        InputError: if an image cannot be decoded, an embedding is not finite, or there are fewer than two same or
            two different pairs.
    """
    return verify(pair_set, embed_images(model, pair_set.images, pair_set.name, flip, batch_size))


def evaluate_pair_set(pair_set: PairSet, embeddings: np.ndarray, replicates: int = 0, seed: int = 0) -> Outcome:
    """Evaluate embeddings on a verification set.

    Args:
        pair_set: the pairs.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.
        replicates: of the bootstrap; 0 for no intervals.
        seed: of the bootstrap.

    Returns:
        The result, as `verify` gives it, and the scores `similarity`, `same`, `fold`, `first`,
        `second`, each `[pairs]`.

    Raises:
        InputError: as `evaluate_pairs`.
    """
    scores = {name: np.asarray(getattr(pair_set, name)) for name in ("same", "fold", "first", "second")}
    similarity = pair_similarities(pair_set, embeddings)
    return Outcome(verify(pair_set, embeddings), {"similarity": similarity, **scores})
