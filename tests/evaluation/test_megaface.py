import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import megaface, megaface_counts
from ddl_tf.evaluation.megaface import evaluate_megaface, replace_by_center
from ddl_tf.evaluation.megaface_counts import FalseAccepts
from ddl_tf.evaluation.reports import results_text
from ddl_tf.metrics.roc import roc_curve, tar_at_far

GOLDEN = Path(__file__).parents[1] / "golden"
MAKER = runpy.run_path(str(GOLDEN / "make_megaface_golden.py"))
WRITTEN = json.loads((GOLDEN / "megaface_golden.json").read_text())


def _made(seed=0, noise=1.4, photos=(5, 4, 7, 2, 6), distractors=3000):
    random = np.random.RandomState(seed)
    people = random.permutation(np.repeat(np.arange(len(photos)), photos))
    rows = random.normal(size=[len(photos), 32])[people] + noise * random.normal(size=[len(people), 32])
    others = random.normal(size=[distractors, 32])
    return tuple(
        (array / np.linalg.norm(array, axis=1, keepdims=True)).astype(np.float32) for array in (rows, others)
    ), people


def _naive_ranks(probes, people, distractors):
    """(mate, probe) -> rank, and the similarities of genuine and impostor pairs, one by one."""
    missing = np.isnan(probes).any(axis=1)
    to_mates, to_distractors = probes @ probes.T, probes @ distractors.T
    ranks, genuine = {}, []
    for probe in range(len(probes)):
        for mate in range(len(probes)):
            if mate != probe and people[mate] == people[probe]:
                complete = not missing[mate] and not missing[probe]
                similarity = to_mates[probe, mate] if complete else -np.inf
                ranks[mate, probe] = 1 + int(np.sum(to_distractors[probe] > similarity)) if complete else 0
                if mate < probe:
                    genuine.append(similarity)
    return ranks, np.array(genuine), to_distractors[~missing].ravel()


def _ranks(outcome):
    scores = outcome.scores
    assert len(set(map(len, scores.values()))) == 1
    return dict(zip(zip(scores["first"].tolist(), scores["second"].tolist()), scores["rank"].tolist()))


def _naive_tar(genuine, impostor, target):
    thresholds = [value for value in genuine if np.isfinite(value) and np.mean(impostor >= value) <= target]
    return np.mean(genuine >= min(thresholds)) if thresholds else 0.0


@pytest.mark.parametrize("noise", [0.3, 1.4, 5.0])
@pytest.mark.parametrize("missing", [False, True])
def test_against_the_full_matrix(noise, missing):
    (probes, distractors), people = _made(noise=noise)
    if missing:
        # Two photos, and all of one person, are never found.
        probes[[0, 11]] = np.nan
        probes[people == 3] = np.nan
    outcome = evaluate_megaface(probes, people, [distractors], 3000, replicates=0)
    ranks, genuine, impostor = _naive_ranks(probes, people, distractors)
    assert _ranks(outcome) == ranks
    result = outcome.result
    each = np.array(list(ranks.values()))
    for limit in (1, 10, 100):
        assert result[f"rank{limit}"] == pytest.approx(np.mean((each > 0) & (each <= limit)))
    # A pair that is not there is less similar than all others.
    finite = np.where(np.isfinite(genuine), genuine, -2)
    curve = roc_curve(np.r_[finite, impostor], np.arange(len(genuine) + len(impostor)) < len(genuine))
    for name, target in {"1e-4": 1e-4, "1e-5": 1e-5, "1e-6": 1e-6}.items():
        assert result["tar"][name] == pytest.approx(_naive_tar(genuine, impostor, target), abs=1e-12)
        assert result["tar"][name] == pytest.approx(tar_at_far(*curve, target), abs=1e-12)
    assert (result["people"], result["probes"], result["pairs"]) == (5, 24, len(ranks))
    assert (result["genuine_pairs"], result["impostor_pairs"]) == (len(genuine), len(impostor))
    assert result["missing_probes"] == np.isnan(probes[:, 0]).sum() >= 3 * missing
    assert outcome.scores["rank"].dtype == np.int32
    assert set(outcome.scores["condition"]) == {""}
    assert json.loads(json.dumps(result, allow_nan=False)) == result


