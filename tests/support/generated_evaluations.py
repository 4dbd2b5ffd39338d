"""Small stored evaluations and runs, generated: what `evaluate ... --store` and `train` would leave."""

import numpy as np
import pandas as pd

from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.metrics.weighted import WeightedPairs

PEOPLE, IMAGES_EACH, DIM = 12, 4, 6
RACES = ("african", "asian", "caucasian", "indian")


def pairs_of_people(seed, count=240):
    """Positions of the two images of pairs, of which every other one is of the same person."""
    rng = np.random.default_rng(seed)
    first, second = np.empty(count, int), np.empty(count, int)
    for pair in range(count):
        people = rng.choice(PEOPLE, 2, replace=False)
        images = rng.choice(IMAGES_EACH, 2, replace=False)
        first[pair], second[pair] = people[[0, pair % 2]] * IMAGES_EACH + images
    return first, second, np.arange(count) % 2 == 0


def write_pairs(folder, name, noise, seed=0, columns=True, provenance=None):
    """Store a verification set; the larger `noise`, the worse the model. Equal seeds are equal pairs."""
    rng = np.random.default_rng([seed, 1])
    people = np.repeat(np.arange(PEOPLE), IMAGES_EACH)
    yaw = rng.uniform(-90, 90, len(people))
    centers = rng.normal(size=[PEOPLE, DIM])
    views = centers[people] + (noise * (1 + np.abs(yaw) / 90))[:, np.newaxis] * rng.normal(size=[len(people), DIM])
    views = views[:, np.newaxis].astype(np.float32)
    unit = views[:, 0] / np.linalg.norm(views[:, 0], axis=1, keepdims=True)
    first, second, same = pairs_of_people(seed)
    similarity = np.sum(unit[first].astype(np.float64) * unit[second], axis=1)
    numbers = WeightedPairs(similarity, same).numbers(np.ones(len(same)))
    result = {"set": name, "protocol": "pairs", "pairs": len(same), "same": int(same.sum()), "accuracy_std": 0.01}
    result.update({measure: numbers[measure] for measure in ("auc", "expectation_margin")})
    result["accuracy"] = numbers["threshold_accuracy"]
    result["tar"] = {far: numbers[f"tar@{far}"] for far in ("1e-1", "1e-4")}
    result["intervals"] = {"auc": [numbers["auc"] - 0.01, numbers["auc"] + 0.01]}
    table = pd.DataFrame({"key": [f"{person}/{place}.jpg" for place, person in enumerate(people)]})
    if columns:
        table = table.assign(person=[f"p{person}" for person in people], yaw=yaw)
    (folder / name).mkdir(parents=True)
    np.save(folder / name / "embeddings.npy", views)
    table.to_csv(folder / name / "images.csv", index=False)
    scores = {"similarity": similarity, "same": same, "first": first, "second": second}
    write_outcome(folder / name, Outcome(result, scores), provenance or {"model": str(folder), "flip": False})
    return result, scores


def write_ranks(folder, name, seed, worst=4):
    """Store a set of ranks in three conditions, of which the later ones are easier."""
    rng = np.random.default_rng(seed)
    condition = np.repeat(["d1", "d2", "d3"], 20)
    rank = rng.integers(0, np.repeat([worst + 3, worst + 1, worst], 20))
    result = {"set": name, "protocol": "identification", "probes": len(rank), "intervals": {"rank1@d1": [0.1, 0.4]}}
    result["rank1"] = {d: float(np.mean(rank[condition == d] == 1)) for d in ("d1", "d2", "d3")}
    (folder / name).mkdir(parents=True)
    pd.DataFrame({"key": range(60)}).to_csv(folder / name / "images.csv", index=False)
    write_outcome(folder / name, Outcome(result, {"rank": rank, "condition": condition}), {"model": str(folder)})
    return rank, condition


def write_evaluation(folder, noise, races=False):
    """Store a model's evaluation: two sets of pairs, one of ranks, and the races of RFW with their summary."""
    write_pairs(folder, "easy_set", noise, seed=0)
    write_pairs(folder, "hard_set", 1.6 * noise, seed=5)
    write_ranks(folder, "scface", seed=int(100 * noise))
    if races:
        results = [write_pairs(folder, f"rfw_{race}", noise, seed=place)[0] for place, race in enumerate(RACES, 10)]
        summary = {"set": "rfw", "protocol": "rfw", "mean": float(np.mean([result["accuracy"] for result in results]))}
        write_outcome(folder / "rfw", Outcome(summary, {}), {"model": str(folder)})
    return folder


def write_run(folder, groups=True):
    """What a training run leaves that a report reads."""
    folder.mkdir(parents=True)
    log = pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.5], "easy_set/auc": [np.nan, 0.8, np.nan]})
    if groups:
        log["embedding_gap_1"] = [0.3, 0.2, 0.1]
        rng = np.random.default_rng(0)
        arrays = {f"{kind}_{group}": rng.uniform(0, 0.8, 50) for kind in ("positive", "negative") for group in (0, 1)}
        np.savez(folder / "similarities.npz", **arrays)
    log.to_csv(folder / "log.csv", index=False)
    return folder
