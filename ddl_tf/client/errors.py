"""What can go wrong between a client and a model server: what is tried again, and one line that says what to do."""

import random
import time
from collections.abc import Callable, Sequence
from typing import Optional, TypeVar

from ddl_tf.common.errors import InputError

T = TypeVar("T")

UNAVAILABLE, RESOURCE_EXHAUSTED = "UNAVAILABLE", "RESOURCE_EXHAUSTED"
DEADLINE_EXCEEDED, NOT_FOUND = "DEADLINE_EXCEEDED", "NOT_FOUND"
# Of an answer: embeddings of 100,000 images. Whoever answers more is no server of such a model.
MOST_BYTES = 256 << 20
# The server is starting, restarting or full: the same request can succeed a moment later.
_PASSING = (UNAVAILABLE, RESOURCE_EXHAUSTED)
_LONGEST_MESSAGE = 400
FIRST_DELAY, LONGEST_DELAY = 0.1, 5.0


class RequestError(Exception):
    """A failed request: gRPC's name for what happened, such as `NOT_FOUND`, for REST too, and the server's words."""

    def __init__(self, status: str, message: str) -> None:
        super().__init__(f"{status}: {message}")
        self.status, self.message, self.attempts = status, message, 1

    @property
    def is_too_large(self) -> bool:
        """Whether the message was refused for its size."""
        words = ("larger than max", "http 413", "exceeds maximum protobuf size")
        return any(part in self.message.lower() for part in words)

    @property
    def can_pass(self) -> bool:
        """Whether the same request may succeed a moment later."""
        return self.status in _PASSING and not self.is_too_large


class ServingError(RuntimeError):
    """A model server that did not answer, or not with what was asked for; the message is one line.

    `status` is gRPC's name for what happened, such as `NOT_FOUND`, for REST too; `BAD_ANSWER` if the server answered
    with something else than the signature promises.
    """

    def __init__(self, server: str, model: str, status: str, message: str, advice: str) -> None:
        words = " ".join(message.split())
        if len(words) > _LONGEST_MESSAGE:
            words = words[: _LONGEST_MESSAGE - 3] + "..."
        super().__init__(f"{server}, model {model}: {status}: {words.rstrip('.;')}; {advice}")
        self.server, self.model, self.status = server, model, status


def lacks_signature(error: RequestError) -> bool:
    """Return whether the server refused a request because the model has no such signature."""
    text = error.message.lower()
    return "signature" in text and "not found" in text


def advise(
    error: RequestError, model: str, signature: str, signatures: Optional[Sequence[str]], versions: Optional[str]
) -> str:
    """Say what to do about a failed request; `signatures` and `versions` are those that the server has, where known."""
    status, text = error.status, error.message.lower()
    if error.is_too_large:
        return (
            "use a smaller batch or smaller images, or raise the limit of the server or proxy (TensorFlow Serving: "
            "--grpc_channel_arguments=grpc.max_receive_message_length=BYTES; gRPC's default is 4 MB, 2 GB is the most)"
        )
    if lacks_signature(error):
        known = f"it has {', '.join(signatures)}" if signatures else "saved_model_cli shows those that it has"
        threshold = "; verify is only in models exported with a threshold" if signature == "verify" else ""
        return f"the model has no signature {signature!r}, {known}{threshold}: export it again with what is missing"
    if status == NOT_FOUND and versions:
        return f"the server has {versions}: ask for one that is AVAILABLE, or wait until it is"
    if status == NOT_FOUND:
        return (
            f"is {model!r} the name in the server's --model_name or models.config, does its folder hold a version "
            "(a number), and did it load? The server's log says so"
        )
    if status == UNAVAILABLE:
        return f"gave up after {error.attempts} attempts: is the server up, and is this its host, port and protocol?"
    if status == RESOURCE_EXHAUSTED:
        return f"gave up after {error.attempts} attempts: the server is full; send less at a time, or add servers"
    if "0th-dimension" in text or "at least one dimension" in text:
        return "a server with --enable_batching cannot run `search`: serve the model without batching for it"
    if "maximum input batch size" in text:
        return "use a batch of at most the server's max_batch_size (batching_parameters.txt)"
    if "does not match signature" in text or "named input" in text:
        return "this is a model of another kind, or of another version of ddl_tf: export it again"
    return {
        DEADLINE_EXCEEDED: "raise the timeout, or use a smaller batch",
        "INVALID_ARGUMENT": "the model refused the input: check images, shapes and types",
        **dict.fromkeys(("UNAUTHENTICATED", "PERMISSION_DENIED"), "a proxy before the server wants credentials"),
        "UNIMPLEMENTED": "this is no TensorFlow Serving, or its other port (8500 is gRPC, 8501 REST)",
    }.get(status, "see the server's log")


def missing_package(package: str) -> InputError:
    """Make the error of a client without the package that it speaks with."""
    return InputError(f"the client of model servers needs {package}, which is not installed: pip install {package}")


def with_retries(send: Callable[[float], T], timeout: float, retries: int) -> T:
    """Send a request again while the server is unavailable or full; `send` gets the seconds that are left.

    The waits are random, at most `FIRST_DELAY * 2 ** (n - 1)` seconds, so that clients of a server that restarts do not
    come back all at once (Brooker, "Exponential Backoff And Jitter", AWS, 2015). The last `RequestError` is raised.
    """
    deadline, attempt = time.monotonic() + timeout, 1
    while True:
        try:
            return send(deadline - time.monotonic())
        except RequestError as error:
            error.attempts = attempt
            delay = random.uniform(0.0, min(FIRST_DELAY * 2 ** (attempt - 1), LONGEST_DELAY))
            if attempt > retries or not error.can_pass or time.monotonic() + delay >= deadline:
                raise
        time.sleep(delay)
        attempt += 1
