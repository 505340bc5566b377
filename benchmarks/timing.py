"""Times of several ways to do one thing, taken in turn so that a noisy machine is unfair to all of them alike."""

import os
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

Seconds = dict[str, list[float]]
"""The times of each candidate, one for each round."""


def take_turns(candidates: Mapping[str, Callable[[], object]], rounds: int) -> Seconds:
    """Run each candidate once unmeasured, then all of them in turn, round by round.

    Parameters
    ----------
    candidates : what to run, by name
    rounds : how often each is measured
    """
    for run in candidates.values():
        run()
    seconds: Seconds = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            started = time.perf_counter()
            run()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median(seconds: Seconds, name: str) -> float:
    """Return the median time of a candidate."""
    return statistics.median(seconds[name])


def ratio(seconds: Seconds, name: str, other: str) -> float:
    """Return the median over the rounds of one candidate's time over another's in the same round."""
    return statistics.median(a / b for a, b in zip(seconds[name], seconds[other], strict=True))


@contextmanager
def one_core() -> Iterator[None]:
    """Keep this thread, and the threads that it starts, on one core; torch is held to one thread."""
    import torch

    cores, threads = os.sched_getaffinity(0), torch.get_num_threads()
    os.sched_setaffinity(0, {max(cores)})
    torch.set_num_threads(1)
    try:
        yield
    finally:
        os.sched_setaffinity(0, cores)
        torch.set_num_threads(threads)
