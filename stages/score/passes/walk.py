"""One walk over a store: images are read ahead, counted by several workers, and summed.

A run calls it once for each pass. A statistic of a later pass may be made with what an earlier one has found: so the
sweep (sweep.py) looks closer where its first pass has left the order of scores open.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from queue import SimpleQueue
from typing import Generic, Protocol

from threadpoolctl import threadpool_limits

from logitpipe.cache.reading.store import readers
from logitpipe.stages.score.labels.ground_truth import Truth
from logitpipe.stages.score.picture import Picture, read_picture
from logitpipe.stages.score.statistics import Statistic, Sum
from logitpipe.stages.score.statistics.histograms import lost
from logitpipe.stages.streams import ahead, thread_pool

TOTALS_BYTES = 512 << 20
"""Memory for all totals of a walk together, in bytes; at least one total is made."""


class Walk(Protocol):
    """How a walk is done: by threads of this process, as `walk` does, or by a cluster (cluster/walk.py)."""

    def __call__(
        self,
        truth: Truth,
        images: Sequence[int],
        statistic: Statistic[Sum],
        workers: int,
        advance: Callable[[], None],
    ) -> Sum:
        """See `walk`."""


def walk(
    truth: Truth, images: Sequence[int], statistic: Statistic[Sum], workers: int, advance: Callable[[], None]
) -> Sum:
    """Add some images of a store to a statistic, and return the total.

    Workers add different images, each to a total of its own, as far as memory goes; beyond that several of them
    share an image and a total.

    Parameters
    ----------
    truth : the store and its labels under a protocol, which may skip images
    images : indices, all of them committed
    statistic : what is computed
    workers : threads that count; as many read ahead of them, of a store on a server more
    advance : called once for each image, in this thread

    Raises
    ------
    IntegrityError
        An image is damaged; nothing is computed around it.
    PipeError
        A mask holds a code that the protocol does not know, or the total is not of all images.
    """
    totals, reading = Totals(statistic, workers), readers(truth.store, workers)
    # One thread of linear algebra for each worker: sums keep their order, and cores their worker.
    with threadpool_limits(1, "blas"), thread_pool(reading) as reading_pool, thread_pool(totals.count) as counters:

        def add(picture: Picture | None) -> bool:
            """Return whether the image counts: a protocol may skip it."""
            if picture is None:
                return False
            with totals.one() as total:
                statistic.of_image(picture, total, totals.threads)
            return True

        added = []
        pictures = ahead(reading_pool, lambda image: read_picture(truth.store, truth, image), images, reading + 1)
        # One more than there are totals: the next image waits, decoded, for the first total that is free.
        for counts in ahead(counters, add, pictures, totals.count + 1):
            added.append(counts)
            advance()
    # Only here, behind the pools: no worker holds a total any more.
    total = totals.sum()
    # Without this check an image that was lost would look like a smaller data set.
    if len(added) != len(images) or total.images != sum(added):
        raise lost(truth.store, len(images))
    return total


class Totals(Generic[Sum]):
    """Pool of totals bounded by memory; with fewer totals than workers, workers share an image.

    Parameters
    ----------
    statistic : whose totals they are
    workers : threads that count

    Attributes
    ----------
    count : how many totals there are
    threads : how many workers share an image, at most
    """

    def __init__(self, statistic: Statistic[Sum], workers: int) -> None:
        self.count = max(1, min(workers, TOTALS_BYTES // max(1, statistic.expected_bytes)))
        # Rounded up: a thread too many is better than a core without work.
        self.threads = -(-workers // self.count)
        self._free: SimpleQueue[Sum] = SimpleQueue()
        for _ in range(self.count):
            self._free.put(statistic.zero())

    @contextmanager
    def one(self) -> Iterator[Sum]:
        """Lend a total, waiting until one is free."""
        total = self._free.get()
        try:
            yield total
        finally:  # also after a failure: who waits for a total must not wait for ever
            self._free.put(total)

    def sum(self) -> Sum:
        """Return the sum of all totals, once nobody counts any more."""
        total = self._free.get()
        # In whatever order they come back: totals add up to the same in any.
        for _ in range(self.count - 1):
            total.add(self._free.get())
        return total
