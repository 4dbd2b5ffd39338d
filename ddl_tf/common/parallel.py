"""Many items through one function, by several threads, in order."""

import contextlib
import itertools
import os
from collections import deque
from collections.abc import Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Callable, TypeVar

# A future for every image would cost as much as decoding it.
_CHUNK = 32

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(function: Callable[[_Item], _Result], items: Iterable[_Item]) -> Generator[_Result, None, None]:
    """Yield what `map` yields, with a thread for each core; the items are drawn a little ahead."""
    workers, source = usable_cores(), iter(items)
    pending: deque[Future[list[_Result]]] = deque()
    with contextlib.ExitStack() as stack:
        # When this one is closed early, the one that it draws from is too; only then, not whenever it is collected.
        if isinstance(source, Generator):
            stack.callback(source.close)
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        while chunk := list(itertools.islice(source, _CHUNK)):
            pending.append(pool.submit(lambda items: [function(item) for item in items], chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()
