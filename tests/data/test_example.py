import pytest
import tensorflow as tf

from ddl_tf.data.example import make_example, read_example


def test_bytes_of_an_example():
    for image, identity, group in ((b"", 0, -1), (b"\xff\xd8", 84_999, 0), (bytes(5000), 2**40, 3)):
        features = {
            "image": tf.train.Feature(bytes_list=tf.train.BytesList(value=[image])),
            "identity": tf.train.Feature(int64_list=tf.train.Int64List(value=[identity])),
            "group": tf.train.Feature(int64_list=tf.train.Int64List(value=[group])),
        }
        record = tf.train.Example(features=tf.train.Features(feature=features)).SerializeToString(deterministic=True)
        assert make_example(image, identity, group) == record
        assert read_example(record) == (image, identity, group)
    for record in (b"no example", b"", make_example(b"x", 1, 2)[:-3]):
        with pytest.raises(ValueError, match="no stored face"):
            read_example(record)
