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
import ssl
import threading
from collections.abc import Callable
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

HTTP_CODES = {"INVALID_ARGUMENT": 400, "NOT_FOUND": 404, "RESOURCE_EXHAUSTED": 429, "INTERNAL": 500, "UNAVAILABLE": 503}

# Loading takes most of the time that a server takes to start; nobody changes what is loaded.
load = functools.cache(tf.saved_model.load)


class Refusal(Exception):
    """A status other than OK, and a message."""


@dataclasses.dataclass
class Faults:
    """What the next requests shall meet; the counters go down."""

    refuse: int = 0
    refuse_with: tuple[str, str] = ("UNAVAILABLE", "the server is starting")
    drop: int = 0
    hang: int = 0
    # Of the outputs: name -> array.
    spoil: Callable[[dict[str, np.ndarray]], dict[str, np.ndarray]] = dict
    html: Optional[int] = None


def last_row_cut(outputs):
    return {name: array[:-1] for name, array in outputs.items()}


def valid_left_out(outputs):
    return {name: array for name, array in outputs.items() if name != "valid"}


class StandIn:
    """A server of the model `faces`; a context manager.

    `versions` are number -> folder of a SavedModel, `credentials` a PEM key and certificate, for TLS, `max_message` the
    most bytes of a gRPC request.
    """

    def __init__(self, versions, credentials=None, max_message=-1) -> None:
        self.faults = Faults()
        # (signature, rows, version) of each.
        self.requests = []
        self._lock = threading.Lock()
        self._released = threading.Event()
        self._loaded = {number: load(str(path)) for number, path in versions.items()}
        self.described = {number: _signature_defs(path) for number, path in versions.items()}
        options = [("grpc.max_receive_message_length", max_message), ("grpc.so_reuseport", 0)]
        self._grpc = grpc.server(ThreadPoolExecutor(8), options=options)
        prediction_service_pb2_grpc.add_PredictionServiceServicer_to_server(_Services(self), self._grpc)
        model_service_pb2_grpc.add_ModelServiceServicer_to_server(_Services(self), self._grpc)
        if credentials:
            key, certificate = (Path(path).read_bytes() for path in credentials)
            port = self._grpc.add_secure_port("localhost:0", grpc.ssl_server_credentials([(key, certificate)]))
        else:
            port = self._grpc.add_insecure_port("127.0.0.1:0")
        self.relay = DroppingRelay(port)
        self._http = _http_server(self, credentials)
        host, letter = ("localhost", "s") if credentials else ("127.0.0.1", "")
        ports = {"grpc": ("grpc", self.relay.port), "rest": ("http", self._http.server_address[1])}
        self.urls = {kind: f"{scheme}{letter}://{host}:{port}" for kind, (scheme, port) in ports.items()}

    def __enter__(self) -> "StandIn":
        self._grpc.start()
        self.relay.start()
        threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._released.set()
        self.relay.close()
        self._grpc.stop(0).wait()
        self._http.shutdown()
        self._http.server_close()

    def meet_faults(self) -> bool:
        """Hang, refuse, or return whether the connection is to be dropped."""
        with self._lock:
            name = next((name for name in ("drop", "hang", "refuse") if getattr(self.faults, name)), "")
            if name:
                setattr(self.faults, name, getattr(self.faults, name) - 1)
        if name == "hang":
            self._released.wait(60)
        if name == "refuse":
            raise Refusal(*self.faults.refuse_with)
        return name == "drop"

    def find(self, model: str, version: Optional[int]) -> int:
        if model != "faces" or (version is not None and version not in self._loaded):
            wanted = f"Latest({model})" if version is None else f"Specific({model}, {version})"
            raise Refusal("NOT_FOUND", f"Servable not found for request: {wanted}")
        return max(self._loaded) if version is None else version

    def predict(self, version: int, signature: str, inputs: dict[str, Any]) -> dict[str, np.ndarray]:
        if signature not in self.described[version].signature_def:
            raise Refusal("FAILED_PRECONDITION", f'Serving signature key "{signature}" not found.')
        wanted = self.described[version].signature_def[signature].inputs
        if set(inputs) != set(wanted):
            counts = f"{len(inputs)}!={len(wanted)}"
            raise Refusal("INVALID_ARGUMENT", f"input size does not match signature: {counts}")
        try:
            answer = self._loaded[version].signatures[signature](**{k: tf.constant(v) for k, v in inputs.items()})
        except (tf.errors.InvalidArgumentError, TypeError, ValueError) as error:
            raise Refusal("INVALID_ARGUMENT", str(error).splitlines()[0]) from None
        with self._lock:
            rows = next(len(inputs[name]) for name in ("image", "image_bytes", "first") if name in inputs)
            self.requests.append((signature, rows, version))
        return self.faults.spoil({name: tensor.numpy() for name, tensor in answer.items()})

    def status(self, model: str, version: Optional[int]) -> get_model_status_pb2.GetModelStatusResponse:
        answer = get_model_status_pb2.GetModelStatusResponse()
        self.find(model, version)
        for number in sorted(self._loaded) if version is None else [version]:
            answer.model_version_status.add(version=number, state=30).status.error_code = 0
        return answer


