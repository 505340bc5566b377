"""Work in background threads: in order, bounded, and early to fail."""

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logitpipe.stages.streams import ahead, batched, behind, in_order, in_parallel


@given(st.lists(st.integers()), st.integers(1, 4), st.integers(0, 5))
def test_work_ahead_keeps_the_order_and_the_bound(items, threads, depth):
    begun = []
    with ThreadPoolExecutor(threads) as pool:
        for position, result in enumerate(ahead(pool, lambda item: begun.append(item) or -item, items, depth)):
            assert result == -items[position]
            assert len(begun) <= position + 1 + depth
    assert len(begun) == len(items)


def test_work_ahead_fails_before_the_source_runs_dry():
    drawn = []

    def source() -> Iterator[int]:
        for item in range(100):
            time.sleep(0.01)
            drawn.append(item)
            yield item

    with ThreadPoolExecutor(1) as pool, pytest.raises(ZeroDivisionError):
        list(ahead(pool, lambda item: 1 / (item - 1), source(), depth=50))
    assert len(drawn) < 10


@pytest.mark.parametrize("threads", [1, 3])
def test_work_in_order_is_done_by_so_many_threads_and_one_is_the_callers(threads):
    workers = set()
    squares = in_order(lambda item: workers.add(threading.current_thread()) or item**2, range(50), threads)
    assert list(squares) == [item**2 for item in range(50)]
    assert (workers == {threading.current_thread()}) == (threads == 1)


@given(st.lists(st.integers()), st.integers(0, 3))
def test_what_is_behind_keeps_the_order_and_the_distance(items, count):
    drawn = []
    for position, item in enumerate(behind((drawn.append(item) or item for item in items), count)):
        assert item == items[position]
        assert len(drawn) == min(position + 1 + count, len(items))
    assert len(drawn) == len(items)


@given(st.lists(st.integers()), st.integers(1, 5))
def test_batches_are_the_items_cut(items, size):
    batches = list(batched(items, size))
    assert [item for batch in batches for item in batch] == items
    assert all(len(batch) == size for batch in batches[:-1])


@pytest.mark.parametrize("depth", [0, 2, 9])
def test_work_on_what_came_before_a_failing_source_is_handed_on_first(depth):
    def source() -> Iterator[int]:
        yield from range(5)
        raise ZeroDivisionError

    results = []
    with ThreadPoolExecutor(2) as pool, pytest.raises(ZeroDivisionError):
        for result in ahead(pool, lambda item: -item, source(), depth):
            results.append(result)  # noqa: PERF402 - a list would lose what came before the failure
    assert results == [0, -1, -2, -3, -4]


@pytest.mark.parametrize("count", [0, 1, 3])
def test_what_waits_behind_a_failing_source_is_handed_on_first(count):
    def source() -> Iterator[int]:
        yield from range(5)
        raise ZeroDivisionError

    results = []
    with pytest.raises(ZeroDivisionError):
        for item in behind(source(), count):
            results.append(item)  # noqa: PERF402 - a list would lose what came before the failure
    assert results == [0, 1, 2, 3, 4]


@given(st.lists(st.integers()), st.integers(1, 4))
def test_work_in_parallel_keeps_the_order(items, workers):
    assert in_parallel(lambda item: -item, items, workers) == [-item for item in items]


def test_work_in_parallel_fails_as_a_whole():
    with pytest.raises(ZeroDivisionError):
        in_parallel(lambda item: 1 / item, [1, 0, 1], 2)
