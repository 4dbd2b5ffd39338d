"""The client of a model server: faces there, embeddings back."""

import functools
import re
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Optional, TypeVar, Union
from urllib.parse import urlsplit

import numpy as np

from ddl_tf.client import answers, errors
from ddl_tf.common.errors import InputError

if TYPE_CHECKING:
    import os

    from ddl_tf.client.grpc import GrpcTransport
    from ddl_tf.client.rest import RestTransport
    from ddl_tf.detection import Detector, FaceRules

T = TypeVar("T")
Arrays = Mapping[str, np.ndarray]

IMAGES, BYTES, VERIFY, SEARCH = "serving_default", "serving_bytes", "verify", "search"
# A server loads a model in seconds to minutes.
_SECONDS_BETWEEN = 1.0


def _strings(items: Sequence[bytes], name: str) -> np.ndarray:
    """`[rows]` of bytes as `object`; NumPy's own bytes lose zeros at the end."""
    if isinstance(items, (bytes, str)):
        raise InputError(f"{name}: one image, not a list of them; put it into a list")
    rows = np.empty(len(items), object)
    for row, item in enumerate(items):
        if not isinstance(item, bytes):
            raise InputError(f"{name}, row {row}: {type(item).__name__}, not bytes; give the content of a JPEG or PNG")
        rows[row] = item
    return rows


def _connect(url: str, model: str, certificates: Optional[str]) -> "Union[GrpcTransport, RestTransport]":
    """Make the transport for a URL; nothing is sent yet."""
    parts = urlsplit(url)
    try:
        port = parts.port
    except ValueError:
        port = None
    if parts.scheme in ("grpc", "grpcs") and parts.hostname and port and not parts.path.strip("/"):
        from ddl_tf.client.grpc import GrpcTransport

        return GrpcTransport(parts.netloc, model, parts.scheme == "grpcs", certificates)
    if parts.scheme in ("http", "https") and parts.hostname and not parts.query:
        from ddl_tf.client.rest import RestTransport

        return RestTransport(url, model, certificates)
    advice = "give grpc://host:8500 (grpcs:// with TLS) or, for REST, http://host:8501 (https://)"
    raise InputError(f"url {url!r}: {advice}")


