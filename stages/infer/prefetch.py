"""Work in background threads, its results in order, never more than a few of them at a time."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Executor, Future
from itertools import islice
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def ahead(pool: Executor, function: Callable[[T], R], items: Iterable[T], depth: int) -> Iterator[R]:
    """Yield `function(item)` for each item in order, while `pool` works on up to `depth` items ahead.

    What the function raises is raised here, where its result would have been. The items are drawn in the
    caller's thread; whoever owns the pool waits for what is under way when it closes it, which is bounded.
    """
    pending: deque[Future[R]] = deque()
    for item in items:
        pending.append(pool.submit(function, item))
        # A result that is there already is handed on at once, so that a failure stops the work early.
        if len(pending) > depth or pending[0].done():
            yield pending.popleft().result()
    while pending:
        yield pending.popleft().result()


def batched(items: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of `size` items, the last one perhaps shorter."""
    iterator = iter(items)
    while batch := list(islice(iterator, size)):
        yield batch
