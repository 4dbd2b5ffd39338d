import itertools

import numpy as np
import pandas as pd
import pytest
from arm_rows import drawn_rows, experiment
from arms.analysis import WITHOUT_DDL, compare_all, difference, goals, mean_of, numbers
from scipy import stats

from ddl_tf.common.errors import InputError

TINY = experiment()
SETS = ("easy", "dark", "small", "lfw")


def test_numbers_against_loops():
    table = drawn_rows(TINY, ["arcface_ddl", "none", "arcface"], seeds=[1, 0])
    found = numbers(table.sample(frac=1, random_state=0), TINY)
    assert found.index.tolist() == [(arm, seed) for arm in ("none", "arcface", "arcface_ddl") for seed in (0, 1)]
    for (arm, seed), row in found.iterrows():
        values = {one["set"]: one for _, one in table.iterrows() if (one["arm"], one["seed"]) == (arm, seed)}
        for measure in ("auc", "tar@1e-2"):
            assert [row[f"{name} {measure}"] for name in SETS] == [values[name][measure] for name in SETS]
            assert row[f"hard {measure}"] == pytest.approx((values["dark"][measure] + values["small"][measure]) / 2)
        easy, *margins = (values[name]["expectation_margin"] for name in ("easy", "dark", "small"))
        assert row["easy margin"] == easy
        assert row["hard margin"] == pytest.approx(sum(margins) / 2)
        assert row["gap"] == pytest.approx(easy - sum(margins) / 2, abs=1e-6)


def test_numbers_of_whole_runs_only():
    table = drawn_rows(TINY, ["arcface", "cosface"], seeds=[0, 1])
    cut = table[~((table["arm"] == "arcface") & (table["seed"] == 1) & (table["set"] == "lfw"))]
    unknown = table[table["arm"] == "cosface"].assign(arm="of a later catalogue")
    found = numbers(pd.concat([cut, unknown]), TINY)
    assert found.index.tolist() == [("arcface", 0), ("cosface", 0), ("cosface", 1)]
    with pytest.raises(InputError, match="no run has results of all the sets dark, small, easy, lfw"):
        numbers(table[table["set"] == "easy"], TINY)


def test_mean_of():
    values = [0.5, 0.7, 0.9, 0.4]
    mean, deviation, half = mean_of(values)
    assert mean == pytest.approx(sum(values) / 4)
    assert deviation == pytest.approx((sum((value - mean) ** 2 for value in values) / 3) ** 0.5)
    # 3.182446 is the quantile of Student's t with three degrees of freedom.
    assert half == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert mean_of([0.5])[0] == 0.5
    assert np.isnan(mean_of([0.5])[1:]).all()


def frame(**arms):
    """Results of one number for each arm, by seed."""
    rows = [(arm, seed, value) for arm, values in arms.items() for seed, value in values.items()]
    return pd.DataFrame(rows, columns=["arm", "seed", "hard auc"]).set_index(["arm", "seed"])


def test_difference_pairs_by_seed():
    found = frame(a={0: 0.5, 1: 0.6, 2: 0.8, 7: 0.0}, b={2: 0.5, 1: 0.5, 0: 0.45, 8: 1.0})
    result = difference(found, "a", "b", "hard auc")
    apart = [0.05, 0.1, 0.3]
    error = np.std(apart, ddof=1) / 3**0.5
    assert (result.seeds, result.difference) == (3, pytest.approx(0.15))
    # 4.302653 is the quantile of Student's t with two degrees of freedom.
    assert (result.low, result.high) == pytest.approx((0.15 - 4.302653 * error, 0.15 + 4.302653 * error), rel=1e-5)


def test_difference_that_cannot_be_judged():
    assert difference(frame(a={0: 0.5, 1: 0.6}, b={1: 0.5, 2: 0.4}), "a", "b", "hard auc") is None
    assert difference(frame(a={0: 0.5, 1: 0.6}, b={0: 0.4, 1: 0.5}), "a", "b", "hard auc") is None
    assert difference(frame(a={0: 0.5, 1: 0.6}, b={0: 0.5, 1: 0.6}), "a", "b", "hard auc").p == 1


