"""Chunk arithmetic against brute force."""

from math import ceil

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.chunks import image_chunks, rows_per_chunk

SIZES = st.integers(1, 12)


@given(rows=st.integers(1, 300), row_bytes=st.integers(1, 5000), target=st.integers(1, 100_000))
def test_an_image_is_cut_into_as_few_pieces_as_the_target_allows(rows, row_bytes, target):
    fits = [pieces for pieces in range(1, rows + 1) if ceil(rows / pieces) * row_bytes <= target]
    fewest = fits[0] if fits else rows  # a row that is too large by itself is a piece of its own
    assert rows_per_chunk(rows, row_bytes, target) == ceil(rows / fewest)


@given(rows=st.integers(1, 300), row_bytes=st.integers(1, 5000), target=st.integers(1, 100_000))
def test_pieces_are_as_even_as_whole_rows_allow(rows, row_bytes, target):
    size = rows_per_chunk(rows, row_bytes, target)
    assert size == 1 or ceil(rows / (size - 1)) > ceil(rows / size)


def test_logits_of_cityscapes_networks_come_in_six_pieces_and_later_in_one():
    assert [rows_per_chunk(512, 20 * 1024 * 2, each.CHUNK_BYTES) for each in (version1, version2)] == [86, 512]


@given(
    image=st.integers(0, 1000), separator=st.sampled_from("/."), sides=st.lists(st.tuples(SIZES, SIZES), max_size=3)
)
def test_chunks_cover_an_image_once_under_the_keys_that_zarr_gives_them(image, separator, sides):
    shape, chunks = tuple(size for size, _ in sides), tuple(chunk for _, chunk in sides)
    owner = np.full(shape, "", object)
    found = list(image_chunks(image, (2000, *shape), (1, *chunks), separator))
    for key, extent in found:
        owner[extent] += key
        assert tuple(e.stop - e.start for e in extent) == chunks
    for index in np.ndindex(*shape):
        cell = (i // c for i, c in zip(index, chunks, strict=True))
        assert owner[index] == separator.join(["c", str(image), *map(str, cell)])
    assert len(found) == len(set(owner.flat))
