"""Requests to a model server by REST."""

import base64
import contextlib
import json
import queue
import threading
import time
import weakref
from collections.abc import Iterator, Mapping
from concurrent import futures
from pathlib import Path
from typing import Any, Optional
from urllib.parse import quote

import numpy as np

from ddl_tf.client import errors
from ddl_tf.client.answers import DTYPES, INTERNAL, ModelMetadata, Signature, TensorInfo, VersionStatus
from ddl_tf.client.errors import MOST_BYTES, RequestError, missing_package
from ddl_tf.common.errors import InputError

try:
    import requests
    import urllib3
except ImportError:
    raise missing_package("requests") from None

# As TensorFlow Serving answers, and proxies before it.
_STATUSES = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: errors.NOT_FOUND,
    408: errors.DEADLINE_EXCEEDED,
    409: "ABORTED",
    429: errors.RESOURCE_EXHAUSTED,
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    503: errors.UNAVAILABLE,
    504: errors.DEADLINE_EXCEEDED,
}
_CHUNK = 1 << 16
_NAMES = dict(DTYPES.values())


def to_json(array: np.ndarray) -> Any:
    """Write an array as nested lists, with bytes in base64: `{"b64": ...}`."""
    if array.dtype != object:
        return array.tolist()
    encode = np.vectorize(lambda value: {"b64": base64.b64encode(value).decode("ascii")}, otypes=[object])
    return encode(array).tolist()


def from_json(value: Any) -> np.ndarray:
    """Read an array from nested lists: numbers with a point are float32, whole ones int32."""
    try:
        array = np.array(value)
    except ValueError:
        raise RequestError("BAD_ANSWER", "lists of different lengths where an array should be") from None
    if array.dtype.kind == "b":
        return array
    if array.dtype.kind not in "fi":
        raise RequestError("BAD_ANSWER", f"values that are no numbers: {str(value)[:60]}")
    limits = np.finfo(np.float32) if array.dtype.kind == "f" else np.iinfo(np.int32)
    finite = array[np.isfinite(array)]
    if np.any((finite < limits.min) | (finite > limits.max)):
        raise RequestError("BAD_ANSWER", f"numbers that do not fit {limits.dtype}")
    return array.astype(limits.dtype)


@contextlib.contextmanager
def _as_promised() -> Iterator[None]:
    """Other JSON than TensorFlow Serving's becomes an error of the answer."""
    try:
        yield
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise RequestError("BAD_ANSWER", f"not TensorFlow Serving's JSON ({type(error).__name__}: {error})") from None


def _tensors(infos: Mapping[str, Any]) -> dict[str, TensorInfo]:
    tensors = {}
    for name, info in infos.items():
        shape = info["tensor_shape"]
        sizes = None if shape.get("unknown_rank") else tuple(int(dim["size"]) for dim in shape.get("dim", []))
        tensors[name] = TensorInfo(_NAMES.get(info["dtype"], info["dtype"]), sizes)
    return tensors


def _error_of(answer: requests.Response) -> RequestError:
    status = _STATUSES.get(answer.status_code, f"HTTP {answer.status_code}")
    try:
        return RequestError(status, str(json.loads(answer.content)["error"]))
    except (ValueError, KeyError, TypeError):
        moved = f" to {answer.headers['Location']}" if "Location" in answer.headers else ""
        return RequestError(status, f"HTTP {answer.status_code} {answer.reason}{moved}, from no TensorFlow Serving")


def _body(raw: Any, deadline: float) -> bytes:
    # What has come, however little; before urllib3 2.1 so many bytes, or the end.
    read = getattr(raw, "read1", raw.read)
    content = bytearray()
    while part := read(_CHUNK, decode_content=False):
        content += part
        if len(content) > MOST_BYTES:
            raise RequestError(errors.RESOURCE_EXHAUSTED, f"an answer larger than max {MOST_BYTES:,} bytes")
        if time.monotonic() > deadline:
            raise RequestError(errors.DEADLINE_EXCEEDED, "the answer was not whole in time")
    return bytes(content)