def _signature_defs(path: Path) -> get_model_metadata_pb2.SignatureDefMap:
    saved = saved_model_pb2.SavedModel.FromString((Path(path) / "saved_model.pb").read_bytes())
    return get_model_metadata_pb2.SignatureDefMap(signature_def=dict(saved.meta_graphs[0].signature_def))


def _version(spec: Any) -> Optional[int]:
    return spec.version.value if spec.HasField("version") else None


def _answer_grpc(server: StandIn, context: grpc.ServicerContext, answer: Any) -> Any:
    try:
        if server.meet_faults():
            server.relay.drop()
        return answer()
    except Refusal as refusal:
        context.abort(getattr(grpc.StatusCode, refusal.args[0]), refusal.args[1])


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
        def answer():
            spec = request.model_spec
            version = self._server.find(spec.name, _version(spec))
            response = get_model_metadata_pb2.GetModelMetadataResponse(model_spec={"name": spec.name})
            response.model_spec.version.value = version
            response.metadata["signature_def"].Pack(self._server.described[version])
            return response

        assert list(request.metadata_field) == ["signature_def"]
        return _answer_grpc(self._server, context, answer)

    def GetModelStatus(self, request, context):
        spec = request.model_spec
        return _answer_grpc(self._server, context, lambda: self._server.status(spec.name, _version(spec)))


def _as_proto_field(array: np.ndarray) -> Any:
    """As TensorFlow Serving answers: values one by one, not `tensor_content`."""
    proto = tf.make_tensor_proto(np.zeros(array.shape, array.dtype))
    proto.ClearField("tensor_content")
    field = {"float32": "float_val", "int32": "int_val", "bool": "bool_val"}[array.dtype.name]
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
    return np.array([base64.b64decode(row["b64"], validate=True) for row in value], object)


_PATH = re.compile(r"/v1/models/([^/:]+)(?:/versions/(\d+))?(/metadata|:predict)?")


def _http_server(server: StandIn, credentials: Any) -> ThreadingHTTPServer:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: Any) -> None:
            pass

        def do_GET(self) -> None:
            self._answer(self._describe)

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"]))
            self._answer(lambda: self._predict(json.loads(body)))

        def _answer(self, answer: Any) -> None:
            if server.faults.html:
                return self._send(server.faults.html, b"<html><body>Sorry</body></html>", "text/html")
            try:
                if server.meet_faults():
                    self.close_connection = True
                    return self.connection.shutdown(socket.SHUT_RDWR)
                code, content = 200, answer()
            except Refusal as refusal:
                code, content = HTTP_CODES[refusal.args[0]], {"error": refusal.args[1]}
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
            match = _PATH.fullmatch(self.path)
            model, version, metadata = match[1], match[2] and int(match[2]), match[3]
            if not metadata:
                return _to_json(server.status(model, version))
            number = server.find(model, version)
            spec = {"name": model, "signature_name": "", "version": str(number)}
            return {"model_spec": spec, "metadata": {"signature_def": _to_json(server.described[number])}}

        def _predict(self, request: dict[str, Any]) -> Any:
            match = _PATH.fullmatch(self.path)
            version = server.find(match[1], match[2] and int(match[2]))
            signature = request.get("signature_name", "serving_default")
            signatures = server.described[version].signature_def
            if signature not in signatures:
                raise Refusal("INVALID_ARGUMENT", f'Serving signature name: "{signature}" not found in signature def')
            inputs, arrays = request["inputs"], {}
            for name, info in signatures[signature].inputs.items():
                if name not in inputs:
                    raise Refusal("INVALID_ARGUMENT", f"Missing named input: {name} in 'inputs' object.")
                arrays[name] = _from_json(inputs[name], tf.as_dtype(info.dtype))
            lists = {name: array.tolist() for name, array in server.predict(version, signature, arrays).items()}
            # The name of an only output is left out.
            return {"outputs": lists if len(lists) > 1 else next(iter(lists.values()))}

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    made.daemon_threads = True
    if credentials:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(credentials[1], credentials[0])
        made.socket = context.wrap_socket(made.socket, server_side=True)
    return made
