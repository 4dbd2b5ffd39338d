"""A server that speaks TensorFlow Serving's gRPC and REST protocols on this machine, and fails on demand.

It answers from SavedModels with the stubs and messages of tensorflow-serving-api, and with the statuses and words of
tensorflow_serving (servables/tensorflow/predict_util.cc, model_servers/http_rest_api_handler.cc, util/json_tensor.cc).
"""

import base64
import dataclasses
import functools
import json
import re
import socket
import threading
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Optional

import grpc
import numpy as np
import tensorflow as tf
from dropping_relay import DroppingRelay
from google.protobuf import json_format
from tensorflow.core.protobuf import saved_model_pb2
from tensorflow_serving.apis import (
    get_model_metadata_pb2,
    get_model_status_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
)

HTTP_CODES = {
    "INVALID_ARGUMENT": 400,
    "FAILED_PRECONDITION": 400,
    "NOT_FOUND": 404,
    "RESOURCE_EXHAUSTED": 429,
    "INTERNAL": 500,
    "UNIMPLEMENTED": 501,
    "UNAVAILABLE": 503,
    "DEADLINE_EXCEEDED": 504,
}

# Loading takes most of the time that a server takes to start; nobody changes what is loaded.
load = functools.cache(tf.saved_model.load)


class Refusal(Exception):
    """A status other than OK."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(message)
        self.status, self.message = status, message


@dataclasses.dataclass
class Faults:
    """What the next requests shall meet; the counters go down."""

    refuse: int = 0
    refuse_with: tuple[str, str] = ("UNAVAILABLE", "the server is starting")
    drop: int = 0
    hang: int = 0
    cut_rows: bool = False
    cut_dim_after: Optional[int] = None
    other_embeddings: bool = False
    without: Optional[str] = None
    html: Optional[int] = None


class StandIn:
    """A server of one model; a context manager.

    Args:
        versions: number -> folder of a SavedModel.
        model: the name that it is served by.
        credentials: a PEM key and certificate, for TLS.
        max_message: the most bytes of a gRPC request.
    """

    def __init__(
        self,
        versions: dict[int, Path],
        model: str = "faces",
        credentials: Optional[tuple[Path, Path]] = None,
        max_message: int = -1,
    ) -> None:
        self.model, self.faults = model, Faults()
        self.requests: list[tuple[str, int, Optional[int]]] = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._loaded = {number: load(str(path)) for number, path in versions.items()}
        self._described = {
            number: saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
            .meta_graphs[0]
            .signature_def
            for number, path in versions.items()
        }
        self._grpc = grpc.server(
            ThreadPoolExecutor(8), options=[("grpc.max_receive_message_length", max_message), ("grpc.so_reuseport", 0)]
        )
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Services(self), self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Services(self), self._grpc)
        if credentials:
            key, certificate = (path.read_bytes() for path in credentials)
            port = self._grpc.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
        else:
            port = self._grpc.add_insecure_port("127.0.0.1:0")
        self._relay = DroppingRelay(port)
        self._http = _http_server(self, credentials)
        host, letter = ("localhost", "s") if credentials else ("127.0.0.1", "")
        self.urls = {
            "grpc": f"grpc{letter}://{host}:{self._relay.port}",
            "rest": f"http{letter}://{host}:{self._http.server_address[1]}",
        }

    def __enter__(self) -> "StandIn":
        self._grpc.start()
        self._relay.start()
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self._relay.close()
        self._grpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()

    def meet_faults(self) -> bool:
        """Hang, refuse, or return whether the connection is to be dropped."""
        with self._lock:
            for name in ("drop", "hang", "refuse"):
                count = getattr(self.faults, name)
                if count:
                    setattr(self.faults, name, count - 1)
                    break
            else:
                return False
        if name == "hang":
            self._released.wait(60)
        if name == "refuse":
            raise Refusal(*self.faults.refuse_with)
        return name == "drop"

    def drop_grpc(self) -> None:
        self._relay.drop()

    def find(self, model: str, version: Optional[int]) -> int:
        if model != self.model or (version is not None and version not in self._loaded):
            wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
            raise Refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
        return max(self._loaded) if version is None else version

    def signature_def(self, version: int, signature: str) -> Any:
        return self._described[version].get(signature)

    def predict(self, version: int, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        described = self.signature_def(version, signature)
        if described is None:
            raise Refusal("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        if set(inputs) != set(described.inputs):
            raise Refusal(
                "INVALID_ARGUMENT", f"input size does not match signature: {len(inputs)}!={len(described.inputs)}"
            )
        try:
            answer = self._loaded[version].signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise Refusal("INVALID_ARGUMENT", str(error).splitlines()[0]) from None
        with self._lock:
            rows = next(len(inputs[name]) for name in ("image", "image_bytes", "first") if name in inputs)
            self.requests.append((signature, rows, version))
            count = len(self.requests)
        return self._spoilt({name: tensor.numpy() for name, tensor in answer.items()}, count)

    def _spoilt(self, outputs: dict[str, np.ndarray], count: int) -> dict[str, np.ndarray]:
        faults = self.faults
        if faults.cut_rows:
            outputs = {name: array[:-1] for name, array in outputs.items()}
        if faults.cut_dim_after is not None and count > faults.cut_dim_after:
            outputs["embedding"] = outputs["embedding"][:, :-1]
        if faults.other_embeddings and "embedding" in outputs:
            outputs["embedding"] = outputs["embedding"][:, ::-1]
        outputs.pop(faults.without, None)
        return outputs

    def status(self, model: str, version: Optional[int]) -> get_model_status_pb2.GetModelStatusResponse:
        answer = get_model_status_pb2.GetModelStatusResponse()
        if model != self.model:
            raise Refusal("NOT_FOUND", f"Could not find any versions of model {model}")
        if version is not None and version not in self._loaded:
            raise Refusal("NOT_FOUND", f"Could not find version {version} of model {model}")
        for number in sorted(self._loaded) if version is None else [version]:
            answer.model_version_status.add(version=number, state=30).status.error_code = 0
        return answer

    def metadata(self, model: str, version: Optional[int]) -> get_model_metadata_pb2.GetModelMetadataResponse:
        number = self.find(model, version)
        answer = get_model_metadata_pb2.GetModelMetadataResponse()
        answer.model_spec.name = model
        answer.model_spec.version.value = number
        signatures = get_model_metadata_pb2.SignatureDefMap()
        for name, described in self._described[number].items():
            signatures.signature_def[name].CopyFrom(described)
        answer.metadata["signature_def"].Pack(signatures)
        return answer


def _version(spec: Any) -> Optional[int]:
    return spec.version.value if spec.HasField("version") else None


def _answer_grpc(server: StandIn, context: grpc.ServicerContext, answer: Any) -> Any:
    try:
        if server.meet_faults():
            server.drop_grpc()
        return answer()
    except Refusal as refusal:
        context.abort(getattr(grpc.StatusCode, refusal.status), refusal.message)


class _Services(prediction_service_pb2_grpc.PredictionServiceServicer, model_service_pb2_grpc.ModelServiceServicer):
    def __init__(self, server: StandIn) -> None:
        self._server = server

    def Predict(self, request, context):
        def answer():
            spec = request.model_spec
            version = self._server.find(spec.name, _version(spec))
            inputs = {name: tf.make_ndarray(proto) for name, proto in request.inputs.items()}
            response = predict_pb2.PredictResponse()
            for name, array in self._server.predict(version, spec.signature_name, inputs).items():
                response.outputs[name].CopyFrom(_as_proto_field(array))
            response.model_spec.version.value = version
            return response

        return _answer_grpc(self._server, context, answer)

    def GetModelMetadata(self, request, context):
        assert list(request.metadata_field) == ["signature_def"]
        spec = request.model_spec
        return _answer_grpc(self._server, context, lambda: self._server.metadata(spec.name, _version(spec)))

    def GetModelStatus(self, request, context):
        spec = request.model_spec
        return _answer_grpc(self._server, context, lambda: self._server.status(spec.name, _version(spec)))


def _as_proto_field(array: np.ndarray) -> Any:
    """As TensorFlow Serving answers: values one by one, not `tensor_content`."""
    proto = tf.make_tensor_proto(np.zeros(array.shape, array.dtype))
    proto.ClearField("tensor_content")
    fields = {"float32": "float_val", "int32": "int_val", "bool": "bool_val", "int64": "int64_val"}
    field = fields[array.dtype.name]
    proto.ClearField(field)
    getattr(proto, field).extend(array.ravel().tolist())
    return proto


def _to_json(message: Any) -> dict[str, Any]:
    # Its name in protobuf 5 and later.
    always = "always_print_fields_with_no_presence"
    known = json_format.MessageToDict.__code__.co_varnames
    options = {always if always in known else "including_default_value_fields": True}
    return json_format.MessageToDict(message, preserving_proto_field_name=True, **options)


def _from_json(value: Any, dtype: tf.DType) -> np.ndarray:
    if dtype != tf.string:
        return np.array(value, dtype.as_numpy_dtype)
    array = np.array(value, object)
    decoded = [base64.b64decode(part["b64"], validate=True) for part in array.ravel()]
    return np.array(decoded, object).reshape(array.shape)


_PREDICT = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?:predict")
_STATUS = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata)?")


def _http_server(server: StandIn, credentials: Optional[tuple[Path, Path]]) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(self._describe)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(lambda: self._predict(body))

        def _answer(self, answer: Any) -> None:
            if server.faults.html:
                return self._send(server.faults.html, b"<html><body>Sorry</body></html>", "text/html")
            try:
                if server.meet_faults():
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                code, content = 200, answer()
            except Refusal as refusal:
                code, content = HTTP_CODES[refusal.status], {"error": refusal.message}
            self._send(code, json.dumps(content, indent=1).encode(), "application/json")

        def _send(self, code: int, content: bytes, kind: str) -> None:
            try:
                self.send_response(code)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)
            except OSError:
                self.close_connection = True  # The client did not wait.

        def _describe(self) -> Any:
            match = _STATUS.fullmatch(self.path)
            if not match:
                raise Refusal("INVALID_ARGUMENT", f"Malformed request: GET {self.path}")
            model, version, metadata = match[1], match[2] and int(match[2]), match[3]
            if not metadata:
                return _to_json(server.status(model, version))
            answer = server.metadata(model, version)
            signatures = get_model_metadata_pb2.SignatureDefMap()
            answer.metadata["signature_def"].Unpack(signatures)
            spec = {"name": model, "signature_name": "", "version": str(answer.model_spec.version.value)}
            return {"model_spec": spec, "metadata": {"signature_def": _to_json(signatures)}}

        def _predict(self, body: bytes) -> Any:
            match = _PREDICT.fullmatch(self.path)
            if not match:
                raise Refusal("INVALID_ARGUMENT", f"Malformed request: POST {self.path}")
            version = server.find(match[1], match[2] and int(match[2]))
            request = json.loads(body)
            signature = request.get("signature_name", "serving_default")
            described = server.signature_def(version, signature)
            if described is None:
                raise Refusal("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
            dtypes = {name: tf.as_dtype(info.dtype) for name, info in described.inputs.items()}
            inputs = request["inputs"]
            for name in dtypes:
                if name not in inputs:
                    raise Refusal("INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object.")
            arrays = {name: _from_json(inputs[name], dtype) for name, dtype in dtypes.items()}
            lists = {name: array.tolist() for name, array in server.predict(version, signature, arrays).items()}
            # The name of an only output is left out.
            return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    if credentials:
        import ssl

        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        key, certificate = credentials
        context.load_cert_chain(certificate, key)
        made.socket = context.wrap_socket(made.socket, server_side=True)
    return made