def test_compare_all_against_loops():
    found = numbers(drawn_rows(TINY, ["arcface", "cosface", "triplet"]), TINY)
    pairs = [("arcface", "cosface"), ("arcface", "rkd"), ("triplet", "arcface")]
    compared = compare_all(found, pairs, ["hard auc", "gap"])
    assert [(one.number, one.a, one.b) for one in compared] == [
        (number, *pair) for number in ("hard auc", "gap") for pair in (pairs[0], pairs[2])
    ]
    p_values = []
    for one in compared:
        apart = [found.loc[(one.a, seed), one.number] - found.loc[(one.b, seed), one.number] for seed in range(5)]
        assert one.result.difference == pytest.approx(np.mean(apart))
        p_values.append(stats.ttest_1samp(apart, 0).pvalue)
        assert one.result.p == pytest.approx(p_values[-1])
    # Holm by closed testing: a hypothesis falls if Bonferroni rejects every set of hypotheses that it is in.
    for number, one in enumerate(compared):
        subsets = [
            chosen for size in range(1, 5) for chosen in itertools.combinations(range(4), size) if number in chosen
        ]
        naive = max(min(1, len(chosen) * min(p_values[other] for other in chosen)) for chosen in subsets)
        assert one.holm_p == pytest.approx(naive)
    assert compare_all(found, [("rkd", "arcface")], ["gap"]) == []


def made(ours, base, others=0.7, arms=WITHOUT_DDL, seeds=4, **changed):
    """Numbers in which one arm is so good, another as well, and the rest as they come; each seed a little apart."""
    random, rows = np.random.default_rng(0), []
    for arm in [*arms, "arcface_ddl"]:
        level = {"arcface_ddl": ours, "arcface": base}.get(arm, others)
        for seed in range(seeds):
            noise = random.normal(0, 0.001)
            row = {f"{name} {measure}": level + noise for name in ("hard", "easy", "lfw") for measure in MEASURES}
            gap = {"arcface_ddl": 0.05, "arcface": 0.3}.get(arm, 0.2) + noise
            mine = changed if arm == "arcface_ddl" else {}
            rows.append({"arm": arm, "seed": seed, **row, "gap": gap, **mine})
    return pd.DataFrame(rows).set_index(["arm", "seed"])


MEASURES = ("auc", "tar@1e-2")
GOALS = ["hard auc", "hard tar@1e-2", "gap", "easy auc", "easy tar@1e-2", "lfw auc", "lfw tar@1e-2"]


def met(found):
    checked = goals(found, TINY)
    assert len(checked) == len(GOALS)
    for name, goal in zip(GOALS, checked):
        assert name in goal.text
    return {name: goal.met for name, goal in zip(GOALS, checked)}


def test_all_goals_are_met():
    assert met(made(0.8, 0.75)) == dict.fromkeys(GOALS, True)


def test_goals_that_are_not_met():
    # One arm without DDL is as good.
    assert met(made(0.8, 0.75, others=0.8))["hard auc"] is False
    assert met(made(0.8, 0.75, gap=0.101)) == {**dict.fromkeys(GOALS, True), "gap": False}
    assert met(made(0.8, 0.75, gap=0.099))["gap"] is True
    assert met(made(0.8, 0.75, **{"lfw auc": 0.74})) == {**dict.fromkeys(GOALS, True), "lfw auc": False}
    # Lower, but by less than the noise over seeds.
    base = made(0.8, 0.75).loc["arcface", "lfw auc"]
    assert met(made(0.8, 0.75, **{"lfw auc": base.mean() - 0.9 * base.std()}))["lfw auc"] is True
    assert met(made(0.8, 0.75, **{"lfw auc": base.mean() - 1.1 * base.std()}))["lfw auc"] is False


def test_goals_that_cannot_be_judged():
    (goal,) = goals(made(0.8, 0.75, arms=["cosface"]), TINY)
    assert goal.met is None
    assert goal.evidence == "no results of arcface and arcface_ddl yet"
    judged = met(made(0.8, 0.75, arms=["arcface", "cosface"]))
    assert (judged["hard auc"], judged["gap"], judged["easy auc"]) == (None, True, True)
    assert met(made(0.8, 0.75, seeds=1)) == {**dict.fromkeys(GOALS, None), "gap": True}
    # Not above one is enough to know.
    assert met(made(0.8, 0.9, arms=["arcface", "cosface"]))["hard auc"] is False


def test_rows_that_do_not_belong_together():
    table = drawn_rows(TINY, ["arcface", "cosface"], seeds=[0, 1])
    with pytest.raises(InputError, match="arcface, seed 0: its results are there twice"):
        numbers(pd.concat([table, table.iloc[:1]]), TINY)
    other = table.copy()
    last = other["seed"] == 1
    other.loc[last, "command"] = other.loc[last, "command"] + " --weight_decay=0.1"
    with pytest.raises(InputError, match=r"its seeds ran with other settings \(--weight_decay=0\.1\)"):
        numbers(other, TINY)
    longer = table.copy()
    longer.loc[longer["arm"] == "cosface", "steps"] = longer["steps"].max() + 1
    with pytest.raises(InputError, match="steps cannot be compared"):
        numbers(longer, TINY)
