"""What the workers of a cluster are asked to do: score a block of images, add up what blocks have come to."""

from collections.abc import Sequence
from functools import cache
from typing import NamedTuple

from threadpoolctl import threadpool_limits

from logitpipe.stages.score.cluster.parcels import Parcel, pack_arrays, records_digest, unpack_arrays, unpack_walk
from logitpipe.stages.score.kernels.compiled import processor
from logitpipe.stages.score.passes.walk import walk


class Seen(NamedTuple):
    """What a block of images looked like to who read it.

    Parameters
    ----------
    images : their indices
    processor : that computed
    digest : of `records_digest`
    """

    images: tuple[int, ...]
    processor: str
    digest: str


class Part(NamedTuple):
    """The total of some blocks, as it travels.

    Parameters
    ----------
    arrays : of `pack_arrays`
    counted : images in it, without those that the protocol skips
    seen : one for each block
    """

    arrays: bytes
    counted: int
    seen: tuple[Seen, ...]


def itself(parcel: Parcel) -> Parcel:
    """Return a parcel: as the result of a task it is sent to each worker once, and survives any worker."""
    return parcel


def score_block(parcel: Parcel, images: tuple[int, ...]) -> Part:
    """Walk over some images by one thread; raises as `walk` and `unpack_walk`."""
    _one_blas_thread()
    truth, statistic = unpack_walk(parcel)
    total = walk(truth, images, statistic, 1, lambda: None)
    seen = Seen(images, processor(), records_digest(truth.store, images))
    return Part(pack_arrays(total.to_arrays()), total.images, (seen,))


def merge(parcel: Parcel, parts: Sequence[Part]) -> Part:
    """Add up parts."""
    _, statistic = unpack_walk(parcel)
    first, *others = parts
    total = statistic.from_arrays(unpack_arrays(first.arrays))
    for other in others:
        total.add(statistic.from_arrays(unpack_arrays(other.arrays)))
    seen = tuple(seen for part in parts for seen in part.seen)
    return Part(pack_arrays(total.to_arrays()), sum(part.counted for part in parts), seen)


@cache
def _one_blas_thread() -> None:
    """Let linear algebra use one thread in this process, for good.

    Each walk asks for that and puts back what it found; of two walks at a time the first to end would put back many
    threads under the other, which would add in another order.
    """
    threadpool_limits(1, "blas")
