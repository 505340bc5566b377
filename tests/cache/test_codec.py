"""One chunk to bytes and back: exact for every dtype, and no damage goes unseen."""

import struct
import tracemalloc

import google_crc32c
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from logitpipe.cache import IntegrityError
from logitpipe.cache.format.codec import decode, encode

DTYPES = ("<f2", "<f4", "|u1", "<i4", ">f2", ">f4", ">i4")
CHUNK = np.arange(60, dtype=np.float16).reshape(3, 4, 5)


def sealed(packed: bytes) -> bytes:
    """Close a compressed buffer with the checksum that it should have: damage that no checksum finds."""
    return packed + struct.pack("<I", google_crc32c.value(packed))


def refusal(data: bytes, chunk: np.ndarray = CHUNK) -> str:
    with pytest.raises(IntegrityError) as caught:
        decode(data, chunk.shape, chunk.dtype)
    return str(caught.value)


@given(st.sampled_from(DTYPES).flatmap(lambda dtype: arrays(dtype, array_shapes(max_dims=4, max_side=9))))
def test_what_is_decoded_is_what_was_encoded_bit_for_bit(values):
    little = values.astype(values.dtype.newbyteorder("<"))
    decoded = decode(encode(values).to_bytes(), values.shape, values.dtype)
    assert (decoded.dtype, decoded.shape) == (little.dtype, values.shape)
    assert decoded.tobytes() == little.tobytes()


@given(arrays(np.float32, array_shapes(min_dims=2, max_dims=3, max_side=9)))
def test_neither_byte_order_nor_memory_layout_changes_the_bytes(values):
    assert encode(values.astype(">f4")) == encode(np.asfortranarray(values)) == encode(values)


def test_every_flipped_bit_is_found():
    data = encode(CHUNK).to_bytes()
    for bit in range(8 * len(data)):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        assert "is stored, but the bytes give" in refusal(bytes(flipped))


def test_every_truncation_is_found():
    data = encode(CHUNK).to_bytes()
    for length in range(len(data)):
        refusal(data[:length])
    assert refusal(b"") == "0 bytes are too few for a chunk"


def test_a_bomb_is_refused_before_room_is_made_for_it():
    packed = encode(CHUNK).to_bytes()[:-4]
    bomb = sealed(packed[:4] + struct.pack("<I", 2**31 - 17) + packed[8:])
    tracemalloc.start()
    message = refusal(bomb)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert message == "a chunk of 120 bytes was expected, but its header promises 2147483631"
    assert peak < 1 << 20


@pytest.mark.parametrize("shape", [(3, 4, 4), (3, 4, 6)])
def test_a_chunk_of_another_size_is_refused(shape):
    expected = np.empty(shape, np.float16)
    assert refusal(encode(CHUNK).to_bytes(), expected) == (
        f"a chunk of {expected.nbytes} bytes was expected, but its header promises 120"
    )


@pytest.mark.parametrize("off", [-1, 1, 1000])
def test_a_header_that_points_past_its_bytes_is_refused(off):
    packed = encode(CHUNK).to_bytes()[:-4]
    lie = sealed(packed[:12] + struct.pack("<I", len(packed) + off) + packed[16:])
    assert refusal(lie) == (
        f"{len(packed)} compressed bytes were found, but their header promises {len(packed) + off}"
    )


@given(st.binary(max_size=200))
def test_bytes_that_only_claim_to_be_compressed_decode_to_the_size_asked_for_or_not_at_all(body):
    header = struct.pack("<4B3I", 2, 1, 0x24, 2, CHUNK.nbytes, CHUNK.nbytes, 16 + len(body))
    try:
        assert decode(sealed(header + body), CHUNK.shape, CHUNK.dtype).shape == CHUNK.shape
    except IntegrityError as error:
        assert str(error).startswith("the bytes are no blosc buffer")