class RestTransport:
    """Requests to one model of the server at a URL; threads may share it."""

    def __init__(self, url: str, model: str, certificates: Optional[str] = None) -> None:
        if certificates and not Path(certificates).is_file():
            raise InputError(f"certificates {certificates}: there is no such file; give a PEM file")
        self._base = f"{url.rstrip('/')}/v1/models/{quote(model, safe='')}"
        self._certificates = certificates
        # A session keeps its connection, but is not made for several requests at once: each takes one that is free.
        self._free: queue.SimpleQueue[requests.Session] = queue.SimpleQueue()
        self._sessions: weakref.WeakSet[requests.Session] = weakref.WeakSet()
        self._single_outputs: dict[str, str] = {}

    def _call(self, path: str, version: Optional[int], timeout: float, body: Optional[bytes] = None) -> Any:
        url = self._base + (f"/versions/{version}" if version is not None else "") + path
        outcome: futures.Future[requests.Response] = futures.Future()

        def ask() -> None:
            try:
                outcome.set_result(self._ask(url, timeout, body))
            except Exception as error:
                outcome.set_exception(error)

        # In a thread, because neither looking up a name nor the lines before an answer have a limit of their own.
        threading.Thread(target=ask, daemon=True).start()
        try:
            answer = outcome.result(timeout=max(timeout, 0.001))
        except futures.TimeoutError:
            raise RequestError(errors.DEADLINE_EXCEEDED, f"no whole answer in {timeout:.3g} s") from None
        if answer.status_code != 200:
            raise _error_of(answer)
        try:
            # Unlike some parsers it knows NaN, which TensorFlow Serving writes.
            return json.loads(answer.content)
        except (ValueError, RecursionError):
            raise RequestError("BAD_ANSWER", f"no JSON: {answer.content[:60]!r}") from None

    def _ask(self, url: str, timeout: float, body: Optional[bytes]) -> requests.Response:
        """One request and its whole answer."""
        deadline = time.monotonic() + timeout
        # Packed answers could grow without limit.
        headers = {"Accept-Encoding": "identity", **({} if body is None else {"Content-Type": "application/json"})}
        try:
            session = self._free.get_nowait()
        except queue.Empty:
            session = requests.Session()
            self._sessions.add(session)
        try:
            answer = session.request(
                "GET" if body is None else "POST",
                url,
                data=body,
                headers=headers,
                # Else connecting and waiting could each take as long.
                timeout=urllib3.Timeout(total=max(timeout, 0.001)),  # type: ignore[arg-type]
                # A session's own would give way to REQUESTS_CA_BUNDLE.
                verify=self._certificates,
                allow_redirects=False,
                stream=True,
            )
            with contextlib.closing(answer):
                # What requests gives as `content`.
                answer._content = _body(answer.raw, deadline)
        except (requests.exceptions.Timeout, urllib3.exceptions.TimeoutError):
            raise RequestError(errors.DEADLINE_EXCEEDED, f"no answer in {timeout:.3g} s") from None
        except requests.exceptions.SSLError as error:
            raise RequestError("BAD_CERTIFICATE", str(error)) from None
        except (requests.exceptions.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            # urllib3's own words, without requests' around them.
            raise RequestError(errors.UNAVAILABLE, str(getattr(error.args[0], "reason", error))) from None
        except requests.exceptions.RequestException as error:
            raise RequestError("BAD_REQUEST", str(error)) from None
        except (urllib3.exceptions.HTTPError, OSError) as error:
            raise RequestError(errors.UNAVAILABLE, str(error)) from None
        self._free.put(session)
        return answer

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], version: Optional[int], timeout: float
    ) -> dict[str, np.ndarray]:
        """Run a signature within `timeout` seconds; a failure is a `RequestError`, as of the other methods."""
        # In the columnar format the inputs may have different numbers of rows.
        body = {"signature_name": signature, "inputs": {name: to_json(array) for name, array in inputs.items()}}
        answer = self._call(":predict", version, timeout, json.dumps(body).encode("ascii"))
        with _as_promised():
            outputs = answer["outputs"]
        if not isinstance(outputs, dict):
            # The name of an only output is left out.
            outputs = {self._single_output(signature, version, timeout): outputs}
        return {name: from_json(value) for name, value in outputs.items()}

    def _single_output(self, signature: str, version: Optional[int], timeout: float) -> str:
        if signature not in self._single_outputs:
            described = self.metadata(version, timeout)
            with _as_promised():
                names = sorted(described.signatures[signature].outputs)
            if len(names) != 1:
                raise RequestError("BAD_ANSWER", f"one output without a name, of {', '.join(names)}")
            self._single_outputs[signature] = names[0]
        return self._single_outputs[signature]

    def status(self, version: Optional[int], timeout: float) -> list[VersionStatus]:
        """Ask for the states of the model's versions."""
        answer = self._call("", version, timeout)
        with _as_promised():
            return [
                VersionStatus(int(each["version"]), each["state"], each["status"]["error_message"])
                for each in answer["model_version_status"]
            ]

    def metadata(self, version: Optional[int], timeout: float) -> ModelMetadata:
        """Ask for the model's version and signatures."""
        answer = self._call("/metadata", version, timeout)
        with _as_promised():
            signatures = {
                name: Signature(_tensors(definition["inputs"]), _tensors(definition["outputs"]))
                for name, definition in answer["metadata"]["signature_def"]["signature_def"].items()
                if not name.startswith(INTERNAL)
            }
            return ModelMetadata(answer["model_spec"]["name"], int(answer["model_spec"]["version"]), signatures)

    def close(self) -> None:
        """Close the connections of all threads."""
        for session in list(self._sessions):
            session.close()
