import subprocess
import sys

import pytest
import tensorflow as tf

from ddl_tf.data.example import make_example, read_example


@pytest.mark.parametrize("face", [(b"", 0, -1), (b"\xff\xd8", 84_999, 0), (bytes(5000), 2**40, 3)])
def test_bytes_of_an_example(face):
    image, identity, group = face
    features = {
        "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
        "identity": tf.train.Feature(int64_list=tf.train.Int64List(value=[identity])),
        "group": tf.train.Feature(int64_list=tf.train.Int64List(value=[group])),
    }
    example = tf.train.Example(features=tf.train.Features(feature=features))
    assert make_example(*face) == example.SerializeToString(deterministic=True)
    assert read_example(make_example(*face)) == face


@pytest.mark.parametrize("record", [b"no example", b"", make_example(b"x", 1, 2)[:-3]])
def test_something_else_is_no_example(record):
    with pytest.raises(ValueError, match="no stored face"):
        read_example(record)


def test_a_set_is_opened_without_tensorflow():
    program = "import sys; from ddl_tf.data import Faces; sys.exit('tensorflow' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program]).returncode == 0
