"""Choosing the identities of a batch: each equally often, or in clusters that are easily confused."""

from typing import Optional

import numpy as np


def choose(rng: np.random.Generator, population: int, size: int) -> np.ndarray:
    """Choose different ones as far as they last; the cost does not grow with the population.

    Args:
        rng: of the step.
        population: how many there are.
        size: how many to choose; more than there are take all of them again.

    Returns:
        `[size]` int64, each below `population`.
    """
    whole, rest = divmod(size, population)
    chosen = [rng.permutation(population) for _ in range(whole)]
    return np.concatenate([*chosen, rng.choice(population, rest, replace=False)])


def choose_others(rng: np.random.Generator, population: int, size: int, taken: np.ndarray) -> np.ndarray:
    """As `choose`, but none of those taken as long as there are others.

    A group's rows then never hold one image twice, which would be a positive pair of similarity 1.

    Args:
        rng: of the step.
        population: how many there are.
        size: how many to choose.
        taken: `[n]` int.

    Returns:
        `[size]` int64, each below `population`.
    """
    candidates = choose(rng, population, size + len(taken))
    return np.concatenate([candidates[~np.isin(candidates, taken)], candidates])[:size]


def choose_confusable(
    rng: np.random.Generator,
    identities: np.ndarray,
    size: int,
    neighbours: np.ndarray,
    cluster: int,
    taken: Optional[np.ndarray] = None,
) -> np.ndarray:
    """Choose identities in clusters: one at random, and those nearest to it.

    The clusters' first identities are drawn equally often. Where an identity has too few neighbours in the population,
    others at random make up for them.

    Args:
        rng: of the step.
        identities: `[population]` int64, ascending.
        size: how many to choose.
        neighbours: `[num_identities, k]` int, the nearest identities of each, the nearest first.
        cluster: identities of a cluster, the first one included.
        taken: `[n]` int, positions that are not chosen as long as there are others.

    Returns:
        `[size]` int64, positions in `identities`, different ones as far as they last.
    """
    taken = np.empty(0, np.int64) if taken is None else taken
    order = choose_others(rng, len(identities), size, taken)
    if len(identities) < size + len(taken):
        # All of them are needed: there is nothing to choose.
        return order
    chosen: dict[int, None] = {}
    used = set(taken.tolist())
    for first in order.tolist():
        if len(chosen) >= size:
            break
        if first in chosen:
            continue
        chosen[first] = None
        near = neighbours[identities[first]]
        position = np.minimum(np.searchsorted(identities, near), len(identities) - 1)
        position = position[identities[position] == near]
        found = [p for p in position.tolist() if p not in chosen and p not in used]
        chosen.update(dict.fromkeys(found[: min(cluster - 1, size - len(chosen))]))
    return np.fromiter(chosen, np.int64, len(chosen))
