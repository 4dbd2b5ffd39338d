import numpy as np
import pandas as pd
import pytest
from scipy.stats import ttest_rel

from ddl_tf.common.errors import InputError
from ddl_tf.tuning.arms import ARMS, MARGIN, START, chosen_arms
from ddl_tf.tuning.choice import choose_values, compare_arms, difference_text, run_numbers, verdict

NAN = np.nan


def table(*rows):
    """(arm, value, seed, set, auc)."""
    return pd.DataFrame(rows, columns=["arm", "value", "seed", "set", "auc"])


def test_the_numbers_of_a_run_are_those_of_the_easy_set_and_the_mean_of_the_hard_ones():
    rows = [("ddl", 3.0, 1, name, auc) for name, auc in (("easy", 0.9), ("small", 0.5), ("dark", 0.7), ("other", 0.1))]
    rows += [(START, NAN, 1, name, 0.6) for name in ("easy", "small", "dark")]
    numbers = run_numbers(table(*rows, ("focal", 8.0, 1, NAN, NAN)), "easy", ["small", "dark"], "auc")
    assert numbers[["arm", "hard", "easy"]].to_numpy().tolist()[:2] == [
        ["ddl", pytest.approx(0.6), 0.9],
        [START, 0.6, 0.6],
    ]
    # It diverged.
    assert numbers.loc[2, ["hard", "easy"]].isna().all()
    with pytest.raises(InputError, match="--choose_by=auc cannot be measured on small, of too few pairs"):
        run_numbers(table(("ddl", 3.0, 1, "easy", 0.9), ("ddl", 3.0, 1, "small", NAN)), "easy", ["small"], "auc")


def numbers(*rows):
    return pd.DataFrame(rows, columns=["arm", "value", "seed", "hard", "easy"])


def test_the_best_hard_number_is_chosen_of_those_whose_easy_one_is_above_the_floor():
    tried = numbers(
        (START, NAN, 0, 0.50, 0.90),
        (MARGIN, NAN, 0, 0.60, 0.70),
        ("ddl", 1.0, 0, 0.61, 0.895),
        ("ddl", 3.0, 0, 0.63, 0.891),
        ("ddl", 10.0, 0, 0.70, 0.88),
        ("triplet", 1.0, 0, 0.70, 0.80),
        ("focal", 0.5, 0, NAN, NAN),
        ("focal", 1.0, 0, 0.55, 0.92),
    )
    # The floor is 0.89; what others are compared with stays whatever it is.
    assert choose_values(tried, 0.01) == {START: None, MARGIN: None, "ddl": 3.0, "focal": 1.0}
    assert choose_values(tried, 0.2)["triplet"] == 1.0


def test_arms_are_compared_seed_by_seed_and_the_verdict_says_how_sure_it_is():
    margin, ddl, triplet = [0.60, 0.62, 0.61, 0.63], [0.65, 0.66, 0.67, 0.68], [0.60, 0.64, 0.60, 0.62]
    rows = [("margin", NAN, seed, value, 0.9) for seed, value in enumerate(margin)]
    rows += [("ddl", 3.0, seed, value, 0.9 - seed / 1000) for seed, value in enumerate(ddl)]
    rows += [("triplet", 3.0, seed, value, 0.9) for seed, value in enumerate(triplet)]
    comparisons = compare_arms(numbers(*rows), MARGIN)
    assert [comparison.arm for comparison in comparisons] == ["triplet", "ddl"]
    ours = comparisons[1]
    assert ours.hard.difference == pytest.approx(np.subtract(ddl, margin).mean())
    # Holm: the smaller p of two, doubled.
    assert ours.p == pytest.approx(2 * ttest_rel(ddl, margin).pvalue)
    assert [comparison.is_better for comparison in comparisons] == [False, True]
    assert verdict(comparisons, "auc").startswith("DDL is worth it. DDL against margin softmax alone, 4 seeds")
    assert verdict(comparisons[:1], "auc").startswith("Nothing is shown to be worth it")
    assert verdict([], "auc") == "Nothing was compared with the margin softmax alone."


def test_arms_that_differ_by_the_same_for_every_seed_are_shown_but_not_tested():
    margin, ddl = [0.60, 0.62, 0.61, 0.63], [0.65, 0.66, 0.67, 0.68]
    rows = [("margin", NAN, seed, value, 0.9) for seed, value in enumerate(margin)]
    rows += [("ddl", 3.0, seed, value, 0.8) for seed, value in enumerate(ddl)]
    rows += [(START, NAN, seed, value - 0.25, 0.95) for seed, value in enumerate(margin)]
    start, ours = compare_arms(numbers(*rows), MARGIN)
    assert (start.arm, start.is_better, difference_text(start.hard)) == (START, False, "-0.2500 (for every seed)")
    assert np.isnan([start.p, start.hard.low, start.hard.high]).all()
    # One test alone is left to correct for.
    assert ours.p == pytest.approx(ttest_rel(ddl, margin).pvalue)
    text = verdict([start, ours], "auc")
    assert "corrected for 1 comparisons; of the easy pairs -0.1000 (for every seed)." in text
    # What is the same for every seed has not been shown to be better, whatever its size.
    constant = numbers(*rows[:4], *(("ddl", 3.0, seed, value + 0.125, 0.9) for seed, value in enumerate(margin)))
    text = verdict(compare_arms(constant, MARGIN), "auc")
    assert text.startswith("Nothing is shown to be worth it")
    assert "+0.1250 (for every seed), not tested; of the easy pairs +0.0000 [+0.0000, +0.0000]" in text


def test_every_arm_that_has_something_to_choose_tries_six_values():
    plain = (START, MARGIN, "one_block", "frozen_batch_norm")
    assert {name: len(arm.values) for name, arm in ARMS.items()} == {name: 0 if name in plain else 6 for name in ARMS}
    assert all(sorted(arm.values) == list(arm.values) for arm in ARMS.values())
    assert {name: (ARMS[name].title, ARMS[name].flags["head"]) for name in ("arcface", "cosface")} == {
        "arcface": ("ArcFace-FT", "arcface"),
        "cosface": ("CosFace-FT", "cosface"),
    }


def test_what_others_are_compared_with_takes_part_always():
    assert chosen_arms(["ddl"]) == [START, MARGIN, "ddl"]
    assert chosen_arms([]) == list(ARMS)
    with pytest.raises(InputError, match="--arms=ddl,dll: there is no arm 'dll'; use none, margin"):
        chosen_arms(["ddl", "dll"])
