"""Files in Python: what `pipe export` and `pipe pack` write."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path

from logitpipe.api.arguments.methods import OneMethod
from logitpipe.api.arguments.progress import followed
from logitpipe.api.arguments.stores import OneStore, as_place_of
from logitpipe.api.maps import planned
from logitpipe.api.stores import Image, LogitStore, open  # noqa: A004 (lp.open)
from logitpipe.cache.errors import UsageError


def export(
    store: OneStore,
    out: str | PathLike[str],
    method: OneMethod = "msp",
    temperature: float = 1.0,
    *,
    form: str = "npy",
    map_temperature: float = 1.0,
    mask_temperature: float = 1.0,
    statistics: str | PathLike[str] | None = None,
    name: str | None = None,
    images: Sequence[Image] | None = None,
    overwrite: bool = False,
    progress: bool | None = None,
) -> Path:
    """Write the scores of each image as a benchmark's tool reads them; return a JSON file that says how.

    Scores have the size of the mask. Where a format cannot hold them as they are, one increasing map brings those of
    all images into its range; the JSON file has that map.

    Parameters
    ----------
    store : opened, or its path or URL
    out : folder for the files
    method, temperature, map_temperature, mask_temperature, statistics : as for `LogitStore.score_map`
    form : whose files: `smiyc`, `fishyscapes`, `bravo`, `npy` or `png16` (docs/metrics.md)
    name : what smiyc calls the method; None: network, method and temperature
    images : names or indices; None: all
    overwrite : replace files that are there
    progress : see `lp.score`

    Raises
    ------
    PipeError
        There is no such method or image, an image is missing or damaged, or the files cannot be written.

    Examples
    --------
    >>> lp.export("enet.zarr", "npy", "entropy", temperature=0.5)
    """
    from logitpipe.api.arguments.protocol import as_protocol
    from logitpipe.exports.formats import EXPORTS
    from logitpipe.exports.run import export_scores

    if form not in EXPORTS:
        raise UsageError(f"{form!r} is none of {', '.join(EXPORTS)}", option="form")
    opened = store if isinstance(store, LogitStore) else open(store)
    plan = planned(
        opened._store,
        method,
        temperature,
        as_protocol("standard"),
        map_temperature=map_temperature,
        mask_temperature=mask_temperature,
        statistics=statistics,
    )
    if len(plan.pairs) != 1:
        raise UsageError(f"one method is expected, found {len(plan.pairs)}", option="method")
    chosen = range(len(opened.images)) if images is None else [opened._index(image) for image in images]
    with followed(progress):
        return export_scores(opened._store, plan, form, list(chosen), name, Path(out), overwrite)


def pack(
    store: OneStore,
    out: str | PathLike[str] | None = None,
    allow_incomplete: bool = False,
    progress: bool | None = None,
) -> Path:
    """Make one zip of a store, to carry, and return where it lies; whatever reads stores reads it as it is.

    Parameters
    ----------
    store : opened, or its path or URL; each of its images is verified on the way
    out : None: beside the store, with .zip behind its name
    allow_incomplete : whether to pack what there is of a store that lacks images
    progress : see `lp.score`

    Raises
    ------
    PipeError
        The store is missing, incomplete or damaged, something lies at `out`, or the zip cannot be written.

    Examples
    --------
    >>> lp.pack("enet.zarr")
    PosixPath('enet.zarr.zip')
    """
    from logitpipe.stores.packing import pack_store

    with followed(progress):
        written, _ = pack_store(as_place_of(store), None if out is None else Path(out), allow_incomplete)
    return written
