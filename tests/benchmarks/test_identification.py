import numpy as np
import pandas as pd
import pytest
from hard_faces import identification as module
from hard_faces.identification import Embedded, compared_rows, identification, rank_one, read_identification
from tiny_sets import samples, stored_faces

from ddl_tf.runtimes.views import unit


def drawn(people, numbers, random):
    embeddings = random.normal(size=(8, 6))[people] + random.normal(size=(len(people), 6))
    return Embedded(unit(embeddings.astype(np.float32)), np.array(people), np.array(numbers))


def naive(sharp, probes, distractors):
    rates = []
    for number in range(3):
        found, counted = 0, 0
        for probe, person, own in zip(*probes):
            if own == number:
                continue
            counted += 1
            best = {-1: max(float(probe @ face) for face in distractors)}
            for face, whose, place in zip(*sharp):
                if place == number:
                    best[whose] = float(probe @ face)
            found += max(best, key=best.get) == person
        rates.append(found / counted)
    return np.mean(rates)


@pytest.mark.parametrize("are_copies", [True, False])
def test_rank_one_against_loops(are_copies):
    random = np.random.default_rng(0)
    people, numbers = np.repeat(np.arange(4), 3), np.tile(np.arange(3), 4)
    sharp, distractors = drawn(people, numbers, random), drawn(np.array([4, 5, 6, 7]), np.zeros(4), random).embeddings
    probes = drawn(people, numbers if are_copies else np.full(12, -1), random)
    rate = rank_one(sharp, probes, distractors)
    assert rate == pytest.approx(naive(sharp, probes, distractors))
    assert 0 < rate < 1
    # A fourth image that only one person has is no choice, and is searched in all galleries.
    more = Embedded(*(np.concatenate([a, b]) for a, b in zip(sharp, drawn(np.array([2]), np.array([3]), random))))
    assert rank_one(more, probes, distractors) == pytest.approx(rate)


def results(folder, rows):
    """Results of `tune`: (stage, arm, value, seed, set)."""
    table = pd.DataFrame(rows, columns=["stage", "arm", "value", "seed", "set"])
    folder.mkdir(exist_ok=True)
    table.to_csv(folder / "results.csv", index=False)


def test_each_compared_run_is_measured_once(tmp_path, monkeypatch):
    random, done = np.random.default_rng(0), []
    columns = {"person": ["a", "a", "b", "b"], "number": [0, 1, 0, 1], "probe": [1, 1, 1, 1]}
    for name in ("sharp", "8px", "others"):
        items = [
            sample.__class__(sample.image, place, sample.source, columns={key: columns[key][place] for key in columns})
            for place, sample in enumerate(samples(4, 1))
        ]
        stored_faces(items, tmp_path / name)

    def embed(checkpoint, images, train_blocks, features):
        done.append(str(checkpoint.relative_to(tmp_path / "run")))
        if len(done) == 2:
            raise KeyboardInterrupt
        assert {name: len(encoded) for name, encoded in images.items()} == {"sharp": 4, "8px": 4, "distractors": 4}
        assert (train_blocks, features) == (2, tmp_path / "run/features")
        return {name: unit(random.normal(size=(4, 5))) for name in images}

    monkeypatch.setattr(module, "_embeddings", embed)
    sets = [str(tmp_path / name) for name in ("sharp", "8px")]
    chosen = [("choose", "ddl", 3, 0, "sharp")]
    compared = [("compare", arm, value, 1, name) for arm, value in (("none", ""), ("ddl", 0.3)) for name in "ab"]
    results(tmp_path / "run", [*chosen, *compared, ("compare", "ohem", 0.5, 1, "")])
    with pytest.raises(KeyboardInterrupt):
        identification(tmp_path / "run", sets, tmp_path / "others", 2)
    for _ in range(2):
        identification(tmp_path / "run", sets, tmp_path / "others", 2)
    last, first = "compare/ddl_0.3_1/checkpoints/last.keras", "compare/none_1/checkpoints/last.keras"
    assert done == [first, last, last]
    table = read_identification(tmp_path / "run")
    assert table[["arm", "value", "seed", "set"]].to_numpy().tolist() == [
        [arm, value, "1", name] for arm, value in (("none", ""), ("ddl", "0.3")) for name in ("sharp", "8px")
    ]
    assert table["rank1"].between(0, 1).all()


def test_of_an_arm_the_value_that_was_compared_last_counts(tmp_path):
    results(tmp_path, [("compare", "ddl", value, seed, "sharp") for value in (3, 0.5) for seed in (1, 2)])
    assert compared_rows(tmp_path)[["value", "seed"]].to_numpy().tolist() == [["0.5", 1], ["0.5", 2]]
