import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.mining.rules import Rule


@pytest.fixture
def index():
    columns = {"yaw": [-60.0, -20.0, 0.0, 30.0, 70.0, np.nan], "sharpness": [1, 2, 3, 4, 5, 6]}
    index = pd.DataFrame({**columns, "race": ["African", "Asian", "Asian", "Indian", None, "African"]})
    index["camera distance"] = [1.0, 2.6, 4.2, 4.2, 1.0, 2.6]
    return index.assign(place=pd.Categorical(["a", "b", "a", "b", "a", "b"]))


@pytest.mark.parametrize(
    ("text", "chosen"),
    [
        ("abs(yaw) > 45", [0, 4]),
        ("-30 < yaw < 30", [1, 2]),
        ("yaw < -20 or sharpness == 3", [0, 2]),
        ("not abs(yaw) > 45", [1, 2, 3]),
        ("yaw != 0", [0, 1, 3, 4]),
        ("race in ('African', 'Indian') and sharpness > 1", [3, 5]),
        ("race not in ['African']", [1, 2, 3]),
        ("`camera distance` > 4 or `camera distance` == 1.0", [0, 2, 3, 4]),
        ("place == 'b'", [1, 3, 5]),
        ("sharpness > quantile(sharpness, 0.8)", [5]),
        ("sharpness * 2 + 1 > 10", [4, 5]),
        ("sharpness / 2 - 1 < 0 or sharpness == 6", [0, 5]),
    ],
)
def test_select(index, text, chosen):
    assert np.flatnonzero(Rule(text).select(index)).tolist() == chosen


def test_columns_and_thresholds(index):
    assert Rule("abs(yaw) > 4 and `a b` < quantile(yaw, .5) or x in (1, 2)").columns == ["yaw", "a b", "x"]
    rule = Rule("abs(yaw) < 20 and sharpness > quantile(sharpness, 0.5) and 1 < sharpness < 6 and race == 'Asian'")
    numbers = {column: sorted(values) for column, values in rule.thresholds(index).items()}
    assert numbers == {"yaw": [-20, 20], "sharpness": [1, 3.5, 6]}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("yaw >", "cannot be read"),
        ("1 < 2", "names no column"),
        ("yaw", "not a comparison"),
        ("yaw > 'a'", "number with text"),
        ("abs(race) > 1", "not a number"),
        ("height > 3", "no column 'height', only yaw"),
        ("max(yaw) > 3", "no function max"),
        ("quantile(yaw) > 3", "takes 2"),
        ("yaw > quantile(yaw, 20)", "from 0 to 1"),
        ("yaw is 3", "not understood"),
        ("[yaw for yaw in yaw] == 3", "not understood"),
        ("__import__('os') == yaw", "no function __import__"),
        ("yaw < 1/0", "division by zero"),
        ("yaw < (1, 2)", "only follow `in`"),
        ("yaw in (1, 'a')", "is no list of numbers"),
        ("yaw in ()", "is no list of numbers"),
        ("yaw < " + "-" * 5000 + "1", "cannot be read"),
        ("yaw < " + "-" * 200 + "1", "nested more than 100 levels deep"),
        ("(" * 5000 + "yaw" + ")" * 5000 + " < 1", "cannot be read"),
        ("yaw < " + "9" * 400, "is too large"),
    ],
)
def test_what_is_no_rule_is_refused_in_one_short_line(index, text, why):
    with pytest.raises(InputError, match=why) as caught:
        Rule(text).select(index)
    assert "\n" not in str(caught.value)
    if "--" in text:
        assert len(str(caught.value)) < 600


def test_a_column_divided_by_zero_and_numbers_beyond_64_bits_are_compared_as_floats():
    index = pd.DataFrame({"n": [0, 1]})
    assert Rule("n / 0 > 3").select(index).tolist() == [False, True]
    assert Rule("n / 0 > 3").thresholds(index) == {}
    assert Rule(f"n < {10**30}").select(index).all()
    assert Rule("n < 9223372036854775807 * 9").select(index).all()


@pytest.mark.parametrize("dtype", [bool, object, "boolean"])
def test_truth_values_count_as_0_and_1(dtype):
    index = pd.DataFrame({"masked": pd.Series([True, False, True], dtype=dtype), "n": [1, 2, 3]})
    for text in ("masked == 1", "masked", "masked == True", "masked > 0", "-masked < 0", "masked - 0 == 1"):
        assert Rule(text).select(index).tolist() == [True, False, True], text
    with pytest.raises(InputError, match="compares a number with text"):
        Rule("masked == 'True'").select(index)
    # What is missing is never chosen.
    index = pd.DataFrame({"masked": [True, None, False]})
    assert Rule("masked == 1").select(index).tolist() == [True, False, False]
    assert Rule("masked != 1").select(index).tolist() == [False, False, True]
