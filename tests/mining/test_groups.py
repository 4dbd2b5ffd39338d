import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.mining.groups import GroupRules, assign_groups, groups_table
from ddl_tf.mining.rules import Rule


@pytest.fixture
def index():
    rng = np.random.default_rng(0)
    columns = {"identity": rng.integers(0, 30, 300), "yaw": rng.uniform(-90, 90, 300), "score": rng.random(300)}
    return pd.DataFrame({**columns, "race": rng.choice(["a", "b", "c"], 300), "masked": rng.random(300) < 0.5})


HARD = [Rule("abs(yaw) > 45"), Rule("race == 'c' or abs(yaw) < 5")]
RULES = GroupRules(Rule("abs(yaw) < 15"), HARD, Rule("score < 0.1"))


def naive_group(row):
    if row.score < 0.1:
        return -1
    if abs(row.yaw) < 15:
        return 0
    if abs(row.yaw) > 45:
        return 1
    return 2 if row.race == "c" else -1


def test_the_first_rule_that_fits_decides_and_the_table_counts_as_a_naive_count_does(index):
    groups = assign_groups(index, RULES)
    assert groups.group.tolist() == [naive_group(row) for row in index.itertuples()]
    np.testing.assert_array_equal(groups.noise, index["score"] < 0.1)
    yaw = index["yaw"].abs()
    fits = np.stack([index["score"] < 0.1, yaw < 15, yaw > 45, (index["race"] == "c") | (yaw < 5)])
    assert groups.several == (fits.sum(axis=0) > 1).sum()
    table = groups_table(index, groups.group, groups.noise, RULES)
    assert table["group"].tolist() == ["0 (easy)", "1 (hard)", "2 (hard)", "-1 (likely noise)", "-1 (neither)"]
    assert table["images"].sum() == 300
    teachers = set(index["identity"][groups.group == 0])
    for number in (0, 1, 2):
        rows, row = index[groups.group == number], table.iloc[number]
        counts = rows["identity"].value_counts()
        assert row["images":"identities"].tolist() == [len(rows), f"{len(rows) / 300:.1%}", len(counts)]
        assert row["with a pair within"] == (counts >= 2).sum()
        if number:
            assert row["with a pair across"] == len(set(rows["identity"]) & teachers)
        assert float(row["median score"]) == pytest.approx(rows["score"].median(), rel=1e-3)
    assert table["rule"][0] == "abs(yaw) < 15"
    assert "rule" not in groups_table(index, groups.group, groups.noise)


def test_a_rule_that_fits_no_image_is_refused(index):
    for hard, message in (
        ("yaw > 200", r"group 1, 'yaw > 200', fits no image; yaw goes from -8.* to 8"),
        ("abs(yaw) < 3", "fits no image that no rule before it took"),
        ("race == 'd'", "race is one of"),
        ("masked > 5", "masked goes from 0 to 1"),
    ):
        with pytest.raises(InputError, match=message):
            assign_groups(index, GroupRules(Rule("abs(yaw) < 15"), [Rule(hard)]))
