"""Waiting for a server that starts or loads."""

import sys
import time
from collections.abc import Callable

from ddl_tf.client.client import Client
from ddl_tf.client.errors import NOT_FOUND, UNAVAILABLE, ServingError
from ddl_tf.client.served_model import AVAILABLE

# A server loads a model in seconds to minutes.
_SECONDS_BETWEEN = 1.0


def wait_until_available(
    client: Client,
    seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
) -> int:
    """Wait until a server has loaded the client's model, and return the version that answers.

    What it waits for is printed on stderr when that changes.

    Raises:
        ServingError: if the model could not be loaded, or is not there after `seconds`.
    """
    began, told = clock(), ""
    while True:
        try:
            versions = client.status()
            if any(one.state == AVAILABLE for one in versions):
                return client.metadata().version
            state = ", ".join(f"version {one.version} is {one.state}" for one in versions)
            failed = [one for one in versions if one.error and one.state == "END"]
            error = ServingError(
                client.url,
                client.model,
                "FAILED_PRECONDITION" if failed else UNAVAILABLE,
                failed[0].error if failed else f"not loaded after {seconds:g} s: {state or 'it knows no version'}",
                "see the server's log",
            )
        except ServingError as refused:
            if refused.status not in (UNAVAILABLE, NOT_FOUND):
                raise
            error, failed, state = refused, [], refused.status
        elapsed = clock() - began
        if failed or elapsed + _SECONDS_BETWEEN > seconds:
            raise error
        if state != told:
            print(f"{client.url}, model {client.model}: {state}; waiting, {elapsed:.0f} s so far", file=sys.stderr)
            told = state
        sleep(_SECONDS_BETWEEN)
