"""How often the intervals of 95% hold the truth, how often tests of equal models cry wolf, and how long both take.

    python benchmarks/intervals.py

draws similarities of which the truth is known (normal, with an effect of each person), and prints the tables of
docs/results/intervals.md as Markdown. It takes about ten minutes on one core.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import time
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
from scipy.optimize import brentq
from scipy.stats import norm

from ddl_tf.common.settings import setting
from ddl_tf.metrics.bootstrap import pair_weights, percentile_interval
from ddl_tf.metrics.paired_tests import bootstrap_p, delong_test
from ddl_tf.metrics.weighted import WeightedPairs

# Cosines: the mean of same pairs (different ones have 0), and the noise of a pair.
MEAN, NOISE = 0.5, 0.15
NUMBERS = ("auc", "eer", "accuracy", "threshold_accuracy", "expectation_margin")


@dataclasses.dataclass
class Settings:
    """How much to simulate."""

    simulations: int = setting(400, "Sets to draw in each case.")
    replicates: int = setting(200, "Bootstrap replicates of each.")
    seed: int = setting(0, "Seed of everything random.")


class Case(NamedTuple):
    """What sets are like.

    Attributes:
        title: for the table.
        people: how many.
        pairs: same pairs, and as many different ones.
        of_same: standard deviation of what a person adds to his same pairs.
        of_different: and to his different ones.
    """

    title: str
    people: int
    pairs: int
    of_same: float
    of_different: float


CASES = (
    Case("every person in one of 500 + 500 pairs", 1500, 500, 0.1, 0.07),
    Case("600 people, 500 + 500 pairs", 600, 500, 0.1, 0.07),
    Case("100 people, 500 + 500 pairs", 100, 500, 0.1, 0.07),
    Case("500 people, 3500 + 3500 pairs (as CFP)", 500, 3500, 0.1, 0.07),
    Case("50 people, 1225 + 1225 pairs (all)", 50, 1225, 0.1, 0.07),
)


def _spreads(case: Case) -> tuple[float, float]:
    return float(np.hypot(case.of_same, NOISE)), float(np.hypot(np.sqrt(2) * case.of_different, NOISE))


def truth(case: Case, targets: Mapping[str, float]) -> dict[str, float]:
    """Compute the numbers of infinitely many people."""
    same, different = _spreads(case)
    threshold = brentq(lambda t: norm.sf(t / different) - norm.cdf((t - MEAN) / same), -1, 2)
    accuracy = max((norm.sf((t - MEAN) / same) + norm.cdf(t / different)) / 2 for t in np.linspace(0, 1, 201))
    return {
        "auc": norm.cdf(MEAN / np.hypot(same, different)),
        "eer": norm.sf(threshold / different),
        "accuracy": accuracy,
        "threshold_accuracy": accuracy,
        "expectation_margin": MEAN,
        **{f"tar@{name}": norm.sf((different * norm.isf(far) - MEAN) / same) for name, far in targets.items()},
    }


def draw_people(case: Case, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw who is in the same pairs, then in the different ones: `[pairs]` first and second, people equally often."""
    if case.people == 3 * case.pairs:
        shared, first, second = random.permutation(case.people).reshape(3, case.pairs)
        return np.concatenate([shared, first]), np.concatenate([shared, second])
    shared = np.resize(random.permutation(case.people), case.pairs)
    if case.pairs == case.people * (case.people - 1) // 2:
        first, second = np.triu_indices(case.people, 1)
    else:
        first = np.resize(random.permutation(case.people)[::-1], case.pairs)
        second = (first + random.integers(1, case.people, case.pairs)) % case.people
    return np.concatenate([shared, first]), np.concatenate([shared, second])


def draw_similarity(case: Case, first: np.ndarray, second: np.ndarray, random: np.random.Generator) -> np.ndarray:
    """Draw a model's similarities: what people add, and the noise of each pair."""
    of_same, of_different = random.normal(size=[2, case.people]) * [[case.of_same], [case.of_different]]
    effect = np.where(first == second, MEAN + of_same[first], of_different[first] + of_different[second])
    return effect + NOISE * random.normal(size=len(first))


