import dataclasses

import numpy as np
import pandas as pd
import pytest
from quality_network import write_quality
from tiny_sets import pipe

from ddl_tf.common.errors import InputError
from ddl_tf.mining.image_columns import image_columns, read_columns
from ddl_tf.mining.quality import QUALITY_COLUMNS, measure_quality
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.runtimes.quality import OnnxQuality
from ddl_tf.synthetic.faces import synthetic_samples


def test_everything_that_is_known(tmp_path):
    images = [sample.image for sample in synthetic_samples(1, 4, size=32)]
    pairs = (np.array([0, 2]), np.array([1, 3]), np.array([True, False]), np.array([0, 1]))
    pair_set = PairSet("tiny", images, *pairs, keys=list("abcd"), people=np.array(list("xxyz")))
    (tmp_path / "yaw.csv").write_text("key,yaw\nd,40\na,10\nother,5\n")
    table = image_columns(pair_set, read_columns([str(tmp_path / "yaw.csv")]), measure=True)
    assert list(table.columns) == ["person", "yaw", *QUALITY_COLUMNS]
    assert list(table["person"]) == list("xxyz")
    np.testing.assert_array_equal(table["yaw"], [10, np.nan, np.nan, 40])
    assert list(table["measured_sharpness"]) == [measure_quality(i)["measured_sharpness"] for i in pair_set.images]
    columns = pd.DataFrame({"yaw": [1, 2, 3, 4]}, index=[9, 8, 7, 6])
    without_people = dataclasses.replace(pair_set, people=None, columns=columns)
    assert list(image_columns(without_people, None, measure=False)["yaw"]) == [1, 2, 3, 4]
    nothing = PairSet("tiny", [b""], *[np.zeros([0], int)] * 4)
    assert image_columns(nothing, read_columns([]), measure=False) is None


def test_a_network_adds_a_column_of_its_own_name(tmp_path):
    images = [sample.image for sample in synthetic_samples(1, 4, size=32)]
    pairs = (np.array([0, 2]), np.array([1, 3]), np.array([True, False]), np.array([0, 1]))
    pair_set = PairSet("tiny", images, *pairs, columns=pd.DataFrame({"yaw": [1, 2, 3, 4]}))
    path = write_quality(tmp_path / "net.onnx")
    table = image_columns(pair_set, None, False, OnnxQuality(path))
    assert list(table.columns) == ["yaw", "learned_quality"]
    np.testing.assert_allclose(table["learned_quality"], list(OnnxQuality(path).measure(images)), rtol=1e-6)
    with pytest.raises(InputError, match="--quality_column=yaw: tiny has that column already"):
        image_columns(pair_set, None, False, OnnxQuality(path, column="yaw"))


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
