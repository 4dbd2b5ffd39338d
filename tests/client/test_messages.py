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
    owners = [tensor_shape_pb2.TensorShapeProto, *MODULES]
    official = next(getattr(owner, name) for owner in owners if hasattr(owner, name)).DESCRIPTOR.fields_by_name
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


def test_tensors_both_ways():
    for array in (
        np.arange(24, dtype=np.uint8).reshape(2, 2, 2, 3),
        np.linspace(-1, 1, 6, dtype=np.float32).reshape(3, 2),
        np.array(5, np.int32),
        np.array([True, False, False]),
        np.array([b"a\0", b"", b"\xff\xd8"], object),
        np.zeros([0, 4], np.float32),
        np.arange(3),
    ):
        official = tensor_pb2.TensorProto.FromString(to_tensor_proto(array).SerializeToString())
        # As TensorFlow writes it, in bytes and value by value.
        protos = tf.make_tensor_proto(array), tf.make_tensor_proto(array.tolist(), array.dtype, array.shape)
        ours = [messages.message("TensorProto").FromString(proto.SerializeToString()) for proto in protos]
        for read in (tf.make_ndarray(official), *map(from_tensor_proto, ours)):
            assert (read.dtype, read.shape) == (array.dtype, array.shape)
            np.testing.assert_array_equal(read, array)


def test_the_client_needs_no_tensorflow():
    # What is None there cannot be imported.
    hide = 'import sys\nsys.modules.update(dict.fromkeys(("tensorflow", "tensorflow_serving", "keras")))'
    subprocess.run([sys.executable, "-c", f"{hide}\nimport ddl_tf.client.grpc, ddl_tf.client.rest"], check=True)
