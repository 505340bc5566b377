"""Chunk arithmetic as pure functions: which rows a chunk holds, which chunk key an image's rows have."""

from collections.abc import Iterator
from itertools import product
from math import ceil

CHUNKS = "c"
"""Folder of an array's chunks, as Zarr's default key encoding names it."""


def rows_per_chunk(rows: int, row_bytes: int, target: int) -> int:
    """Rows of one chunk: as few chunks as `target` allows, and these as even as whole rows allow.

    The rule is part of format version 1, where what a store's chunks must be follows from its attributes.

    Parameters
    ----------
    rows : rows of the whole image
    row_bytes : decoded bytes of one row over all its channels
    target : decoded bytes that a chunk must not exceed, unless one row does
    """
    # A row wider than the target still makes a chunk: rows are never cut.
    most = max(1, target // row_bytes)
    # First the number of chunks, then rows shared evenly among them: 101 rows with at most 100 in a chunk give 51
    # and 50, and not 100 and 1 that is padded to 100.
    return ceil(rows / ceil(rows / most))


def image_chunks(
    image: int, shape: tuple[int, ...], chunks: tuple[int, ...], separator: str
) -> Iterator[tuple[str, tuple[slice, ...]]]:
    """Keys and extents of the chunks of one image.

    Parameters
    ----------
    image : index along the first dimension, where a chunk holds exactly one image
    shape, chunks : of the whole array, image dimension included; a smaller shape gives the chunks of its corner
    separator : between the parts of a key

    Yields
    ------
    key : chunk key below the array, Zarr's default encoding (`c/IMAGE/...` or `c.IMAGE....`)
    extent : where the chunk lies within the image; it may reach past the last row, as Zarr's edge chunks do
    """
    grid = [ceil(size / chunk) for size, chunk in zip(shape[1:], chunks[1:], strict=True)]
    for position in product(*map(range, grid)):
        # Not cut at the edge: slices of arrays do that by themselves, and who pads needs the whole.
        extent = tuple(slice(p * c, (p + 1) * c) for p, c in zip(position, chunks[1:], strict=True))
        yield separator.join([CHUNKS, str(image), *map(str, position)]), extent
