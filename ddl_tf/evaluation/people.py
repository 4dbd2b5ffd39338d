"""How good a model is on any people: 1:1, search among some of them with strangers, and both by group."""

import dataclasses
from collections.abc import Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.evaluation.pairs import mean_similarities, pair_similarities
from ddl_tf.evaluation.people_text import rules_text
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import (
    MIN_FALSE_ACCEPTS,
    bootstrap_pairs,
    bootstrap_rates,
    few_false_accepts,
    rate_interval,
)
from ddl_tf.metrics.error_rates import generalised_rates, operating_points
from ddl_tf.metrics.group_differences import compare_groups
from ddl_tf.metrics.people_rates import pair_rates
from ddl_tf.metrics.ranks import search_gallery
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.protocols.people import Split, open_set_splits, people_pairs
from ddl_tf.protocols.people_groups import GroupChoice, Groups, group_images
from ddl_tf.protocols.people_set import PeopleSet

RANKS = (1, 5, 10)
# What stored sets call photos that show nobody, and people who have no other photos.
NO_FACE, NOBODY = ("no face", "no usable face"), "empty identity"
# With fewer people a bootstrap over them is too bold (docs/results/intervals.md).
_FEW_PEOPLE = 10


@dataclasses.dataclass
class PeopleProtocol(GroupChoice):
    """What is asked of a set of people; the settings of the command inherit these fields."""

    fmr: list[float] = setting([1e-3, 1e-4], "False match rates of 1:1 to find thresholds for, comma-separated.")
    fpir: list[float] = setting([1e-2, 1e-1], "False positive identification rates of 1:N to find thresholds for.")
    most_pairs_per_person: int = setting(100, "Pairs of two images of a person, at most; 0: all.")
    impostor_pairs: int = setting(200_000, "Pairs of images of two people, in all, at most; 0: all.")
    strangers: float = setting(0.5, "1:N: the share of people who are not enrolled, but searched.")
    enrolled: int = setting(1, "1:N: images of each enrolled person that are enrolled; the others are searched.")
    splits: int = setting(10, "1:N: how many times to draw who is enrolled; 0: no 1:N.")
    split_seed: int = setting(0, "Seed of pairs, strangers and enrolled images; compare models with one seed.")


class Benchmark(NamedTuple):
    """What is compared, before there are embeddings: pairs, splits for the search, groups by column."""

    faces: PeopleSet
    pairs: PairSet
    splits: list[Split]
    groups: dict[str, Groups]
    protocol: PeopleProtocol


def make_benchmark(faces: PeopleSet, protocol: PeopleProtocol) -> Benchmark:
    """Draw pairs and splits of a set of people, and refuse settings that make no sense."""
    false_match_rates(protocol.fmr)
    false_match_rates(protocol.fpir, "fpir")
    for name in ("most_pairs_per_person", "impostor_pairs"):
        if getattr(protocol, name) < 0:
            raise InputError(f"--{name}={getattr(protocol, name)}: must be at least 1, or 0 for all")
    groups = group_images(faces.columns, protocol.by, protocol.edges, protocol.bins)
    splits = open_set_splits(faces.people, protocol.strangers, protocol.enrolled, protocol.splits, protocol.split_seed)
    pairs = people_pairs(faces.people, protocol.most_pairs_per_person, protocol.impostor_pairs, protocol.split_seed)
    fold = np.zeros(len(pairs.same), np.int64)
    pair_set = PairSet(faces.name, faces.images, *pairs, fold, faces.keys, faces.people)
    return Benchmark(faces, pair_set, splits, groups, protocol)


def false_match_rates(rates: Sequence[float], flag: str = "fmr") -> dict[str, float]:
    """Name the rates of a flag by `rate_name`, and refuse what is no rate."""
    if not rates or not all(0 < rate < 1 for rate in rates):
        text = ",".join(f"{rate:g}" for rate in rates)
        raise InputError(f"--{flag}={text}: give rates above 0 and below 1, such as 1e-3")
    return {rate_name(rate): rate for rate in rates}


