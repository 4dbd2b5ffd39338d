"""MegaFace challenge 1: is a person's other photo more similar than each of up to a million distractors?"""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.evaluation.megaface_counts import FalseAccepts, MateRanks, reaching
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics.bootstrap import check_replicates, few_false_accepts, percentile_interval

FAR_TARGETS = {"1e-4": 1e-4, "1e-5": 1e-5, "1e-6": 1e-6}
RANKS = (1, 10, 100)
# Distractors whose similarities to all probes are in memory at a time: 58 MB with 3,530 probes.
_BLOCK = 4096


def replace_by_center(probes: np.ndarray, people: np.ndarray, replaced: np.ndarray) -> np.ndarray:
    """Replace noisy probes by the center of their person's others, as published numbers (`remove_noises.py`) do.

    It flatters. `probes` `[probes, dim]` are of unit norm, or NaN without an image; `people` and `replaced` `[probes]`.
    """
    result = probes.astype(np.float32)
    usable = ~replaced & ~np.isnan(probes).any(axis=1)
    for person in np.unique(people[replaced]):
        members = people == person
        if not np.any(members & usable):
            raise InputError(f"{person}: all photos are noisy, so that there is no center; exclude noisy probes")
        center = probes[members & usable].sum(axis=0, dtype=np.float64)
        result[members & replaced] = center / np.linalg.norm(center)
    return result


class _Pairs(NamedTuple):
    """All ordered pairs of two photos of one person, `[pairs]` each; `complete`: neither photo is missing."""

    mate: np.ndarray
    probe: np.ndarray
    person: np.ndarray
    complete: np.ndarray


def _pair(probes: np.ndarray, people: np.ndarray, name: str) -> _Pairs:
    codes = np.unique(people, return_inverse=True)[1]
    photos = np.split(np.argsort(codes, kind="stable"), np.cumsum(np.bincount(codes))[:-1])
    mate = np.concatenate([photos[person] for person in codes])
    probe = np.repeat(np.arange(len(codes)), [len(photos[person]) for person in codes])
    mate, probe = mate[mate != probe], probe[mate != probe]
    if not len(probe):
        raise InputError(f"{name}: nobody has two photos, so that there are no pairs; look at the list of probes")
    missing = np.isnan(probes).any(axis=1)
    person = np.unique(codes[probe], return_inverse=True)[1]
    pairs = _Pairs(mate, probe, person, ~(missing[mate] | missing[probe]))
    if not pairs.complete.any():
        raise InputError(f"{name}: no two photos of one person are there; look at the missing images")
    return pairs


