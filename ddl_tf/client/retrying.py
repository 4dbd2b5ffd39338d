"""One request until it succeeds, within a deadline."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from ddl_tf.client.errors import RequestError

T = TypeVar("T")

FIRST_DELAY = 0.1
LONGEST_DELAY = 5.0


def with_retries(
    send: Callable[[float], T],
    timeout: float,
    retries: int,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], None] = time.sleep,
    uniform: Callable[[float, float], float] = random.uniform,
) -> T:
    """Send a request again while the server is unavailable or full.

    The wait before retry n is drawn between 0 and `FIRST_DELAY * 2 ** (n - 1)` seconds, at most `LONGEST_DELAY`, so
    that many clients of a server that restarts do not come back all at once. The last `RequestError` is raised, with
    the number of attempts: at once if it does not pass, or if the wait would end after the deadline.

    Args:
        send: sends it once, within the seconds that it gets.
        timeout: seconds for everything.
        retries: of `send`, at most.
        clock: monotonic, in seconds.
        sleep: waits seconds.
        uniform: draws between two numbers.

    Example:
        >>> with_retries(lambda seconds: 5, timeout=1.0, retries=2)
        5

    References:
        Brooker, "Exponential Backoff And Jitter", AWS Architecture Blog, 2015
    """
    deadline = clock() + timeout
    attempt = 1
    while True:
        try:
            return send(deadline - clock())
        except RequestError as error:
            error.attempts = attempt
            if attempt > retries or not error.can_pass:
                raise
            delay = uniform(0.0, min(FIRST_DELAY * 2 ** (attempt - 1), LONGEST_DELAY))
            if clock() + delay >= deadline:
                raise
        sleep(delay)
        attempt += 1