@dataclasses.dataclass(frozen=True)
class _Measuring:
    """How intervals are made, and what is collected: the intervals by number, and what could not be measured."""

    replicates: int
    seed: int
    intervals: dict[str, list[float]] = dataclasses.field(default_factory=dict)
    notes: list[str] = dataclasses.field(default_factory=list)

    def add_rate(self, path: str, errors: np.ndarray, person: np.ndarray) -> float:
        """The share of `errors` `[probes]` bool, of which the interval over people is collected."""
        if self.replicates and 0 < errors.mean() < 1:
            self.intervals[path] = bootstrap_rates(errors, self.replicates, self.seed, person)
        elif self.replicates:
            people = len(np.unique(person))
            self.intervals[path] = rate_interval(people if errors.all() else 0, people)
        return float(errors.mean())


def rate_name(rate: float) -> str:
    """Name a rate as `FAR_TARGETS` does: 0.001 is "1e-3"."""
    mantissa, exponent = f"{rate:e}".split("e")
    return f"{float(mantissa):g}e{int(exponent)}"


def evaluate_people(benchmark: Benchmark, embeddings: np.ndarray, replicates: int = 1000, seed: int = 0) -> Outcome:
    """Evaluate the embeddings of a set of people.

    Args:
        benchmark: what is compared.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.
        replicates: of the bootstrap over people; 0: no intervals.
        seed: of the bootstrap.

    Returns:
        `verification`, `identification`, `open_set`, `groups`, `differences` and `notes`, as docs/people.md lists them;
        what cannot be measured is None. The scores are those of the pairs, and of the probes of all splits, one split
        after another.
    """
    faces = benchmark.faces
    people = np.unique(faces.people, return_inverse=True)[1]
    similarity = pair_similarities(benchmark.pairs, embeddings).astype(np.float32)
    measuring = _Measuring(replicates, seed)
    verification = _verify(benchmark, people, similarity, measuring)
    identification, open_set, probe_scores = _search(benchmark, people, embeddings, measuring)
    measured = {name: value for name, value in verification["threshold"].items() if value is not None}
    drawn_pairs = (benchmark.pairs.first, benchmark.pairs.second, benchmark.pairs.same)
    by_group = compare_groups(benchmark.groups, people, similarity, drawn_pairs, measured, replicates, seed)
    measuring.intervals.update(by_group.intervals)
    measuring.notes.extend(by_group.notes)
    acquisition = _acquisition(faces, people, ~embeddings.any(axis=1), verification, measuring)
    count = int(people.max()) + 1
    if replicates and count < _FEW_PEOPLE:
        measuring.notes.append(
            f"Intervals over {count} people are too narrow; from {_FEW_PEOPLE} people on they can be trusted."
        )
    result = {
        "set": faces.name,
        "protocol": "people",
        "people": count,
        "images": len(people),
        "left_out": faces.left_out,
        "acquisition": acquisition,
        "split_seed": benchmark.protocol.split_seed,
        "verification": verification,
        "identification": identification,
        "open_set": open_set,
        "groups": by_group.groups,
        "differences": by_group.differences,
        "notes": measuring.notes,
        "source": faces.source,
        **({"intervals": measuring.intervals} if replicates else {}),
    }
    pairs = benchmark.pairs
    scores = {"similarity": similarity, "same": pairs.same, "first": pairs.first, "second": pairs.second}
    return Outcome(result, {**scores, "people": faces.people, **probe_scores})