def coverage(case: Case, settings: Settings, targets: Mapping[str, float]) -> dict[str, dict[str, float]]:
    """Count how often the intervals over pairs and over people hold the truth."""
    true = truth(case, targets)
    held: dict[str, dict[str, float]] = {unit: dict.fromkeys(true, 0.0) for unit in ("pairs", "people")}
    for simulation in range(settings.simulations):
        random = np.random.default_rng([settings.seed, simulation])
        first, second = draw_people(case, random)
        similarity, same = draw_similarity(case, first, second, random), np.arange(2 * case.pairs) < case.pairs
        pairs = WeightedPairs(similarity, same, random.integers(0, 10, len(same)), targets)
        for unit, people in {"pairs": (None, None), "people": (first, second)}.items():
            weights = pair_weights(same, settings.replicates, simulation, *people)
            values = [pairs.numbers(weight) for weight in weights]
            for name, value in true.items():
                low, high = percentile_interval([numbers[name] for numbers in values])
                held[unit][name] += (low <= value <= high) / settings.simulations
    return held


def false_alarms(case: Case, settings: Settings) -> dict[str, float]:
    """Count how often two equally good models differ "significantly" in AUC, p < 0.05."""
    alarms = {"DeLong": 0.0, "bootstrap of pairs": 0.0, "bootstrap of people": 0.0}
    for simulation in range(settings.simulations):
        random = np.random.default_rng([settings.seed, simulation])
        first, second = draw_people(case, random)
        same = np.arange(2 * case.pairs) < case.pairs
        common, *separate = (draw_similarity(case, first, second, random) for _ in range(3))
        models = [(common + noise) / 2 for noise in separate]
        p = {"DeLong": delong_test(models[0], models[1], same).p or 0.0}
        weighted = [WeightedPairs(similarity, same) for similarity in models]
        for unit, people in {"pairs": (None, None), "people": (first, second)}.items():
            weights = pair_weights(same, settings.replicates, simulation, *people)
            values = ([model.numbers(weight)["auc"] for model in weighted] for weight in weights)
            p[f"bootstrap of {unit}"] = bootstrap_p([a - b for a, b in values])
        for name, value in p.items():
            alarms[name] += (value < 0.05) / settings.simulations
    return alarms


def _seconds(pairs: int, replicates: int, people: int) -> float:
    case = Case("", people, pairs // 2, 0.1, 0.07)
    random = np.random.default_rng(0)
    first, second = draw_people(case, random)
    similarity, same = draw_similarity(case, first, second, random), np.arange(pairs) < pairs // 2
    order = np.argsort(-similarity)
    started = time.perf_counter()
    weighted = WeightedPairs(similarity[order], same[order], random.integers(0, 10, pairs))
    for weights in pair_weights(same[order], replicates, 0, first[order], second[order]):
        weighted.numbers(weights)
    return time.perf_counter() - started


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _print_table(header: list[str], rows: list[list[str]]) -> None:
    print(*map(_row, [header, ["---"] * len(header), *rows]), "", sep="\n", flush=True)


def main(settings: Settings) -> None:
    """Print all tables.

    Args:
        settings: the flags.
    """
    percent: Callable[[float], str] = "{:.0%}".format
    rows = []
    for case in CASES:
        held = coverage(case, settings, {"1e-1": 1e-1})
        for unit, shares in held.items():
            rows.append([case.title, unit, *(percent(share) for share in shares.values())])
    _print_table(["sets", "resampled", *NUMBERS, "tar@1e-1"], rows)
    expected = {f"{count}": count / CASES[0].pairs for count in (0.5, 1, 2, 3, 5, 10, 20)}
    shares = coverage(CASES[0], settings, expected)["pairs"]
    _print_table(
        ["false accepts that FAR allows", *expected],
        [["interval of tar@FAR holds the truth", *(percent(shares[f"tar@{name}"]) for name in expected)]],
    )
    rows = []
    for case in CASES:
        alarms = false_alarms(case, settings)
        rows.append([case.title, *map(percent, alarms.values())])
    _print_table(["equal models that differ, p < 0.05", *alarms], rows)
    sizes = ((7_000, 1000, 500), (1_000_000, 200, 5000))
    _print_table(
        ["pairs", "replicates", "seconds"],
        [[f"{pairs:,}", str(times), f"{_seconds(pairs, times, people):.2g}"] for pairs, times, people in sizes],
    )


if __name__ == "__main__":
    command.run(main, Settings)
