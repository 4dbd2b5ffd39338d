import numpy as np
import pandas as pd
import pytest
from arm_rows import drawn_rows, experiment
from arms.analysis import WITHOUT_DDL, compare_all, difference, goals, mean_of, numbers
from scipy import stats

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.paired_tests import holm

TINY = experiment()
SETS = ("easy", "dark", "small", "lfw")
MEASURES = ("auc", "tar@1e-2")


def test_numbers_against_loops():
    table = drawn_rows(TINY, ["arcface_ddl", "none", "arcface"], seeds=[1, 0])
    by_run = numbers(table.sample(frac=1, random_state=0), TINY)
    assert by_run.index.tolist() == [(arm, seed) for arm in ("none", "arcface", "arcface_ddl") for seed in (0, 1)]
    for (arm, seed), row in by_run.iterrows():
        of_run = table[(table["arm"] == arm) & (table["seed"] == seed)].set_index("set")
        for measure in MEASURES:
            assert [row[f"{name} {measure}"] for name in SETS] == of_run.loc[list(SETS), measure].tolist()
            assert row[f"hard {measure}"] == pytest.approx(of_run.loc[["dark", "small"], measure].mean())
        easy, *margins = of_run.loc[["easy", "dark", "small"], "expectation_margin"]
        assert row["easy margin"] == easy
        assert row["hard margin"] == pytest.approx(sum(margins) / 2)
        assert row["gap"] == pytest.approx(easy - sum(margins) / 2, abs=1e-6)


def test_numbers_of_whole_runs_only():
    table = drawn_rows(TINY, ["arcface", "cosface"], seeds=[0, 1])
    cut = table[~((table["arm"] == "arcface") & (table["seed"] == 1) & (table["set"] == "lfw"))]
    unknown = table[table["arm"] == "cosface"].assign(arm="of a later catalogue")
    by_run = numbers(pd.concat([cut, unknown]), TINY)
    assert by_run.index.tolist() == [("arcface", 0), ("cosface", 0), ("cosface", 1)]


def test_rows_that_do_not_belong_together():
    table = drawn_rows(TINY, ["arcface", "cosface"], seeds=[0, 1])
    last, cosface = table["seed"] == 1, table["arm"] == "cosface"
    for changed, message in (
        (table[table["set"] == "easy"], "no run has results of all the sets dark, small, easy, lfw"),
        (pd.concat([table, table.iloc[:1]]), "arcface, seed 0: its results are there twice"),
        (
            table.assign(command=table["command"] + np.where(last, " --weight_decay=0.1", "")),
            r"its seeds ran with other settings \(--weight_decay=0\.1\)",
        ),
        (table.assign(steps=table["steps"] + cosface), "steps cannot be compared"),
    ):
        with pytest.raises(InputError, match=message):
            numbers(changed, TINY)


def test_mean_of():
    values = [0.5, 0.7, 0.9, 0.4]
    mean, deviation, half = mean_of(values)
    assert (mean, deviation) == (pytest.approx(np.mean(values)), pytest.approx(np.std(values, ddof=1)))
    # 3.182446 is the quantile of Student's t with three degrees of freedom.
    assert half == pytest.approx(3.182446 * deviation / 2, rel=1e-6)
    assert mean_of([0.5])[0] == 0.5
    assert np.isnan(mean_of([0.5])[1:]).all()


def frame(**arms):
    """Results of one number for each arm, by seed."""
    rows = [(arm, seed, value) for arm, values in arms.items() for seed, value in values.items()]
    return pd.DataFrame(rows, columns=["arm", "seed", "hard auc"]).set_index(["arm", "seed"])


def test_difference_pairs_by_seed():
    table = frame(a={0: 0.5, 1: 0.6, 2: 0.8, 7: 0.0}, b={2: 0.5, 1: 0.5, 0: 0.45, 8: 1.0})
    result = difference(table, "a", "b", "hard auc")
    error = np.std([0.05, 0.1, 0.3], ddof=1) / 3**0.5
    assert (result.seeds, result.difference) == (3, pytest.approx(0.15))
    # 4.302653 is the quantile of Student's t with two degrees of freedom.
    assert (result.low, result.high) == pytest.approx((0.15 - 4.302653 * error, 0.15 + 4.302653 * error), rel=1e-5)
    # One common seed, or one difference for all seeds, cannot be judged.
    for b, p in (({1: 0.5, 2: 0.4}, None), ({0: 0.4, 1: 0.5}, None), ({0: 0.5, 1: 0.6}, 1)):
        result = difference(frame(a={0: 0.5, 1: 0.6}, b=b), "a", "b", "hard auc")
        assert (result and result.p) == p


