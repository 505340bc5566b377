"""Chunk arithmetic as pure functions: which rows a chunk holds, which chunk key an image's rows have."""

from collections.abc import Iterator
from itertools import product
from math import ceil

CHUNKS = "c"
"""Folder of an array's chunks, as Zarr's default key encoding names it."""

TARGET_CHUNK_BYTES = 4 << 20
"""Decoded size that a chunk should not exceed: large enough to compress, small enough to stay near the cache."""


def rows_per_chunk(rows: int, row_bytes: int, target: int = TARGET_CHUNK_BYTES) -> int:
    """Rows of one chunk: as few chunks as `target` allows, and these as even as whole rows allow.

    The rule is part of format version 1: what a store's chunks must be follows from its attributes.

    Parameters
    ----------
    rows : rows of the whole image
    row_bytes : decoded bytes of one row over all its channels
    target : decoded bytes that a chunk must not exceed, unless one row does
    """
    most = max(1, target // row_bytes)
    return ceil(rows / ceil(rows / most))


def image_chunks(
    image: int, shape: tuple[int, ...], chunks: tuple[int, ...]
) -> Iterator[tuple[str, tuple[slice, ...]]]:
    """Keys and extents of the chunks of one image.

    Parameters
    ----------
    image : index along the first dimension, where a chunk holds exactly one image
    shape, chunks : of the whole array, image dimension included

    Yields
    ------
    key : chunk key below the array, Zarr's default encoding (`c/IMAGE/...`)
    extent : where the chunk lies within the image; it may reach past the last row, as Zarr's edge chunks do
    """
    grid = [ceil(size / chunk) for size, chunk in zip(shape[1:], chunks[1:], strict=True)]
    for position in product(*map(range, grid)):
        extent = tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, chunks[1:], strict=True))
        yield "/".join([CHUNKS, str(image), *map(str, position)]), extent
