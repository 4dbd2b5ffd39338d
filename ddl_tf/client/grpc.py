"""Requests to a model server by gRPC."""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf.client.answers import DTYPES, INTERNAL, ModelMetadata, Signature, TensorInfo, VersionStatus
from ddl_tf.client.errors import MOST_BYTES, RESOURCE_EXHAUSTED, RequestError, missing_package
from ddl_tf.client.messages import STATES, message
from ddl_tf.common.errors import InputError

try:
    import grpc
except ImportError:
    raise missing_package("grpcio") from None

_NUMBERS = {numpy_name: number for number, (_, numpy_name) in DTYPES.items()}
# The field of each type that is not sent as tensor_content.
_FIELDS = {"float32": "float_val", "int32": "int_val", "uint8": "int_val", "string": "string_val"}
_FIELDS |= {"int64": "int64_val", "bool": "bool_val"}
_OPTIONS = [
    # gRPC refuses answers of more than 4 MB by default.
    ("grpc.max_receive_message_length", MOST_BYTES),
    ("grpc.max_send_message_length", -1),
    # The client repeats requests itself, and counts them.
    ("grpc.enable_retries", 0),
    # Otherwise a server that restarts is looked for only every second, and later ever more seldom.
    ("grpc.initial_reconnect_backoff_ms", 100),
    ("grpc.max_reconnect_backoff_ms", 2000),
    # Otherwise clients of one server share a connection, and one that waits to reconnect holds up a new one.
    ("grpc.use_local_subchannel_pool", 1),
]


def to_tensor_proto(array: np.ndarray) -> Any:
    """Write an array, of a type in `DTYPES` or bytes as `object`, as a TensorProto."""
    name = "string" if array.dtype == object else array.dtype.name
    proto = message("TensorProto")(dtype=_NUMBERS[name])
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    # On any machine the content is little endian.
    if name == "string":
        proto.string_val.extend(array.ravel().tolist())
    else:
        proto.tensor_content = array.astype(array.dtype.newbyteorder("<"), copy=False).tobytes()
    return proto


def from_tensor_proto(proto: Any) -> np.ndarray:
    """Read a TensorProto; strings are bytes, as `object`."""
    if proto.dtype not in DTYPES:
        raise RequestError("BAD_ANSWER", f"a tensor of TensorFlow's type number {proto.dtype}")
    name = DTYPES[proto.dtype][1]
    dtype = np.dtype(object if name == "string" else name)
    shape = tuple(dim.size for dim in proto.tensor_shape.dim)
    size = math.prod(shape)
    if proto.tensor_shape.unknown_rank or any(side < 0 for side in shape) or size * dtype.itemsize > MOST_BYTES:
        raise RequestError("BAD_ANSWER", f"a tensor without a shape, or too large a one: {list(shape)[:8]}")
    if proto.tensor_content:
        if name == "string" or len(proto.tensor_content) % dtype.itemsize:
            raise RequestError("BAD_ANSWER", f"a tensor of {len(proto.tensor_content)} bytes, which are no {name}")
        values = np.frombuffer(proto.tensor_content, dtype.newbyteorder("<")).astype(dtype)
    else:
        field = getattr(proto, _FIELDS[name])
        if name == "uint8" and not all(0 <= value < 256 for value in field):
            raise RequestError("BAD_ANSWER", "a tensor of uint8 with values beyond 0..255")
        values = np.array(field, dtype)
        # TensorFlow leaves out values at the end that are equal to the last one, and all if they are zeros.
        if len(values) < size:
            last = values[-1:] if len(values) else np.array([b"" if name == "string" else 0], dtype)
            values = np.concatenate([values, np.repeat(last, size - len(values))])
    if len(values) != size:
        raise RequestError("BAD_ANSWER", f"a tensor of {len(values)} values and shape {list(shape)}")
    return values.reshape(shape)


def _tensors(infos: Any) -> dict[str, TensorInfo]:
    tensors = {}
    for name, info in infos.items():
        sizes = None if info.tensor_shape.unknown_rank else tuple(dim.size for dim in info.tensor_shape.dim)
        tensors[name] = TensorInfo(DTYPES[info.dtype][1] if info.dtype in DTYPES else f"type {info.dtype}", sizes)
    return tensors


class GrpcTransport:
    """Requests to one model of the server at `host:port`, `secure` by TLS; threads may share it."""

    def __init__(self, address: str, model: str, secure: bool, certificates: Optional[str] = None) -> None:
        self._model = model
        if secure:
            try:
                roots = Path(certificates).read_bytes() if certificates else None
            except OSError as error:
                raise InputError(f"certificates {certificates}: {error.strerror}; give a PEM file") from None
            self._channel = grpc.secure_channel(address, grpc.ssl_channel_credentials(roots), _OPTIONS)
        else:
            self._channel = grpc.insecure_channel(address, _OPTIONS)
        services = {"Predict": "Prediction", "GetModelMetadata": "Prediction", "GetModelStatus": "Model"}
        self._methods = {
            name: self._channel.unary_unary(
                f"/tensorflow.serving.{service}Service/{name}", None, message(f"{name}Response").FromString
            )
            for name, service in services.items()
        }

    def _call(self, name: str, version: Optional[int], timeout: float, signature: str = "", **fields: Any) -> Any:
        request = message(f"{name}Request")(**fields)
        request.model_spec.name, request.model_spec.signature_name = self._model, signature
        if version is not None:
            request.model_spec.version.value = version
        try:
            # By hand: gRPC says nothing about what a message that cannot be serialised had.
            content = request.SerializeToString()
        except Exception as error:  # Of a different class in each implementation of protobuf.
            raise RequestError(RESOURCE_EXHAUSTED, f"{error} (exceeds maximum protobuf size of 2GB)") from None
        try:
            return self._methods[name](content, timeout=max(timeout, 0.001))
        except grpc.RpcError as error:
            raise RequestError(error.code().name, error.details() or "") from None
        except ValueError:
            # gRPC's error of a closed channel.
            raise RequestError("CANCELLED", "this client is closed; make another one") from None

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], version: Optional[int], timeout: float
    ) -> dict[str, np.ndarray]:
        """Run a signature within `timeout` seconds; a failure is a `RequestError`, as of the other methods."""
        protos = {name: to_tensor_proto(array) for name, array in inputs.items()}
        answer = self._call("Predict", version, timeout, signature, inputs=protos)
        return {name: from_tensor_proto(proto) for name, proto in answer.outputs.items()}

    def status(self, version: Optional[int], timeout: float) -> list[VersionStatus]:
        """Ask for the states of the model's versions."""
        versions = self._call("GetModelStatus", version, timeout).model_version_status
        return [
            VersionStatus(each.version, STATES.get(each.state, "UNKNOWN"), each.status.error_message)
            for each in versions
        ]

    def metadata(self, version: Optional[int], timeout: float) -> ModelMetadata:
        """Ask for the model's version and signatures."""
        answer = self._call("GetModelMetadata", version, timeout, metadata_field=["signature_def"])
        try:
            definitions = message("SignatureDefMap").FromString(answer.metadata["signature_def"].value).signature_def
        except Exception:  # Of a different class in each implementation of protobuf.
            raise RequestError("BAD_ANSWER", "metadata that is no description of signatures") from None
        signatures = {
            name: Signature(_tensors(definition.inputs), _tensors(definition.outputs))
            for name, definition in definitions.items()
            if not name.startswith(INTERNAL)
        }
        return ModelMetadata(answer.model_spec.name, answer.model_spec.version.value, signatures)

    def close(self) -> None:
        """Close the connection."""
        self._channel.close()