def test_compare_all_against_loops():
    by_run = numbers(drawn_rows(TINY, ["arcface", "cosface", "triplet"]), TINY)
    pairs = [("arcface", "cosface"), ("arcface", "rkd"), ("triplet", "arcface")]
    compared = compare_all(by_run, pairs, ["hard auc", "gap"])
    assert [(row.number, row.a, row.b) for row in compared] == [
        (number, *pair) for number in ("hard auc", "gap") for pair in (pairs[0], pairs[2])
    ]
    p_values = []
    for row in compared:
        apart = [by_run.loc[(row.a, seed), row.number] - by_run.loc[(row.b, seed), row.number] for seed in range(5)]
        p_values.append(stats.ttest_1samp(apart, 0).pvalue)
        assert (row.result.difference, row.result.p) == pytest.approx((np.mean(apart), p_values[-1]))
    assert [row.holm_p for row in compared] == pytest.approx(holm(p_values))
    assert compare_all(by_run, [("rkd", "arcface")], ["gap"]) == []


def made(ours, base, others=0.7, arms=WITHOUT_DDL, seeds=4, **changed):
    """Numbers in which one arm is so good, another as well, and the rest as they come; each seed a little apart."""
    random, rows = np.random.default_rng(0), []
    for arm in [*arms, "arcface_ddl"]:
        mean, gap = {"arcface_ddl": (ours, 0.05), "arcface": (base, 0.3)}.get(arm, (others, 0.2))
        for seed in range(seeds):
            noise = random.normal(0, 0.001)
            row = {f"{name} {measure}": mean + noise for name in ("hard", "easy", "lfw") for measure in MEASURES}
            row.update(arm=arm, seed=seed, gap=gap + noise)
            rows.append({**row, **(changed if arm == "arcface_ddl" else {})})
    return pd.DataFrame(rows).set_index(["arm", "seed"])


GOALS = ["hard auc", "hard tar@1e-2", "gap", "easy auc", "easy tar@1e-2", "lfw auc", "lfw tar@1e-2"]
BASE = made(0.8, 0.75).loc["arcface", "lfw auc"]


@pytest.mark.parametrize(
    "arguments, changed, expected",
    [
        ((0.8, 0.75), {}, dict.fromkeys(GOALS, True)),
        # One arm without DDL is as good.
        ((0.8, 0.75, 0.8), {}, {"hard auc": False}),
        ((0.8, 0.75), {"gap": 0.101}, {**dict.fromkeys(GOALS, True), "gap": False}),
        ((0.8, 0.75), {"gap": 0.099}, {"gap": True}),
        ((0.8, 0.75), {"lfw auc": 0.74}, {**dict.fromkeys(GOALS, True), "lfw auc": False}),
        # Lower, but by less than the noise over seeds; and by more.
        ((0.8, 0.75), {"lfw auc": BASE.mean() - 0.9 * BASE.std()}, {"lfw auc": True}),
        ((0.8, 0.75), {"lfw auc": BASE.mean() - 1.1 * BASE.std()}, {"lfw auc": False}),
        # What cannot be judged.
        ((0.8, 0.75, 0.7, ["arcface", "cosface"]), {}, {"hard auc": None, "gap": True, "easy auc": True}),
        ((0.8, 0.75, 0.7, WITHOUT_DDL, 1), {}, {**dict.fromkeys(GOALS, None), "gap": True}),
        # Not above one is enough to know.
        ((0.8, 0.9, 0.7, ["arcface", "cosface"]), {}, {"hard auc": False}),
    ],
)
def test_goals(arguments, changed, expected):
    checked = goals(made(*arguments, **changed), TINY)
    assert len(checked) == len(GOALS)
    assert all(name in goal.text for name, goal in zip(GOALS, checked))
    met = {name: goal.met for name, goal in zip(GOALS, checked)}
    assert {name: met[name] for name in expected} == expected


def test_goals_without_the_arms_that_they_compare():
    (goal,) = goals(made(0.8, 0.75, arms=["cosface"]), TINY)
    assert (goal.met, goal.evidence) == (None, "no results of arcface and arcface_ddl yet")