def _verify(
    benchmark: Benchmark,
    people: np.ndarray,
    similarity: np.ndarray,
    measuring: _Measuring,
) -> dict[str, Any]:
    """The numbers of 1:1."""
    same = benchmark.pairs.same
    first, second = people[benchmark.pairs.first], people[benchmark.pairs.second]
    targets = {rate_name(rate): rate for rate in benchmark.protocol.fmr}
    curve = roc.roc_curve(similarity, same)
    points = operating_points(similarity, same, targets, measuring.replicates, measuring.seed, first, second)
    measured = [name for name, threshold in points.rates["threshold"].items() if threshold is not None]
    tars = {name: roc.tar_at_far(*curve, rate) if name in measured else None for name, rate in targets.items()}
    measuring.intervals.update({f"verification@{name}": ends for name, ends in points.intervals.items()})
    result = {
        "pairs": len(same),
        "same": int(same.sum()),
        "auc": roc.auc(*curve),
        "eer": roc.eer(*curve),
        "tar": tars,
        **mean_similarities(similarity, same),
        **points.rates,
    }
    if measuring.replicates:
        drawn = bootstrap_pairs(
            similarity, same, measuring.replicates, measuring.seed, first, second, far_targets=targets
        )
        kept = {"auc", "eer", "expectation_margin", "mean_same", "mean_different", *(f"tar@{name}" for name in targets)}
        measuring.intervals.update(
            {f"verification@{name}": interval for name, interval in drawn.items() if name in kept}
        )
    different, sizes = int(np.sum(~same)), np.bincount(people)
    possible = (len(people) ** 2 - int(np.sum(sizes**2))) // 2
    for name, rate in targets.items():
        if name not in measured:
            more = f"raise --impostor_pairs, of {possible:,}" if possible >= _needed(rate) else "add people or images"
            measuring.notes.append(_too_few(f"FMR {name}", rate, "comparisons of strangers", different, more))
    return result


def _acquisition(
    faces: PeopleSet, people: np.ndarray, failed: np.ndarray, verification: dict[str, Any], measuring: _Measuring
) -> dict[str, Any]:
    """Count the images without a usable face and the people who have no other; `failed` `[images]` are in the rates."""
    without_face = sum(faces.left_out.get(kind, 0) for kind in NO_FACE)
    not_enrolled, known = faces.left_out.get(NOBODY, 0), len(np.unique(people))
    attempts, everybody = len(people) + without_face, known + not_enrolled
    fta, fte = without_face / attempts, not_enrolled / everybody
    generalised = {
        name: None if fnmr is None else generalised_rates(verification["fmr"][name], fnmr, fta, fte)._asdict()
        for name, fnmr in verification["fnmr"].items()
    }
    # Of those who have only embeddings of zeros, nobody is recognised either.
    lost = known - len(np.unique(people[~failed]))
    if measuring.replicates:
        measuring.intervals["acquisition@fte"] = rate_interval(not_enrolled + lost, everybody)
    return {
        "attempts": attempts,
        "failed": without_face + int(failed.sum()),
        "fta": (without_face + int(failed.sum())) / attempts,
        "people": everybody,
        "not_enrolled": not_enrolled + lost,
        "fte": (not_enrolled + lost) / everybody,
        **{kind: {name: rates and rates[kind] for name, rates in generalised.items()} for kind in ("gfar", "gfrr")},
    }


def _too_few(what: str, rate: float, trials: str, count: int, more: str) -> str:
    """Say why a rate is not measured, and which is the least that could be, rounded up to one digit."""
    least, exponent = f"{MIN_FALSE_ACCEPTS / count:e}".split("e")
    instead = (
        f", or ask for {rate_name(np.ceil(float(least)) * 10.0 ** int(exponent))}" if count > MIN_FALSE_ACCEPTS else ""
    )
    return (
        f"{what} is not measured: it takes {_needed(rate):,} {trials}, and there are {count:,}; {more}{instead}. "
        f"{rules_text(rate, count)}"
    )


def _needed(rate: float) -> int:
    """How many trials make three errors at a rate."""
    return int(np.ceil(round(MIN_FALSE_ACCEPTS / rate, 6)))


class _Probes(NamedTuple):
    """The probes of all splits: of mated ones person, rank and similarity of the mate; of strangers whom they are like.

    `found` is the person who is most similar to a stranger, and `best` how similar.
    """

    person: np.ndarray
    rank: np.ndarray
    mate: np.ndarray
    stranger: np.ndarray
    found: np.ndarray
    best: np.ndarray


