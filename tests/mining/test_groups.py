import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.mining.groups import GroupRules, assign_groups, groups_table
from ddl_tf.mining.rules import Rule


@pytest.fixture
def index():
    rng = np.random.default_rng(0)
    return pd.DataFrame(
        {
            "identity": rng.integers(0, 30, 300),
            "yaw": rng.uniform(-90, 90, 300),
            "score": rng.random(300),
            "race": rng.choice(["a", "b", "c"], 300),
        }
    )


RULES = GroupRules(
    Rule("abs(yaw) < 15"), [Rule("abs(yaw) > 45"), Rule("race == 'c' or abs(yaw) < 5")], Rule("score < 0.1")
)


def naive_group(row):
    if row.score < 0.1:
        return -1
    if abs(row.yaw) < 15:
        return 0
    if abs(row.yaw) > 45:
        return 1
    return 2 if row.race == "c" else -1


def test_the_first_rule_that_fits_decides(index):
    groups = assign_groups(index, RULES)
    assert groups.group.tolist() == [naive_group(row) for row in index.itertuples()]
    np.testing.assert_array_equal(groups.noise, index["score"] < 0.1)
    several = sum(
        (row.score < 0.1) + (abs(row.yaw) < 15) + (abs(row.yaw) > 45) + (row.race == "c" or abs(row.yaw) < 5) > 1
        for row in index.itertuples()
    )
    assert groups.several == several


def test_a_band_of_noise_is_neither_easy_nor_hard(index):
    rules = GroupRules(Rule("score > 0.7"), [Rule("score < 0.5")], Rule("0.2 < score < 0.3"))
    groups = assign_groups(index, rules)
    band = index["score"].between(0.2, 0.3)
    assert set(groups.group[band]) == {-1}
    assert (groups.group[(index["score"] < 0.5) & ~band] == 1).all()


@pytest.mark.parametrize(
    ("hard", "message"),
    [
        ("yaw > 200", r"group 1, 'yaw > 200', fits no image; yaw goes from -8.* to 8"),
        ("abs(yaw) < 3", "fits no image that no rule before it took"),
        ("race == 'd'", "race is one of"),
    ],
)
def test_a_rule_that_fits_no_image_is_said(index, hard, message):
    with pytest.raises(InputError, match=message):
        assign_groups(index, GroupRules(Rule("abs(yaw) < 15"), [Rule(hard)]))


def test_the_table_counts_as_a_naive_count_does(index):
    groups = assign_groups(index, RULES)
    table = groups_table(index, groups.group, groups.noise, RULES)
    assert table["group"].tolist() == ["0 (easy)", "1 (hard)", "2 (hard)", "-1 (likely noise)", "-1 (neither)"]
    assert table["images"].sum() == 300
    teachers = set(index["identity"][groups.group == 0])
    for number in (0, 1, 2):
        own = index[groups.group == number]
        counts = own["identity"].value_counts()
        row = table.iloc[number]
        assert row["images"] == len(own)
        assert row["share"] == f"{len(own) / 300:.1%}"
        assert row["identities"] == len(counts)
        assert row["with a pair within"] == (counts >= 2).sum()
        if number:
            assert row["with a pair across"] == len(set(own["identity"]) & teachers)
        assert float(row["median score"]) == pytest.approx(own["score"].median(), rel=1e-3)
    assert table["rule"][0] == "abs(yaw) < 15"


def test_a_table_without_rules():
    index = pd.DataFrame({"identity": [0, 0, 1]})
    table = groups_table(index, np.array([0, 0, -1]), np.zeros(3, bool))
    assert table["images"].tolist() == [2, 1]
    assert "rule" not in table


def test_a_rule_of_truth_values_that_fits_nothing_says_what_there_is():
    index = pd.DataFrame({"masked": [True, False]})
    with pytest.raises(InputError, match="masked goes from 0 to 1"):
        assign_groups(index, GroupRules(Rule("masked > 5"), [Rule("masked == 1")]))