class Client:
    """A model of a TensorFlow Serving server, by gRPC or REST. Any number of threads may use it at once.

    Requests are repeated while the server is unavailable (starting, restarting, no connection) or full, and only then.
    A call with more rows than `batch` becomes several requests, all of them to one version of the model.
    TensorFlow is not needed, and not imported, but by `embed_photos` for a detector.

    Args:
        url: `grpc://host:8500`, `grpcs://host:port` (TLS), `http://host:8501` or `https://host`.
        model: the name that it is served by.
        version: the version; the latest one that the server has if None.
        timeout: seconds for one request with its repetitions.
        retries: how often a request is repeated at most.
        batch: the most rows of one request.
        certificates: for TLS, a PEM file of root certificates that are trusted instead of the usual ones.

    Raises:
        InputError: if an argument is out of its range, or a package is missing that is needed.

    Example:
        >>> with Client("grpc://localhost:8500", "faces") as client:  # doctest: +SKIP
        ...     embedding, valid = client.embed_bytes([open("face.jpg", "rb").read()])
    """

    def __init__(
        self,
        url: str,
        model: str = "faces",
        version: Optional[int] = None,
        timeout: float = 10.0,
        retries: int = 4,
        batch: int = 32,
        certificates: Optional[str] = None,
    ) -> None:
        if not re.fullmatch(r"[^\s/:]+", model):
            raise InputError(f"model {model!r}: give the name that it is served by, such as faces")
        if not timeout > 0:
            raise InputError(f"timeout {timeout}: must be more than 0 seconds")
        for name, value, least in (("version", version, 0), ("retries", retries, 0), ("batch", batch, 1)):
            if value is not None and value < least:
                raise InputError(f"{name} {value}: must be at least {least}")
        self.url, self.model, self.version = url, model, version
        self._timeout, self._retries, self._batch = float(timeout), retries, batch
        self._transport = _connect(url, model, certificates)

    def embed(self, images: np.ndarray) -> np.ndarray:
        """Embed images `[rows, height, width, 3]` uint8 RGB; the model resizes them to its own size.

        Returns:
            `[rows, dim]` float32 of unit norm.

        Raises:
            InputError: if they are of another shape or type.
            ServingError: if the server does not answer as it should; so for all methods.
        """
        images = np.asarray(images)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[3] != 3:
            raise InputError(f"images {images.dtype} {list(images.shape)}: give uint8 [rows, height, width, 3], RGB")
        return self._by_batches(IMAGES, {"image": images}, {"embedding": (np.float32, (answers.DIM,))})["embedding"]

    def embed_bytes(self, images: Sequence[bytes]) -> answers.Embedded:
        """Embed encoded images, `[rows]` contents of JPEG or PNG files, each of its own size."""
        outputs = {"embedding": (np.float32, (answers.DIM,)), "valid": (np.bool_, ())}
        return answers.Embedded(**self._by_batches(BYTES, {"image_bytes": _strings(images, "images")}, outputs))

    def embed_photos(
        self,
        photos: "Sequence[Union[bytes, str, os.PathLike[str]]]",
        detector: "Optional[Detector]" = None,
        rules: "Optional[FaceRules]" = None,
        size: int = 112,
    ) -> list[answers.EmbeddedPhoto]:
        """Find the faces of photos here, align them, and let the server embed them.

        The photos stay here: only aligned faces are sent, as PNG. All of them are in memory; give some hundred photos
        at a time.

        Args:
            photos: contents of files, or their paths; JPEG, PNG, or whatever else Pillow reads.
            detector: finds the faces; `MTCNNDetector` if None, which needs TensorFlow and the extra `[photos]`.
            rules: which faces are usable; `FaceRules()` if None.
            size: the side of an aligned face in pixels: 112, or that of the model's input if that is larger.

        Returns:
            For each photo its faces with their embeddings. A photo that cannot be read or has no usable face has none,
            and says why.

        Raises:
            InputError: if an argument is out of its range, or the detector is not as `Detector` says.

        Example:
            >>> with Client("grpc://localhost:8500", "faces") as client:  # doctest: +SKIP
            ...     (photo,) = client.embed_photos(["group.jpg"])
            ...     [face.box for face in photo.faces], photo.embedding
        """
        # They need Pillow, which a client of aligned faces does not.
        from ddl_tf.client.photos import find_faces
        from ddl_tf.detection import FaceRules

        found = find_faces(photos, detector or self._mtcnn, rules or FaceRules(), size)
        embedding, valid = self.embed_bytes([face for photo in found for face in photo.encoded])
        if not valid.all():
            raise self._error("BAD_ANSWER", f"{np.sum(~valid)} of {len(valid)} aligned faces were not decoded")
        ends = np.cumsum([len(photo.faces) for photo in found], dtype=int)
        rows = np.split(embedding, ends[:-1])
        return [answers.EmbeddedPhoto(photo.faces, part, photo.problem) for photo, part in zip(found, rows)]

    @functools.cached_property
    def _mtcnn(self) -> "Detector":
        from ddl_tf.detection import MTCNNDetector

        return MTCNNDetector()

    def verify(self, first: Sequence[bytes], second: Sequence[bytes]) -> answers.Verified:
        """Compare pairs of encoded images `[pairs]`, at the threshold that is stored in the model."""
        if len(first) != len(second):
            raise InputError(f"{len(first)} first and {len(second)} second images: give a second image for each first")
        inputs = {"first": _strings(first, "first"), "second": _strings(second, "second")}
        outputs = {"similarity": (np.float32, ()), "same": (np.bool_, ()), "valid": (np.bool_, ())}
        return answers.Verified(**self._by_batches(VERIFY, inputs, outputs))

    def search(self, images: Sequence[bytes], gallery: np.ndarray, k: int) -> answers.Found:
        """Find the nearest embeddings of a gallery, which goes to the server with every request.

        Args:
            images: `[rows]` contents of JPEG or PNG files.
            gallery: `[size, dim]` float32 of unit norm.
            k: how many to find for each image, at most `size`.
        """
        gallery = np.asarray(gallery)
        if gallery.ndim != 2 or gallery.dtype.kind != "f":
            raise InputError(f"gallery {gallery.dtype} {list(gallery.shape)}: give float32 [size, dim]")
        if not 1 <= k <= len(gallery):
            raise InputError(f"k {k}: must be between 1 and the size of the gallery, {len(gallery)}")
        shared = {"gallery": gallery.astype(np.float32, copy=False), "k": np.array(k, np.int32)}
        outputs = {"index": (np.int32, (k,)), "similarity": (np.float32, (k,)), "valid": (np.bool_, ())}
        return answers.Found(**self._by_batches(SEARCH, {"image_bytes": _strings(images, "images")}, outputs, shared))

    def predict(self, signature: str, inputs: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Run any signature in one request: name -> array, bytes as `object`."""
        known = ["object", *(numpy_name for _, numpy_name in answers.DTYPES.values())]
        for name, array in inputs.items():
            if array.dtype.name not in known:
                raise InputError(f"input {name!r} is {array.dtype}: use uint8, float32, int32, bool, or bytes (object)")
        return self._predict(signature, inputs, self.version)

    def status(self) -> list[answers.VersionStatus]:
        """Ask for the states of the version, or of all versions that the server knows, the latest first."""
        return sorted(self._send(lambda timeout: self._transport.status(self.version, timeout)), reverse=True)

    def metadata(self) -> answers.ModelMetadata:
        """Ask which version answers and what signatures it has."""
        return self._send(lambda timeout: self._transport.metadata(self.version, timeout))

    def close(self) -> None:
        """Close the connections."""
        self._transport.close()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _send(self, send: Callable[[float], T], signature: str = "") -> T:
        try:
            return errors.with_retries(send, self._timeout, self._retries)
        except errors.RequestError as error:
            raise self._explained(error, signature) from error

    def _predict(self, signature: str, inputs: Arrays, version: Optional[int]) -> dict[str, np.ndarray]:
        return self._send(lambda timeout: self._transport.predict(signature, inputs, version, timeout), signature)

    def _explained(self, error: errors.RequestError, signature: str) -> errors.ServingError:
        signatures, versions, in_vain = None, None, ""
        try:
            if errors.lacks_signature(error):
                signatures = sorted(self._transport.metadata(self.version, self._timeout).signatures)
            elif error.status == errors.NOT_FOUND:
                states = sorted(self._transport.status(None, self._timeout))
                reasons = [f" ({reason})" if reason else "" for _, _, reason in states]
                versions = ", ".join(f"version {each[0]} {each[1]}{why}" for each, why in zip(states, reasons))
        except errors.RequestError as further:
            if further.status != error.status:
                in_vain = f" (asked what it has, the server said {further.status})"
        advice = errors.advise(error, self.model, signature, signatures, versions)
        return self._error(error.status, error.message, advice + in_vain)

    def _error(self, status: str, message: str, advice: str = "") -> errors.ServingError:
        name = self.model if self.version is None else f"{self.model} version {self.version}"
        advice = advice or "is it a model of `python -m ddl_tf.export`? Export it again"
        return errors.ServingError(self.url, name, status, message, advice)

    def _by_batches(
        self, signature: str, inputs: Arrays, outputs: answers.Outputs, shared: Optional[Arrays] = None
    ) -> dict[str, np.ndarray]:
        """Run a signature on any number of rows; `shared` goes with every batch as it is."""
        rows, version = len(next(iter(inputs.values()))), self.version
        if rows == 0:
            return self._empty(signature, outputs)
        if rows > self._batch and version is None:
            # A new version that is loaded meanwhile would give embeddings that do not compare with those before.
            version = self.metadata().version
        parts = []
        for start in range(0, rows, self._batch):
            sent = {name: array[start : start + self._batch] for name, array in inputs.items()}
            answer = self._predict(signature, {**sent, **(shared or {})}, version)
            wrong = answers.misfit(answer, outputs, min(self._batch, rows - start))
            if wrong:
                raise self._error("BAD_ANSWER", wrong)
            parts.append({name: answer[name].astype(dtype, copy=False) for name, (dtype, _) in outputs.items()})
        if len({tuple(array.shape[1:] for array in answer.values()) for answer in parts}) > 1:
            raise self._error("BAD_ANSWER", "batches of one call have embeddings of different dimensions")
        return {name: np.concatenate([answer[name] for answer in parts]) for name in outputs}

    def _empty(self, signature: str, outputs: answers.Outputs) -> dict[str, np.ndarray]:
        """No rows; JSON has no shape for them, so they are not sent."""
        described = self.metadata().signatures.get(signature)
        if described is None:
            raise self._error("BAD_ANSWER", f"the model has no signature {signature!r}")
        empty = {}
        for name, (dtype, shape) in outputs.items():
            if answers.DIM in shape:
                sizes = described.outputs[name].shape if name in described.outputs else None
                if not sizes or len(sizes) != 2 or sizes[1] < 0:
                    raise self._error("BAD_ANSWER", f"the model does not report the dimension of its output {name!r}")
                shape = sizes[1:]
            empty[name] = np.zeros((0, *shape), dtype)
        return empty


def wait_until_available(client: Client, seconds: float) -> int:
    """Wait until a server has loaded the client's model, and return its version; what it waits for goes to stderr."""
    began, printed = time.monotonic(), ""
    while True:
        try:
            versions = client.status()
            if any(version.state == answers.AVAILABLE for version in versions):
                return client.metadata().version
            state = ", ".join(f"version {version.version} is {version.state}" for version in versions)
            failed = [version.error for version in versions if version.error and version.state == "END"]
            status = "FAILED_PRECONDITION" if failed else errors.UNAVAILABLE
            message = failed[0] if failed else f"not loaded after {seconds:g} s: {state or 'it knows no version'}"
            error = errors.ServingError(client.url, client.model, status, message, "see the server's log")
        except errors.ServingError as refused:
            if refused.status not in (errors.UNAVAILABLE, errors.NOT_FOUND):
                raise
            error, failed, state = refused, [], refused.status
        elapsed = time.monotonic() - began
        if failed or elapsed + _SECONDS_BETWEEN > seconds:
            raise error
        if state != printed:
            print(f"{client.url}, model {client.model}: {state}; waiting, {elapsed:.0f} s so far", file=sys.stderr)
            printed = state
        time.sleep(_SECONDS_BETWEEN)
