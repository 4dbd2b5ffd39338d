"""How often the intervals of `evaluate people` hold the truth, by the number of people.

    python benchmarks/people_intervals.py

draws embeddings of people who differ in how hard they are to recognise, evaluates each set, and prints the table of
docs/results/intervals.md as Markdown. It takes about ten minutes on two cores.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses

import numpy as np
import pandas as pd

from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import setting
from ddl_tf.evaluation.people import PeopleProtocol, evaluate_people, make_benchmark
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.protocols.people_set import PeopleSet

DIM, IMAGES_EACH = 16, 5
# The noise of a person's images: its middle, and the standard deviation of its logarithm.
NOISE, SPREAD = 0.8, 0.35
FMR, FPIR = {3: 0.1, 5: 0.1, 10: 0.01, 20: 0.01, 50: 0.001, 100: 0.001}, 0.1


@dataclasses.dataclass
class Settings:
    """How much to simulate."""

    simulations: int = setting(200, "Sets to draw for each number of people.")
    replicates: int = setting(100, "Bootstrap replicates of each.")
    seed: int = setting(0, "Seed of everything random.")


def evaluate(people: int, settings: Settings, number: int) -> Outcome:
    """Evaluate one drawn set."""
    random = np.random.default_rng([settings.seed, people, number])
    noise = NOISE * np.exp(SPREAD * random.normal(size=[people, 1, 1]))
    centers = random.normal(size=[people, 1, DIM])
    rows = (centers + noise * random.normal(size=[people, IMAGES_EACH, DIM])).reshape(-1, DIM)
    names = np.repeat(np.arange(people), IMAGES_EACH).astype(str)
    faces = PeopleSet("drawn", [b""] * len(rows), names.tolist(), names, pd.DataFrame(index=range(len(rows))), {})
    protocol = PeopleProtocol(fmr=[FMR[people]], fpir=[FPIR], impostor_pairs=20_000, split_seed=number)
    embeddings = rows / np.linalg.norm(rows, axis=1, keepdims=True)
    return evaluate_people(make_benchmark(faces, protocol), embeddings, settings.replicates, seed=number)


def held(outcomes: list[Outcome]) -> dict[str, str]:
    """Count the intervals that hold the rate, at the threshold of their set, of all drawn sets together."""
    together = {
        name: np.concatenate([outcome.scores[name] for outcome in outcomes])
        for name in ("similarity", "same", "rank", "mate_similarity", "stranger_similarity")
    }
    sorted_scores = {
        "fmr": np.sort(together["similarity"][~together["same"]]),
        "fnmr": np.sort(together["similarity"][together["same"]]),
        "fpir": np.sort(together["stranger_similarity"]),
        # Below every threshold where somebody else is found first.
        "fnir": np.sort(np.where(together["rank"] == 1, together["mate_similarity"], -np.inf)),
    }
    columns = {}
    for name, scores in sorted_scores.items():
        part = "verification" if name in ("fmr", "fnmr") else "open_set"
        hits = []
        for outcome in outcomes:
            for target, threshold in outcome.result[part]["threshold"].items():
                if threshold is not None:
                    below = np.searchsorted(scores, np.float32(threshold)) / len(scores)
                    low, high = outcome.result["intervals"][f"{part}@{name}@{target}"]
                    hits.append(low <= (below if name.startswith("fn") else 1 - below) <= high)
        columns[name.upper()] = f"{100 * np.mean(hits):.0f}%" if hits else "not measured"
    return columns


def main(settings: Settings) -> None:
    """Print the table."""
    rows = []
    for people, fmr in FMR.items():
        outcomes = [evaluate(people, settings, number) for number in range(settings.simulations)]
        rows.append({"people": str(people), "FMR asked": f"{fmr:g}", **held(outcomes)})
    print(markdown_table(pd.DataFrame(rows)))


if __name__ == "__main__":
    command.run(main, Settings)