@pytest.mark.parametrize("name", WRITTEN["rank_rates"])
def test_golden_numbers_of_facex_zoo(name):
    probes, people, distractors = MAKER["cases"]()[name]
    outcome = evaluate_megaface(probes, people, [distractors], len(distractors), replicates=0)
    for limit, rate in WRITTEN["rank_rates"][name].items():
        assert np.mean(outcome.scores["rank"] <= int(limit)) == pytest.approx(rate, abs=1e-12)


def test_leaving_noisy_distractors_out_gives_the_ranks_of_remove_noises():
    probes, people, distractors = MAKER["noisy_case"]()
    clean = np.setdiff1d(np.arange(len(people)), MAKER["NOISY_PROBES"])
    kept = np.delete(distractors, MAKER["NOISY_DISTRACTORS"], axis=0)
    expected = WRITTEN["remove_noises"]["ranks_of_clean_pairs"]
    for rows, equal in ((kept, True), (distractors, False)):
        outcome = evaluate_megaface(probes[clean], people[clean], [rows], len(rows), replicates=0)
        assert (outcome.scores["rank"].tolist() == expected) == equal


def test_centers_are_those_of_remove_noises_but_for_its_jitter():
    probes, people, _ = MAKER["noisy_case"]()
    noisy = np.isin(np.arange(len(people)), MAKER["NOISY_PROBES"])
    made = replace_by_center(probes, people, noisy)
    np.testing.assert_allclose(made[noisy], WRITTEN["remove_noises"]["replaced_probes"], atol=1e-3)
    np.testing.assert_array_equal(made[~noisy], probes[~noisy])
    # Of the photos that are there.
    probes = np.eye(4, dtype=np.float32)
    probes[1] = np.nan
    made = replace_by_center(probes, np.array([0, 0, 0, 1]), np.array([True, False, False, False]))
    np.testing.assert_array_equal(made[0], probes[2])
    with pytest.raises(InputError, match=r"^1: all photos are noisy"):
        replace_by_center(probes, np.array([0, 0, 0, 1]), np.array([False, False, False, True]))


def test_blocks_of_any_sizes_give_the_same(monkeypatch):
    (probes, distractors), people = _made()
    # Values that float32 adds without rounding, so that the order of the sums does not matter.
    probes, distractors = (np.round(array * 64) / 64 for array in (probes, distractors))
    whole = evaluate_megaface(probes, people, [distractors], 3000, replicates=100)
    # So short are the values that many distractors are just as similar as a mate.
    assert _ranks(whole) == _naive_ranks(probes, people, distractors)[0]
    monkeypatch.setattr(megaface, "_BLOCK", 7)
    monkeypatch.setattr(megaface_counts, "_WAITING", 50)
    monkeypatch.setattr(megaface_counts, "_PROBES", 5)
    blocks = [distractors[:1], distractors[1:1], distractors[1:900], distractors[900:]]
    parts = evaluate_megaface(probes, people, iter(blocks), 3000, replicates=100)
    assert parts.result == whole.result
    np.testing.assert_array_equal(parts.scores["rank"], whole.scores["rank"])


def test_rank1_by_distractors_is_that_of_the_first_ones():
    (probes, distractors), people = _made()

    def result(count, *sizes):
        return evaluate_megaface(probes, people, [distractors[:count]], count, *sizes, replicates=0).result

    by_distractors = result(3000)["rank1_by_distractors"]
    assert list(by_distractors) == ["10", "100", "1000", "3000"]
    assert all(rate == result(int(count))["rank1"] for count, rate in by_distractors.items())
    named = result(3000, {5: 0, 1000: 997})["rank1_by_distractors"]
    assert named == {"5": 1.0, "1000": result(997)["rank1"]}


