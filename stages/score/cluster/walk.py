"""A walk whose images are scored by the workers of a Dask cluster, and whose totals are added up in a tree.

Totals are sums of integers, or are put in order before they are used: which worker scores which image, and who adds
up what, changes no bit. What a worker had done that dies is done again by others; that is Dask's part.
"""

from collections.abc import Callable, Generator, Sequence
from concurrent.futures import CancelledError
from contextlib import closing
from typing import Any
from uuid import uuid4

from distributed import Client, Future, KilledWorker, as_completed
from distributed.comm import CommClosedError

from logitpipe.cache import PipeError
from logitpipe.stages.score.cluster.crew import by_processor, processors
from logitpipe.stages.score.cluster.parcels import pack_walk, unpack_arrays
from logitpipe.stages.score.cluster.tasks import Part, Seen, itself, merge, score_block
from logitpipe.stages.score.labels.ground_truth import Truth
from logitpipe.stages.score.statistics import Statistic, Sum
from logitpipe.stages.score.statistics.histograms import lost
from logitpipe.stages.streams import batched

MOST_IMAGES = 50
"""Of one block. More would be fewer tasks and bytes for each image, and more work that dies with a worker."""

FAN = 8
"""Parts that one task adds up."""

GROUPS_AT_A_TIME = 2
"""Groups of blocks that the scheduler knows of: so its memory does not grow with the data set."""

RETRIES = 2
"""Of a task that fails, for servers and disks that fail now and then."""


class ClusterWalk:
    """Walks by the workers of a cluster (see `passes.walk.Walk`), for one run.

    Parameters
    ----------
    client : connected to the scheduler

    Attributes
    ----------
    processors : images that each kind of processor has scored in the last walk

    Raises
    ------
    PipeError
        A worker may not score.
    """

    def __init__(self, client: Client) -> None:
        self.client, self.name = client, uuid4().hex
        self.crew = processors(client)
        # Fixed for the run: a later walk must find the blocks of the first.
        self.threads = max(1, sum(client.nthreads().values()))
        self.processors: dict[str, int] = {}
        self._seen: dict[tuple[str, tuple[int, ...]], Seen] = {}

    def __call__(
        self,
        truth: Truth,
        images: Sequence[int],
        statistic: Statistic[Sum],
        workers: int,  # noqa: ARG002 - those of the cluster do the work
        advance: Callable[[], None],
    ) -> Sum:
        """Add some images of a store to a statistic, and return the total; see `passes.walk.walk`.

        Raises
        ------
        IntegrityError
            An image is damaged; nothing is computed around it.
        PipeError
            A mask holds a code that the protocol does not know, a worker may not score, cannot see the store or fails
            again and again, images were replaced meanwhile, or the scheduler is gone.
        """
        # Anew in each walk: workers come and go.
        self.crew, self.processors = processors(self.client), {}
        total, read, counted = statistic.zero(), 0, 0
        with closing(self._parts(truth, images, statistic, advance)) as parts:
            for part in parts:
                total.add(statistic.from_arrays(unpack_arrays(part.arrays)))
                counted += part.counted
                for seen in part.seen:
                    read += len(seen.images)
                    self._note(truth, seen)
        # Without this check an image that was lost would look like a smaller data set.
        if read != len(images) or total.images != counted:
            raise lost(truth.store, len(images))
        return total

    def _parts(
        self, truth: Truth, images: Sequence[int], statistic: Statistic[Any], advance: Callable[[], None]
    ) -> Generator[Part, None, None]:
        """Yield the total of each group of blocks."""
        parcel = self.client.submit(itself, pack_walk(truth, statistic, self.name), pure=False)
        blocks = map(tuple, batched(images, block_size(len(images), self.threads)))
        groups = batched(blocks, group_size(self.threads))
        sizes, tops = dict[object, int](), set[object]()
        running = as_completed(loop=self.client.loop)

        def begin() -> None:
            """Give the scheduler one more group of blocks, if there is one."""
            if group := next(groups, None):
                leaves, top = self._submit(parcel, truth, group)
                sizes.update((leaf.key, len(block)) for leaf, block in zip(leaves, group, strict=True))
                tops.add(top.key)
                running.update({*leaves, top})

        try:
            for _ in range(GROUPS_AT_A_TIME):
                begin()
            # No list of futures is kept: a block's total may leave its worker once it has been added to others.
            for future in running:
                for _ in range(sizes.pop(future.key, 0) if future.status == "finished" else 0):
                    advance()
                if future.status != "finished" or future.key in tops:
                    yield _result(future)
                    begin()
        except (OSError, CommClosedError, CancelledError) as error:
            raise PipeError(
                f"the Dask scheduler is gone ({error or type(error).__name__})", "wait-and-repeat"
            ) from error
        finally:
            # After a failure nothing more of it is begun: what no client holds a future of, the scheduler drops.
            running.clear()

    def _submit(self, parcel: Future, truth: Truth, blocks: Sequence[tuple[int, ...]]) -> tuple[list[Future], Future]:
        """Return the tasks of blocks, and the one task that adds them all up."""
        leaves = [
            self.client.submit(score_block, parcel, block, pure=False, retries=RETRIES, **self._where(truth, block))
            for block in blocks
        ]
        level = leaves
        while len(level) > 1:
            level = [
                self.client.submit(merge, parcel, few, pure=False, retries=RETRIES) if len(few) > 1 else few[0]
                for few in batched(level, FAN)
            ]
        return leaves, level[0]

    def _where(self, truth: Truth, block: tuple[int, ...]) -> dict[str, Any]:
        """Return where a block is to be scored: on the kind of processor that did so in an earlier walk.

        Another kind may move a score into the next bin; then what a later walk looks for would not be there.
        """
        kinds, earlier = by_processor(self.crew), self._seen.get((str(truth.store.path), block))
        if earlier is None or len(kinds) < 2 or earlier.processor not in kinds:
            return {}
        return {"workers": kinds[earlier.processor], "allow_other_workers": True}

    def _note(self, truth: Truth, seen: Seen) -> None:
        self.processors[seen.processor] = self.processors.get(seen.processor, 0) + len(seen.images)
        earlier = self._seen.setdefault((str(truth.store.path), seen.images), seen)
        if earlier.digest != seen.digest:
            raise PipeError(f"{truth.store.path}: images were replaced while they were scored", "wait-and-repeat")


def block_size(images: int, threads: int) -> int:
    """Return how many images make a block: so many that each thread of the cluster gets several blocks."""
    return max(1, min(MOST_IMAGES, images // (4 * threads)))


def group_size(threads: int) -> int:
    """Return how many blocks are added up before a total comes to the client: a power of FAN, two for each thread.

    So the more workers there are, the fewer totals come to the client.
    """
    size = FAN * FAN
    while size < 2 * threads:
        size *= FAN
    return size


def _result(future: Future) -> Part:
    """Return the result of a task that is done.

    Raises
    ------
    PipeError
        The task has failed, whatever it raised; its own if it is one.
    """
    if future.status == "finished":
        part: Part = future.result()
        return part
    error = future.exception() if future.status == "error" else CancelledError("the task was cancelled")
    if isinstance(error, PipeError | CancelledError):
        raise error
    if isinstance(error, KilledWorker):
        raise PipeError(
            f"workers died, one after the other, of the same images; the last was {error.last_worker.address}",
            "cluster-memory",
        ) from error
    raise PipeError(f"a worker failed ({type(error).__name__}: {error})") from error
