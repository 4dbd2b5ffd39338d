import dataclasses

import numpy as np
import pandas as pd
import pytest
from tiny_sets import pipe

from ddl_tf.common.errors import InputError
from ddl_tf.mining.image_columns import image_columns, read_columns
from ddl_tf.mining.quality import QUALITY_COLUMNS, measure_quality
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.synthetic.faces import synthetic_samples


@pytest.fixture(scope="module")
def pair_set():
    images = [sample.image for sample in synthetic_samples(1, 4, size=32)]
    pairs = (np.array([0, 2]), np.array([1, 3]), np.array([True, False]), np.array([0, 1]))
    return PairSet("tiny", images, *pairs, keys=list("abcd"), people=np.array(list("xxyz")))


def test_everything_that_is_known(pair_set, tmp_path):
    (tmp_path / "yaw.csv").write_text("key,yaw\nd,40\na,10\nother,5\n")
    table = image_columns(pair_set, read_columns([str(tmp_path / "yaw.csv")]), measure=True)
    assert list(table.columns) == ["person", "yaw", *QUALITY_COLUMNS]
    assert list(table["person"]) == list("xxyz")
    np.testing.assert_array_equal(table["yaw"], [10, np.nan, np.nan, 40])
    for image, row in zip(pair_set.images, table.itertuples()):
        assert row.measured_sharpness == measure_quality(image)["measured_sharpness"]
    columns = pd.DataFrame({"yaw": [1, 2, 3, 4]}, index=[9, 8, 7, 6])
    without_people = dataclasses.replace(pair_set, people=None, columns=columns)
    assert list(image_columns(without_people, None, measure=False)["yaw"]) == [1, 2, 3, 4]
    nothing = PairSet("tiny", [b""], *[np.zeros([0], int)] * 4)
    assert image_columns(nothing, read_columns([]), measure=False) is None


def test_bad_tables(tmp_path):
    file = tmp_path / "yaw.csv"
    for content, message in (
        ("name,yaw\na,1\n", "no column `key`, but name, yaw"),
        ("key,yaw\na,1\na,2\n", "the key 'a' is there 2 times"),
    ):
        file.write_text(content)
        with pytest.raises(InputError, match=message):
            read_columns([str(file)])
    with pytest.raises(OSError, match="a pipe, device or socket; give a regular file"):
        read_columns([str(pipe(file))])
