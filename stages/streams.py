"""Streams: background threads work on a bounded number of items, and results come in order."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from contextlib import contextmanager
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


@contextmanager
def thread_pool(count: int) -> Iterator[Executor]:
    """Thread pool that drops all waiting work once a part of it fails.

    After a failure nothing more of it is begun. After an interruption what is under way is not waited for either: a
    kernel cannot be stopped, and may take long.
    """
    pool = ThreadPoolExecutor(count)
    try:
        yield pool
    except BaseException as error:
        # KeyboardInterrupt is no Exception: after Ctrl-C nothing is waited for.
        pool.shutdown(wait=isinstance(error, Exception), cancel_futures=True)
        raise
    pool.shutdown()


def ahead(pool: Executor, work: Callable[[Item], Result], items: Iterable[Item], depth: int) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, while `pool` works on up to `depth` items ahead.

    What the work raises is raised here, where its result would have been; what the source of the items raises,
    after the results of all items before. The items are drawn in the caller's thread. What was begun ahead belongs to
    the pool: `thread_pool` drops it after a failure, and a ThreadPoolExecutor finishes it when it is closed, so that
    images that a network has already computed are still committed.
    """
    pending: deque[Future[Result]] = deque()
    failures: list[Exception] = []
    # A failure of the source is kept until the results of all items before it have been handed on.
    for item in _until_failure(items, failures):
        pending.append(pool.submit(work, item))
        # A result that is there already is handed on at once, so that a failure stops the work early.
        if len(pending) > depth or pending[0].done():
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()
    for failure in failures:
        raise failure


def in_order(work: Callable[[Item], Result], items: Iterable[Item], threads: int) -> Iterator[Result]:
    """Yield `work(item)` for each item in order, computed by `threads` threads; one is the caller's own."""
    if threads == 1:
        yield from map(work, items)
        return
    with thread_pool(threads) as pool:
        yield from ahead(pool, work, items, threads)


def _until_failure(items: Iterable[Item], failures: list[Exception]) -> Iterator[Item]:
    """Yield the items until their source raises; append the exception to `failures`."""
    try:
        yield from items
    except Exception as failure:
        failures.append(failure)


def in_parallel(work: Callable[[Item], Result], items: Iterable[Item], workers: int) -> list[Result]:
    """Return `work(item)` for each item in order, computed by `workers` threads."""
    with thread_pool(workers) as pool:
        return list(pool.map(work, items))


def behind(items: Iterable[Item], count: int) -> Iterator[Item]:
    """Delay line: yield an item after `count` later ones were drawn.

    What the source of the items raises is raised after all items before, so that none of them is lost.
    """
    waiting: deque[Item] = deque()
    failures: list[Exception] = []
    for item in _until_failure(items, failures):
        waiting.append(item)
        if len(waiting) > count:
            yield waiting.popleft()
    yield from waiting
    for failure in failures:
        raise failure


def batched(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    """Yield lists of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