def _search_splits(embeddings: np.ndarray, people: np.ndarray, splits: Sequence[Split]) -> _Probes:
    parts = []
    for split in splits:
        enrolled, entry = np.unique(people[split.enrolled], return_inverse=True)
        templates = np.zeros([len(enrolled), embeddings.shape[1]])
        np.add.at(templates, entry, embeddings[split.enrolled])
        norms = np.linalg.norm(templates, axis=1, keepdims=True)
        templates /= np.where(norms > 0, norms, 1)
        probes = np.concatenate([split.mated, split.strangers])
        found = search_gallery(embeddings[probes], templates, people[probes], enrolled)
        mated = len(split.mated)
        parts.append(
            (
                people[split.mated],
                found.rank[:mated],
                # As thresholds are: what is equal in two splits stays equal.
                found.mate_similarity[:mated].astype(np.float32),
                people[split.strangers],
                enrolled[found.other[mated:]],
                found.other_similarity[mated:].astype(np.float32),
            )
        )
    return _Probes(*map(np.concatenate, zip(*parts)))


def _search(
    benchmark: Benchmark,
    people: np.ndarray,
    embeddings: np.ndarray,
    measuring: _Measuring,
) -> tuple[Optional[dict[str, Any]], Optional[dict[str, Any]], dict[str, np.ndarray]]:
    """The numbers of 1:N, at one threshold for all splits, and the scores of the probes."""
    splits = benchmark.splits
    if not splits:
        return None, None, {}
    probes = _search_splits(embeddings, people, splits)

    gallery = len(np.unique(people[splits[0].enrolled]))
    ranks = [rank for rank in RANKS if rank <= gallery]
    identification = {
        "gallery": gallery,
        "enrolled": benchmark.protocol.enrolled,
        "probes": len(probes.rank),
        "rank": {
            str(rank): measuring.add_rate(f"identification@rank@{rank}", probes.rank <= rank, probes.person)
            for rank in ranks
        },
    }
    targets = {rate_name(rate): rate for rate in benchmark.protocol.fpir}
    # The same image in several splits is one trial.
    trials = len(np.unique(np.concatenate([split.strangers for split in splits])))
    few = {name.removeprefix("tpir@") for name in few_false_accepts("tpir", targets, trials)}
    values: dict[str, dict[str, Optional[float]]] = {
        name: dict.fromkeys(targets) for name in ("threshold", "fpir", "fnir")
    }
    for name, rate in targets.items():
        if name in few:
            more = "raise --splits" if len(people) >= _needed(rate) else "add people or images"
            measuring.notes.append(_too_few(f"FPIR {name}", rate, "images of strangers", trials, more))
            continue
        threshold = roc.threshold_at_far(probes.best, np.zeros(len(probes.best), bool), rate)
        values["threshold"][name] = threshold
        missed = (probes.rank != 1) | (probes.mate < threshold)
        values["fnir"][name] = measuring.add_rate(f"open_set@fnir@{name}", missed, probes.person)
        # Who is enrolled decides too, so that both people of a false alarm are drawn.
        passed = (probes.best >= threshold)[:, np.newaxis]
        (rate_there,) = pair_rates(passed, probes.stranger, probes.found, measuring.replicates, measuring.seed)
        values["fpir"][name] = rate_there.value
        if rate_there.interval:
            measuring.intervals[f"open_set@fpir@{name}"] = rate_there.interval
    open_set = {
        "splits": len(splits),
        "strangers": len(np.unique(people[splits[0].strangers])),
        "mated": len(probes.rank),
        "non_mated": len(probes.best),
        **values,
    }
    names = np.unique(benchmark.faces.people)
    scores = {
        "rank": probes.rank,
        "person": names[probes.person],
        "mate_similarity": probes.mate,
        "stranger_similarity": probes.best,
        "stranger_person": names[probes.stranger],
    }
    return identification, open_set, scores
