"""What sends requests to a model server, chosen by its URL."""

from collections.abc import Mapping
from typing import Optional, Protocol
from urllib.parse import urlsplit

import numpy as np

from ddl_tf.client.served_model import ModelMetadata, VersionStatus
from ddl_tf.common.errors import InputError


class Transport(Protocol):
    """What sends requests: `GrpcTransport` or `RestTransport`."""

    def predict(
        self, signature: str, inputs: Mapping[str, np.ndarray], version: Optional[int], timeout: float
    ) -> dict[str, np.ndarray]:
        """Run a signature within `timeout` seconds; a failure is a `RequestError`, as of the other methods."""
        ...

    def status(self, version: Optional[int], timeout: float) -> list[VersionStatus]:
        """Ask for the states of the model's versions."""
        ...

    def metadata(self, version: Optional[int], timeout: float) -> ModelMetadata:
        """Ask for the model's version and signatures."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


def connect(url: str, model: str, certificates: Optional[str]) -> Transport:
    """Make the transport for a URL, see `Client`; nothing is sent yet.

    Example:
        >>> connect("http://localhost:8501", "faces", None).close()
    """
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
    raise InputError(
        f"url {url!r}: give grpc://host:8500 (grpcs:// with TLS) for gRPC, or http://host:8501 (https://) for REST"
    )