def _similarities(probes: np.ndarray, pairs: _Pairs) -> np.ndarray:
    """The similarity of each complete pair, the same both ways round."""
    mate, probe = pairs.mate[pairs.complete], pairs.probe[pairs.complete]
    low, high = np.minimum(mate, probe), np.maximum(mate, probe)
    parts = np.array_split(np.arange(len(low)), -(-len(low) // _BLOCK))
    return np.concatenate([np.einsum("ij,ij->i", probes[low[part]], probes[high[part]]) for part in parts])


def _stream(blocks: Iterable[np.ndarray], dim: int, total: int, stops: Iterable[int]) -> Iterator[np.ndarray]:
    """Check blocks and cut them: no part is large, and there is an end at each stop."""
    ends = sorted({*stops, total})
    done = 0
    for block in blocks:
        if block.ndim != 2 or block.shape[1] != dim:
            raise InputError(f"distractors of shape {block.shape}, where probes have {dim} values; of another model?")
        if not np.isfinite(block).all():
            raise InputError(f"distractors {done:,} to {done + len(block):,}: values that are not finite; embed anew")
        if done + len(block) > total:
            raise InputError(
                f"distractor_blocks has more distractors than num_distractors={total:,}; give their number"
            )
        while len(block):
            size = min(len(block), _BLOCK, next(end for end in ends if end > done) - done)
            yield block[:size]
            block, done = block[size:], done + size
    if done != total:
        raise InputError(f"distractor_blocks has {done:,} distractors, num_distractors is {total:,}; give their number")


def evaluate_megaface(
    probes: np.ndarray,
    people: np.ndarray,
    distractor_blocks: Iterable[np.ndarray],
    num_distractors: int,
    sizes: Optional[Mapping[int, int]] = None,
    name: str = "megaface",
    replicates: int = 1000,
    seed: int = 0,
) -> Outcome:
    """Evaluate MegaFace challenge 1; memory does not depend on the number of distractors, and time is linear in it.

    Of each ordered pair of two photos of one person, one (the mate) is put among the distractors, and the other (the
    probe) is searched for. The rank is 1 plus the number of distractors that are more similar to the probe than the
    mate is, as in FaceX-Zoo's `megaface_evaluator.py`. The TAR is that of the largest FAR not above the target, the
    impostors being all pairs of a photo and a distractor.

    A photo that is missing (a row with NaN) is never found, and finds nothing: its pairs have rank 0, and are genuine
    pairs that are not accepted; it is in no pair of impostors. People with a single photo take no part.

    `probes` are `[probes, dim]` float32 of unit norm, `people` `[probes]` whom each shows, `distractor_blocks` `[n,
    dim]` each, `num_distractors` in all. `sizes`: name -> number of distractors, for `rank1_by_distractors`. Intervals
    come from resampling people with all of their photos. docs/megaface.md has the fields of the result; the scores are
    of pairs, whose order follows from `people` alone: `rank`, `person`, and the positions of mate and probe, `first`
    and `second`.
    """
    probes, people = np.asarray(probes, np.float32), np.asarray(people)
    if sizes is None:
        powers = [10**power for power in range(1, 10) if 10**power < num_distractors]
        sizes = {number: number for number in [*powers, num_distractors]}
    if probes.ndim != 2 or people.shape != (len(probes),):
        raise InputError(f"probes of shape {probes.shape} for people of shape {people.shape}: give one row for each")
    if num_distractors < 1:
        raise InputError("there are no distractors; name a list that has some")
    wrong = [number for number in sizes.values() if not 0 <= number <= num_distractors]
    if wrong:
        raise InputError(f"sizes has {wrong[0]:,}: choose numbers of distractors from 0 to {num_distractors:,}")
    if replicates:
        check_replicates(replicates)
    pairs = _pair(probes, people, name)
    similarity = _similarities(probes, pairs)
    if not np.isfinite(similarity).all():
        raise InputError(f"{name}: probes with values that are not finite; embed them anew")
    # Photos that are compared with distractors, and their persons; of the complete pairs, the rows of the probes.
    compared, first_pair, row = np.unique(pairs.probe[pairs.complete], return_index=True, return_inverse=True)
    person = pairs.person[pairs.complete][first_pair]
    once = pairs.mate[pairs.complete] < pairs.probe[pairs.complete]

    ranks = MateRanks(row, similarity, len(compared))
    impostors = len(compared) * num_distractors
    num_people = int(pairs.person.max()) + 1
    accepts = FalseAccepts(similarity[once], person, num_people, impostors, max(FAR_TARGETS.values()))
    gallery = probes[compared]
    rank1 = {0: float(pairs.complete.mean())}
    done = 0
    with Progress(name, num_distractors, unit="distractor") as progress:
        for block in _stream(distractor_blocks, probes.shape[1], num_distractors, sizes.values()):
            between = gallery @ block.T
            ranks.add(between)
            accepts.add(between)
            done += len(block)
            if done in sizes.values():
                rank1[done] = float(np.sum(ranks.ranks() == 1) / len(pairs.complete))
            progress.advance(len(block))

    rank = np.zeros(len(pairs.complete), np.int32)
    rank[pairs.complete] = ranks.ranks()
    genuine = reaching(accepts.thresholds, similarity[once])
    num_genuine = len(rank) // 2
    allowed = {key: np.flatnonzero(accepts.counts() / impostors <= target) for key, target in FAR_TARGETS.items()}
    result = {
        "set": name,
        "protocol": "megaface",
        "people": num_people,
        "people_without_pairs": int(np.sum(np.unique(people, return_counts=True)[1] == 1)),
        "probes": len(np.unique(pairs.probe)),
        "missing_probes": int(np.isnan(probes).any(axis=1).sum()),
        "distractors": num_distractors,
        "pairs": len(rank),
        "ties": ranks.ties(),
        **{f"rank{limit}": float(np.mean((rank >= 1) & (rank <= limit))) for limit in RANKS},
        "rank1_by_distractors": {str(label): rank1[number] for label, number in sizes.items()},
        "genuine_pairs": num_genuine,
        "impostor_pairs": impostors,
        "tar": {key: float(genuine[at[0]] / num_genuine) if len(at) else 0.0 for key, at in allowed.items()},
        # One or two impostors decide them: they can only be compared with other programs.
        "few_false_accepts": few_false_accepts("tar", FAR_TARGETS, impostors),
    }
    if replicates:
        result["intervals"] = _intervals(pairs, rank, similarity, accepts, replicates, seed)
    scores = {
        "rank": rank,
        "condition": np.full(len(rank), ""),
        "first": pairs.mate,
        "second": pairs.probe,
        # Pairs of one person are not independent.
        "person": pairs.person,
    }
    return Outcome(result, scores)


def _intervals(
    pairs: _Pairs, rank: np.ndarray, similarity: np.ndarray, accepts: FalseAccepts, replicates: int, seed: int
) -> dict[str, list[float]]:
    """Draw people with replacement, with their photos; each replicate finds its own thresholds on the grid."""
    num_people, num_distractors = int(pairs.person.max()) + 1, accepts.impostors // len(accepts.person)
    random = np.random.default_rng(seed)
    # How often each person was drawn, `[replicates, people]`; exact in float64, whose products are fast.
    times = random.multinomial(num_people, np.full(num_people, 1 / num_people), replicates).astype(np.float64)

    def total(by_person: np.ndarray) -> np.ndarray:
        return times @ by_person.astype(np.float64)

    num_pairs = total(np.bincount(pairs.person, minlength=num_people))
    values = {}
    for limit in RANKS:
        hits = np.bincount(pairs.person, (rank >= 1) & (rank <= limit), minlength=num_people)
        values[f"rank{limit}"] = total(hits) / num_pairs
    photos = np.bincount(accepts.person, minlength=num_people)
    false_accepts = total(accepts.counts_by_person())
    grid = accepts.thresholds[accepts.grid]
    # Both orders of each pair are here, so that the rate is that of pairs.
    person = pairs.person[pairs.complete]
    true_accepts = total(np.stack([reaching(grid, similarity[person == number]) for number in range(num_people)]))
    true_accepts = np.pad(true_accepts, [(0, 0), (0, 1)])
    few = few_false_accepts("tar", FAR_TARGETS, num_distractors * len(accepts.person))
    for name, target in FAR_TARGETS.items():
        if f"tar@{name}" not in few:
            above_target = false_accepts > target * num_distractors * total(photos)[:, np.newaxis]
            place = np.maximum(above_target.sum(axis=1), accepts.first_on_grid)
            values[f"tar@{name}"] = true_accepts[np.arange(replicates), place] / num_pairs
    return {name: percentile_interval(column) for name, column in values.items()}
