"""Many items through one function by several threads, in order; and pools of processes that end with this one."""

import contextlib
import itertools
import multiprocessing
import os
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor, ThreadPoolExecutor
from typing import Any, Callable, Optional, TypeVar

# A future for every image would cost as much as decoding it.
_CHUNK = 32

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")


def usable_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def map_in_order(
    function: Callable[[_Item], _Result], items: Iterable[_Item], chunk_items: Optional[int] = None
) -> Generator[_Result, None, None]:
    """Yield what `map` yields, with a thread for each core; a few times `chunk_items` for each are drawn ahead."""
    workers, source = usable_cores(), iter(items)
    pending: deque[Future[list[_Result]]] = deque()
    with contextlib.ExitStack() as stack:
        # When this one is closed early, the one that it draws from is too; only then, not whenever it is collected.
        if isinstance(source, Generator):
            stack.callback(source.close)
        pool = stack.enter_context(ThreadPoolExecutor(workers))
        while chunk := list(itertools.islice(source, chunk_items or _CHUNK)):
            pending.append(pool.submit(lambda items: [function(item) for item in items], chunk))
            if len(pending) > 2 * workers:
                yield from pending.popleft().result()
        while pending:
            yield from pending.popleft().result()


@contextlib.contextmanager
def spawned_processes(count: int, begin: Callable[..., object], *arguments: Any) -> Iterator[ProcessPoolExecutor]:
    """Open a pool of new processes (TensorFlow's threads do not outlive a fork), which end when this process does.

    When this process is stopped by a signal, so are they; what no process has begun is not done any more.

    Args:
        count: of the processes.
        begin: called in each before it works.
        *arguments: of `begin`.
    """
    pool = ProcessPoolExecutor(count, multiprocessing.get_context("spawn"), _begin, (begin, arguments))
    try:
        yield pool
    except KeyboardInterrupt:
        # Ctrl-C reaches them, too, but SIGTERM only the process that it is sent to.
        for process in multiprocessing.active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(cancel_futures=True)


def share_cores(processes: int) -> None:
    """Let a step of TensorFlow take the share of the cores of one of several processes that train side by side."""
    import tensorflow as tf

    tf.config.threading.set_intra_op_parallelism_threads(max(usable_cores() // processes, 1))


def _begin(begin: Callable[..., object], arguments: tuple[Any, ...]) -> None:
    threading.Thread(target=_end_with_parent, daemon=True).start()
    begin(*arguments)


def _end_with_parent() -> None:
    """A pool's process would wait for its next task for ever if the one that started it was killed."""
    parent = multiprocessing.parent_process()
    if parent:
        parent.join()
        os._exit(1)
