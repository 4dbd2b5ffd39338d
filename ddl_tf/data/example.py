"""The record of a stored face: a `tf.train.Example`.

TensorFlow, which takes seconds, is imported where a record is made or read: a set is opened without it.
"""

from ddl_tf.images.pillow_images import may_be_turned, upright_bytes


def make_example(image: bytes, identity: int, group: int) -> bytes:
    """Serialize one face; equal faces give equal bytes."""
    import tensorflow as tf

    example = tf.train.Example()
    # In place: features that are made one by one and put together take three times as long.
    feature = example.features.feature
    feature["image"].bytes_list.value.append(image)
    feature["identity"].int64_list.value.append(identity)
    feature["group"].int64_list.value.append(group)
    return example.SerializeToString(deterministic=True)


def read_example(record: bytes) -> tuple[bytes, int, int]:
    """Read the encoded image, identity and group that `make_example` wrote; a `ValueError` if it is something else."""
    import tensorflow as tf

    try:
        feature = tf.train.Example.FromString(record).features.feature
        (image,) = feature["image"].bytes_list.value
        (identity,), (group,) = (feature[name].int64_list.value for name in ("identity", "group"))
    except Exception as error:  # the error's class is protobuf's own, and another one in each of its implementations
        raise ValueError(f"the record is no stored face ({error})") from None
    return image, identity, group


def upright_record(record: bytes) -> bytes:
    """Turn the image of a record upright; sets that earlier versions stored may hold others."""
    if not may_be_turned(record):
        return record
    try:
        image, identity, group = read_example(record)
    except ValueError:  # whoever parses the record says so
        return record
    upright = upright_bytes(image)
    return record if upright is image else make_example(upright, identity, group)
