import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.protocols.people_groups import group_images

NAN = float("nan")
COLUMNS = pd.DataFrame(
    {
        "hair": ["long", "short", None, "", "long", "own"],
        "glasses": [True, False, True, False, True, True],
        "group": [0, 1, 1, 0, 1, 0],
        "yaw": [-40.0, 3.0, NAN, 20.0, 90.0, np.inf],
        "age": [0.10001, 0.10002, 0.10003, 0.10004, 0.10005, 0.10006],
        "nothing": [NAN] * 6,
        "one": ["a", "a", None, None, "a", "a"],
    }
)


def test_texts_and_few_numbers_are_groups_as_they_are():
    groups = group_images(COLUMNS, ["hair", "glasses", "group", "hair", "one"])
    assert {name: (each.names, each.group.tolist()) for name, each in groups.items()} == {
        "hair": (["long", "own", "short"], [0, 2, -1, -1, 0, 1]),
        "glasses": (["False", "True"], [1, 0, 1, 0, 1, 1]),
        "group": (["0", "1"], [0, 1, 1, 0, 1, 0]),
        "one": (["a"], [0, 0, -1, -1, 0, 0]),
    }
    assert group_images(COLUMNS, []) == {}


def test_bins_of_numbers():
    (yaw,) = group_images(COLUMNS, ["yaw"], [-90, 3, 20, 90]).values()
    # The last edge is in no bin.
    assert (yaw.names, yaw.group.tolist()) == (["-90 to 3", "3 to 20", "20 to 90"], [0, 1, -1, 2, -1, -1])
    yaw = group_images(COLUMNS, ["hair", "yaw"], bins=2)["yaw"]
    assert yaw.group.tolist() == [0, 1, -1, 1, 1, -1]
    (age,) = group_images(COLUMNS, ["age"], bins=3).values()
    assert age.group.tolist() == [0, 1, 1, 2, 2, 2]
    # As many digits as tell the bins apart.
    assert age.names == ["0.10001 to 0.10002", "0.10002 to 0.10004", "0.10004 to 0.10006"]
    values = np.random.default_rng(0).normal(size=1000)
    (even,) = group_images(pd.DataFrame({"v": values}), ["v"], bins=5).values()
    np.testing.assert_allclose(np.bincount(even.group), 200, atol=1)
    for number in range(4):
        assert values[even.group == number].max() < values[even.group == number + 1].min()


@pytest.mark.parametrize(
    ("by", "options", "message"),
    [
        (["smile"], {}, "--by=smile: no such column is known of the images, but hair, glasses"),
        (["nothing"], {}, "--by=nothing: no image has a number there"),
        (["hair"], {"edges": [0, 1]}, "--edges are of one column of numbers, and --by has 0: hair"),
        (["yaw", "age"], {"edges": [0, 1]}, "--by has 2: yaw,age"),
        (["yaw"], {"edges": [3]}, "--edges=3: give two or more numbers that rise"),
        (["yaw"], {"edges": [3, 1]}, "--edges=3,1: give two or more numbers that rise"),
        (["yaw"], {"bins": 1}, "--bins=1: must be at least 2"),
    ],
)
def test_what_is_no_group(by, options, message):
    with pytest.raises(InputError, match=message):
        group_images(COLUMNS, by, **options)


def test_a_column_of_names_is_no_group():
    with pytest.raises(InputError, match="--by=photo: 31 values, where 1 to 30 make groups"):
        group_images(pd.DataFrame({"photo": map(str, range(31))}), ["photo"])
    with pytest.raises(InputError, match="--by=photo: 0 values"):
        group_images(pd.DataFrame({"photo": [None, ""]}, dtype=object), ["photo"])
