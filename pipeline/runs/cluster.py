"""The walks of a run: done by threads here, or by a Dask cluster."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING

from logitpipe.cache.errors import PipeError
from logitpipe.console.messages import caution, note, word_if_slow

if TYPE_CHECKING:
    from logitpipe.stages.score.passes.walk import Walk


@contextmanager
def walk_by(dask: str | None) -> "Iterator[Walk]":
    """Give the walk that threads here do or, where one is named, a cluster; say which workers that has.

    Parameters
    ----------
    dask : as `where` of `cluster_walk`; None for threads here

    Raises
    ------
    PipeError
        The extra `[dask]` is not installed, or as for `cluster_walk`.
    """
    if dask is None:
        from logitpipe.stages.score.passes.walk import walk

        yield walk
        return
    try:
        from logitpipe.stages.score.cluster.connection import cluster_walk
    except ModuleNotFoundError as error:
        raise PipeError(
            f"a cluster is used through {error.name}, which is not installed", "install", extra="'.[dask]'"
        ) from error
    with ExitStack() as stack:
        with word_if_slow("waiting for the workers of the cluster"):
            found = stack.enter_context(cluster_walk(dask))
        names = ", ".join(sorted({name.split()[0] for name in found.crew.values()}))
        note(f"{dask}: {len(found.crew)} workers with {found.threads} threads, on {names}")
        yield found
        if len(found.processors) > 1:
            # By model alone: behind it stand a hundred features. Two kinds may be of one model.
            kinds = "; ".join(f"{images} images: {name.split()[0]}" for name, images in found.processors.items())
            caution(
                f"the processors of the cluster are of different kinds ({kinds}): the last digits may differ from "
                "one run to the next"
            )
