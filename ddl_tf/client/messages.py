"""The messages of TensorFlow Serving's gRPC protocol, without TensorFlow: the fields that the client uses.

They are those of https://github.com/tensorflow/serving/tree/master/tensorflow_serving/apis, in a pool of their own, so
that TensorFlow's can be loaded beside them. Enums are int32 here, and `google.protobuf.Any` and `Int64Value` are
written out: on the wire they are the same.
"""

from typing import Any

from ddl_tf.client.errors import missing_package

try:
    from google.protobuf import descriptor_pb2, descriptor_pool, message_factory
except ImportError:
    raise missing_package("protobuf") from None

PACKAGE = "ddl_tf.serving"

# message -> field -> (number, type); `*` before a type is a list, `{}` a map from strings.
FIELDS: dict[str, dict[str, tuple[int, str]]] = {
    "Dim": {"size": (1, "int64")},
    "TensorShapeProto": {"dim": (2, "*Dim"), "unknown_rank": (3, "bool")},
    "TensorProto": {
        "dtype": (1, "int32"),
        "tensor_shape": (2, "TensorShapeProto"),
        "tensor_content": (4, "bytes"),
        "float_val": (5, "*float"),
        "int_val": (7, "*int32"),
        "string_val": (8, "*bytes"),
        "int64_val": (10, "*int64"),
        "bool_val": (11, "*bool"),
    },
    "TensorInfo": {"dtype": (2, "int32"), "tensor_shape": (3, "TensorShapeProto")},
    "SignatureDef": {"inputs": (1, "{}TensorInfo"), "outputs": (2, "{}TensorInfo")},
    "SignatureDefMap": {"signature_def": (1, "{}SignatureDef")},
    "Any": {"type_url": (1, "string"), "value": (2, "bytes")},
    "Int64Value": {"value": (1, "int64")},
    "ModelSpec": {"name": (1, "string"), "version": (2, "Int64Value"), "signature_name": (3, "string")},
    "PredictRequest": {"model_spec": (1, "ModelSpec"), "inputs": (2, "{}TensorProto")},
    "PredictResponse": {"outputs": (1, "{}TensorProto"), "model_spec": (2, "ModelSpec")},
    "StatusProto": {"error_code": (1, "int32"), "error_message": (2, "string")},
    "ModelVersionStatus": {"version": (1, "int64"), "state": (2, "int32"), "status": (3, "StatusProto")},
    "GetModelStatusRequest": {"model_spec": (1, "ModelSpec")},
    "GetModelStatusResponse": {"model_version_status": (1, "*ModelVersionStatus")},
    "GetModelMetadataRequest": {"model_spec": (1, "ModelSpec"), "metadata_field": (2, "*string")},
    "GetModelMetadataResponse": {"model_spec": (1, "ModelSpec"), "metadata": (2, "{}Any")},
}

# The states of a ModelVersionStatus.
STATES = {0: "UNKNOWN", 10: "START", 20: "LOADING", 30: "AVAILABLE", 40: "UNLOADING", 50: "END"}


def _add_field(message: Any, name: str, number: int, kind: str, repeated: bool = False) -> None:
    field = message.field.add(name=name, number=number)
    field.label = field.LABEL_REPEATED if repeated else field.LABEL_OPTIONAL
    if kind in FIELDS or "." in kind:
        field.type, field.type_name = field.TYPE_MESSAGE, kind if "." in kind else f".{PACKAGE}.{kind}"
    else:
        field.type = getattr(field, f"TYPE_{kind.upper()}")


def _describe() -> Any:
    file = descriptor_pb2.FileDescriptorProto(name="ddl_tf_serving.proto", package=PACKAGE, syntax="proto3")
    for message_name, fields in FIELDS.items():
        message = file.message_type.add(name=message_name)
        for name, (number, kind) in fields.items():
            if kind.startswith("{}"):
                entry = message.nested_type.add(name=f"{name.title().replace('_', '')}Entry")
                entry.options.map_entry = True
                _add_field(entry, "key", 1, "string")
                _add_field(entry, "value", 2, kind[2:])
                kind = f"*.{PACKAGE}.{message_name}.{entry.name}"
            _add_field(message, name, number, kind.lstrip("*"), repeated=kind.startswith("*"))
    return file


_POOL = descriptor_pool.DescriptorPool()
_POOL.Add(_describe())


def message(name: str) -> Any:
    """Return the class of a message of `FIELDS`, as `protoc` would make it."""
    return message_factory.GetMessageClass(_POOL.FindMessageTypeByName(f"{PACKAGE}.{name}"))
