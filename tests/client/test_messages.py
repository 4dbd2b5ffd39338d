"""The messages of the client against those of tensorflow-serving-api, which need TensorFlow."""

import subprocess
import sys

import numpy as np
import pytest
import tensorflow as tf
from google.protobuf import any_pb2, wrappers_pb2
from tensorflow.core.framework import tensor_pb2, tensor_shape_pb2
from tensorflow.core.protobuf import meta_graph_pb2
from tensorflow_serving.apis import get_model_metadata_pb2, get_model_status_pb2, model_pb2, predict_pb2, status_pb2

from ddl_tf.client import messages
from ddl_tf.client.grpc import from_tensor_proto, to_tensor_proto

MODULES = [tensor_shape_pb2, tensor_pb2, meta_graph_pb2, any_pb2, wrappers_pb2, model_pb2, predict_pb2, status_pb2]
MODULES += [get_model_status_pb2, get_model_metadata_pb2]


def _official(name):
    owners = [tensor_shape_pb2.TensorShapeProto, *MODULES]
    return next(getattr(owner, name) for owner in owners if hasattr(owner, name)).DESCRIPTOR


def _kind(field):
    """What a field is on the wire; an enum is a number."""
    if field.message_type is not None:
        return field.message_type.name
    return "int32" if field.enum_type is not None else field.type


def _is_list(field):
    # The first is protobuf 7's, the second that of those before 6.
    return field.is_repeated if hasattr(field, "is_repeated") else field.label == field.LABEL_REPEATED


@pytest.mark.parametrize("name", messages.FIELDS)
def test_each_field_is_the_official_one(name):
    assert dict(map(reversed, get_model_status_pb2.ModelVersionStatus.State.items())) == messages.STATES
    official = _official(name).fields_by_name
    for field in messages.message(name).DESCRIPTOR.fields:
        twin = official[field.name]
        assert (field.number, _is_list(field)) == (twin.number, _is_list(twin))
        kind, twin_kind = _kind(field), _kind(twin)
        if twin_kind == "int32":
            kind = {field.TYPE_INT32: "int32"}[kind]
        assert kind == twin_kind, field.name
        if field.message_type is not None and field.message_type.GetOptions().map_entry:
            assert twin.message_type.GetOptions().map_entry
            kinds = [entry.message_type.fields_by_name["value"].message_type.name for entry in (field, twin)]
            assert kinds[0] == kinds[1]


ARRAYS = [
    np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
    np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2),
    np.array(5, np.int32),
    np.array([True, False, False]),
    np.array([b"a\0", b"", b"\xff\xd8"], object),
    np.zeros([0, 4], np.float32),
    np.arange(3),
]


@pytest.mark.parametrize("array", ARRAYS, ids=lambda array: f"{array.dtype}{array.shape}")
def test_tensors_both_ways(array):
    official = tensor_pb2.TensorProto.FromString(to_tensor_proto(array).SerializeToString())
    read = tf.make_ndarray(official)
    assert read.dtype == array.dtype
    np.testing.assert_array_equal(read, array)
    # As TensorFlow writes it, in bytes and value by value.
    for proto in (tf.make_tensor_proto(array), tf.make_tensor_proto(array.tolist(), array.dtype, array.shape)):
        ours = from_tensor_proto(messages.message("TensorProto").FromString(proto.SerializeToString()))
        assert (ours.dtype, ours.shape) == (array.dtype, array.shape)
        np.testing.assert_array_equal(ours, array)


ALONE = """
import sys
# What is None here cannot be imported.
sys.modules.update(dict.fromkeys(("tensorflow", "tensorflow_serving", "keras")))
from ddl_tf.serving import Client, ServingError
import numpy as np
for url in ("grpc://127.0.0.1:1", "http://127.0.0.1:1"):
    try:
        Client(url, retries=0).embed(np.zeros([1, 4, 4, 3], np.uint8))
    except ServingError as error:
        print(error.status)
"""


def test_the_client_needs_no_tensorflow():
    run = subprocess.run([sys.executable, "-c", ALONE], check=True, capture_output=True, text=True)
    assert run.stdout.split() == ["UNAVAILABLE", "UNAVAILABLE"]
