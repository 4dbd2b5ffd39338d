import numpy as np
import pandas as pd
import pytest
from arm_rows import drawn_rows, experiment
from arms.analysis import WITHOUT_DDL, difference, goals, numbers

from ddl_tf.common.errors import InputError

TINY = experiment()
SETS = ("easy", "dark", "small", "lfw")
MEASURES = ("auc", "tar@1e-2")


def test_numbers_against_loops():
    """Of whole runs only, and of arms of the catalogue."""
    table = drawn_rows(TINY, ["arcface_ddl", "none", "arcface"], seeds=[1, 0])
    cut = table[(table["arm"] != "none") | (table["seed"] != 1) | (table["set"] != "lfw")]
    unknown = table[table["arm"] == "arcface"].assign(arm="of a later catalogue")
    by_run = numbers(pd.concat([cut, unknown]).sample(frac=1, random_state=0), TINY)
    whole = [(arm, seed) for arm in ("none", "arcface", "arcface_ddl") for seed in (0, 1)]
    assert by_run.index.tolist() == [run for run in whole if run != ("none", 1)]
    for (arm, seed), row in by_run.iterrows():
        of_run = table[(table["arm"] == arm) & (table["seed"] == seed)].set_index("set")
        for measure in MEASURES:
            assert [row[f"{name} {measure}"] for name in SETS] == of_run.loc[list(SETS), measure].tolist()
            assert row[f"hard {measure}"] == pytest.approx(of_run.loc[["dark", "small"], measure].mean())
        easy, *margins = of_run.loc[["easy", "dark", "small"], "expectation_margin"]
        assert row["easy margin"] == easy
        assert row["hard margin"] == pytest.approx(sum(margins) / 2)
        assert row["gap"] == pytest.approx(easy - sum(margins) / 2, abs=1e-6)


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


def test_difference_pairs_by_seed():
    def of(a, b):
        arms = {"a": pd.Series(a), "b": pd.Series(b)}
        return difference(pd.concat(arms, names=["arm", "seed"]).to_frame("hard auc"), "a", "b", "hard auc")

    result = of(a={0: 0.5, 1: 0.6, 2: 0.8, 7: 0.0}, b={2: 0.5, 1: 0.5, 0: 0.45, 8: 1.0})
    error = np.std([0.05, 0.1, 0.3], ddof=1) / 3**0.5
    assert (result.seeds, result.difference) == (3, pytest.approx(0.15))
    # 4.302653 is the quantile of Student's t with two degrees of freedom.
    assert (result.low, result.high) == pytest.approx((0.15 - 4.302653 * error, 0.15 + 4.302653 * error), rel=1e-5)
    # One common seed, or one difference for all seeds, cannot be judged.
    assert of({0: 0.5, 1: 0.6}, {1: 0.5, 2: 0.4}) is of({0: 0.5, 1: 0.6}, {0: 0.4, 1: 0.5}) is None
    assert of({0: 0.5, 1: 0.6}, {0: 0.5, 1: 0.6}).p == 1


GOALS = ["hard auc", "hard tar@1e-2", "gap", "easy auc", "easy tar@1e-2", "lfw auc", "lfw tar@1e-2"]


@pytest.mark.parametrize(
    "arguments, changed, expected",
    [
        ((0.8, 0.75), {}, dict.fromkeys(GOALS, True)),
        # One arm without DDL is as good.
        ((0.8, 0.75, 0.8), {}, {"hard auc": False}),
        ((0.8, 0.75), {"gap": 0.101}, {**dict.fromkeys(GOALS, True), "gap": False}),
        ((0.8, 0.75), {"lfw auc": 0.74}, {**dict.fromkeys(GOALS, True), "lfw auc": False}),
        # Lower, but by less than the noise over seeds.
        ((0.8, 0.75), {"lfw auc": 0.7499}, {"lfw auc": True}),
        # What cannot be judged.
        ((0.8, 0.75, 0.7, ["arcface", "cosface"]), {}, {"hard auc": None, "gap": True, "easy auc": True}),
        ((0.8, 0.75, 0.7, WITHOUT_DDL, 1), {}, {**dict.fromkeys(GOALS, None), "gap": True}),
        # Not above one is enough to know.
        ((0.8, 0.9, 0.7, ["arcface", "cosface"]), {}, {"hard auc": False}),
    ],
)
def test_goals(arguments, changed, expected):
    """Of numbers in which one arm is so good, another as well, and the rest as they come; seeds a little apart."""

    def table(ours, base, others=0.7, arms=WITHOUT_DDL, seeds=4):
        random, rows = np.random.default_rng(0), []
        for arm in [*arms, "arcface_ddl"]:
            mean, gap = {"arcface_ddl": (ours, 0.05), "arcface": (base, 0.3)}.get(arm, (others, 0.2))
            for seed in range(seeds):
                noise = random.normal(0, 0.001)
                row = {f"{name} {measure}": mean + noise for name in ("hard", "easy", "lfw") for measure in MEASURES}
                row.update(arm=arm, seed=seed, gap=gap + noise)
                rows.append({**row, **(changed if arm == "arcface_ddl" else {})})
        return pd.DataFrame(rows).set_index(["arm", "seed"])

    checked = goals(table(*arguments), TINY)
    assert [name in goal.text for name, goal in zip(GOALS, checked)] == [True] * 7
    met = {name: goal.met for name, goal in zip(GOALS, checked)}
    assert {name: met[name] for name in expected} == expected