def test_a_tie_counts_for_the_mate_and_is_counted():
    # Everybody has one embedding.
    same = np.tile(np.eye(8, dtype=np.float32)[0], [6, 1])
    # As similar as the mate is not rejected at the mate's similarity.
    for distractors, ties, tar in ((same, 6, 0.0), (-same, 0, 1.0)):
        result = evaluate_megaface(same, np.arange(6) // 2, [distractors], 6, replicates=0).result
        assert (result["rank1"], result["ties"], result["pairs"], result["tar"]["1e-6"]) == (1.0, ties, 6, tar)


def test_people_with_one_photo_take_no_part():
    (probes, distractors), people = _made(photos=(5, 1, 4, 1))
    kept = np.isin(people, (0, 2))
    outcome, alone = (
        evaluate_megaface(probes[part], people[part], [distractors], 3000, replicates=100)
        for part in (np.ones(len(people), bool), kept)
    )
    assert outcome.result == {**alone.result, "people_without_pairs": 2}
    np.testing.assert_array_equal(np.flatnonzero(kept)[alone.scores["second"]], outcome.scores["second"])


def _naive_replicates(probes, people, distractors, targets, replicates, seed):
    """Numbers of sets in which each person, with all photos, is repeated as often as it was drawn."""
    codes = np.unique(people)
    parts = [_naive_ranks(probes[people == code], people[people == code], distractors) for code in codes]
    times = np.random.default_rng(seed).multinomial(len(codes), np.full(len(codes), 1 / len(codes)), replicates)
    for drawn in times:
        repeated = [part for part, count in zip(parts, drawn) for _ in range(count)]
        rank = np.array([rank for part in repeated for rank in part[0].values()])
        genuine, impostor = (np.concatenate([part[place] for part in repeated]) for place in (1, 2))
        yield {
            **{f"rank{limit}": np.mean((rank > 0) & (rank <= limit)) for limit in (1, 10, 100)},
            **{f"tar@{name}": _naive_tar(genuine, impostor, float(name)) for name in targets},
        }


@pytest.mark.parametrize("targets", [("1e-1", "2e-2"), ("1e-3", "5e-4")])
@pytest.mark.parametrize("missing", [[], [3, 9]])
def test_intervals_are_those_of_repeated_people(missing, targets, monkeypatch):
    monkeypatch.setattr(megaface, "FAR_TARGETS", {name: float(name) for name in targets})
    (probes, distractors), people = _made(photos=(4, 3, 9, 3, 3), distractors=400, noise=0.9)
    probes[missing] = np.nan
    numbers = list(_naive_replicates(probes, people, distractors, targets, replicates=60, seed=3))
    result = evaluate_megaface(probes, people, [distractors], 400, replicates=60, seed=3).result
    assert list(result["intervals"]) == list(numbers[0])
    for name, interval in result["intervals"].items():
        expected = np.quantile([values[name] for values in numbers], [0.025, 0.975])
        # Where a replicate has few false accepts its threshold would be lower than any that was counted at.
        few = name in ("tar@1e-3", "tar@5e-4")
        assert np.all(np.array(interval) <= expected + 1e-12)
        np.testing.assert_allclose(interval, expected, atol=0.05 if few else 1e-12)


def test_a_tar_at_fewer_than_three_false_accepts_has_no_interval(monkeypatch):
    monkeypatch.setattr(megaface, "FAR_TARGETS", {"2e-3": 2e-3, "1.9e-3": 1.9e-3, "1e-6": 1e-6})
    (probes, distractors), people = _made(photos=(3, 2), distractors=300)
    # 5 photos among 300 distractors: 3 false accepts at 2e-3.
    result = evaluate_megaface(probes, people, [distractors], 300, replicates=60).result
    assert list(result["intervals"]) == ["rank1", "rank10", "rank100", "tar@2e-3"]
    assert result["few_false_accepts"] == ["tar@1.9e-3", "tar@1e-6"]
    assert list(result["tar"]) == ["2e-3", "1.9e-3", "1e-6"]
    lines = results_text([result]).splitlines()
    assert [line.split()[0] for line in lines if line.endswith("*")] == result["few_false_accepts"]
    assert lines[-1] == "*: fewer than 3 false accepts, not measured reliably"


def test_a_far_that_is_just_the_target_is_taken(monkeypatch):
    monkeypatch.setattr(megaface, "FAR_TARGETS", {"2e-2": 2e-2, "1e-2": 1e-2})
    # One person's two photos have the similarity 0, which an orthogonal distractor has to both of them.
    probes = np.eye(3, dtype=np.float32)[:2]
    for orthogonal, expected in ((1, [1.0, 0.0]), (2, [0.0, 0.0])):
        others = np.full([50, 3], [-1, -1, 0], np.float32)
        others[:orthogonal] = [0, 0, 1]
        result = evaluate_megaface(probes, np.zeros(2), [others], 50, replicates=0).result
        assert [result["tar"][name] for name in ("2e-2", "1e-2")] == expected


def test_false_accepts_by_person_on_a_coarse_grid(monkeypatch):
    monkeypatch.setattr(megaface_counts, "_GRID", 7)
    random = np.random.RandomState(0)
    genuine, between = random.randint(0, 64, 30) / 64, random.randint(0, 64, [12, 500]) / 64
    person = np.arange(12) % 5
    accepts = FalseAccepts(genuine.astype(np.float32), person, num_people=5, impostors=6000, largest_far=1.0)
    accepts.add(between.astype(np.float32))
    grid = accepts.thresholds[accepts.grid]
    assert 4 <= len(grid) <= 7
    for number in range(5):
        naive = [np.sum(between[person == number] >= threshold) for threshold in grid]
        assert accepts.counts_by_person()[number].tolist() == naive
    assert accepts.counts().tolist() == [np.sum(between >= threshold) for threshold in np.unique(genuine)]


def test_false_accepts_are_not_counted_where_no_target_can_be():
    genuine, between = np.array([-0.5, 0.5], np.float32), np.tile(np.array([-0.2, 0.6], np.float32), [2, 500])
    # Ten times the FAR of 1e-2 would be 1500 pairs, which those above -0.5 exceed at once, the others not.
    accepts = FalseAccepts(genuine, np.zeros(2, np.int64), num_people=1, impostors=15_000, largest_far=1e-2)
    counts = []
    for _ in range(3):
        accepts.add(between)
        counts.append(accepts.counts().tolist())
    assert counts == [[2000, 1000], [3000, 2000], [3000, 2000]]
    assert accepts.first_on_grid == 2


def test_wrong_input():
    (probes, distractors), people = _made()
    good = {"probes": probes, "people": people, "distractor_blocks": [distractors], "num_distractors": 3000}
    broken, infinite = np.array(distractors), np.array(probes)
    broken[2000, 3], infinite[0, 0] = np.nan, np.inf
    for change, message in (
        ({"num_distractors": 3001}, "distractor_blocks has 3,000 distractors, num_distractors is 3,001"),
        ({"num_distractors": 2999}, "distractor_blocks has more distractors than num_distractors=2,999"),
        ({"num_distractors": 0}, "there are no distractors"),
        ({"distractor_blocks": [distractors[:, :5]]}, r"distractors of shape \(3000, 5\), where probes have 32"),
        ({"distractor_blocks": [broken]}, "distractors 0 to 3,000: values that are not finite"),
        ({"probes": infinite}, "megaface: probes with values that are not finite"),
        ({"people": people[:-1]}, r"probes of shape \(24, 32\) for people of shape \(23,\)"),
        ({"people": np.arange(24)}, "megaface: nobody has two photos"),
        ({"probes": np.full_like(probes, np.nan)}, "megaface: no two photos of one person are there"),
        ({"sizes": {10: 3001}}, "sizes has 3,001"),
        ({"replicates": 39}, "39 replicates"),
    ):
        with pytest.raises(InputError, match=f"^{message}"):
            evaluate_megaface(**{**good, **change})
