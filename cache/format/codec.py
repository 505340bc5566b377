"""One chunk to bytes and back: the fixed codec chain of all format versions (bytes, blosc, crc32c).

The chain is the one that zarr-python, tensorstore and zarrs run from the array metadata. It is spelt out
here because a reader that scores must know three things that a general pipeline does not tell: that the
chunk exists, that it is the chunk that was committed, and that its header promises no more than a chunk.
"""

import struct
from dataclasses import dataclass
from math import prod

import google_crc32c
import numpy as np
import xxhash
from numcodecs import blosc

from logitpipe.cache.errors import IntegrityError

CRC32C, XXH3 = "crc32c", "xxh3_128"
"""How a completion record identifies a chunk: by the checksum inside it, or by a hash of its values."""

# Of ENet's logits lz4 behind bitshuffle encodes in about half the time of blosclz or zstd (docs/format-2.md).
COMPRESSOR = "lz4"
LEVEL = 5
"""Level 1 would save less than a tenth of the time of encoding."""

HEADER_BYTES = 16
"""Of a Blosc 1 buffer; `_check_header` reads it."""

CHECKSUM_BYTES = 4
"""The crc32c behind it."""

INTACT = 0x48674BC7
"""Residue of crc32c: any bytes followed by their own crc32c, little-endian, have this checksum."""
MAX_CHUNK_BYTES = blosc.MAX_BUFFERSIZE


@dataclass(frozen=True)
class Encoded:
    """A chunk to be written.

    Parameters
    ----------
    packed : the compressed bytes
    tail : their crc32c, four bytes, little-endian
    """

    packed: bytes
    tail: bytes

    @property
    def checksum(self) -> str:
        """The crc32c, as eight hexadecimal digits."""
        return checksum(self.tail)

    @property
    def pieces(self) -> tuple[bytes, bytes]:
        """What lies on disk, one behind the other: to join them would copy all of a chunk."""
        return self.packed, self.tail

    def to_bytes(self) -> bytes:
        """Return what lies on disk as one."""
        return b"".join(self.pieces)

    @property
    def size(self) -> int:
        """Bytes on disk."""
        return len(self.packed) + len(self.tail)


def checksum(data: bytes) -> str:
    """Return the crc32c that closes a chunk, as eight hexadecimal digits."""
    return f"{int.from_bytes(data[-CHECKSUM_BYTES:], 'little'):08x}"


def is_intact(data: bytes) -> bool:
    """Return whether a chunk has the crc32c that closes it."""
    return google_crc32c.value(data) == INTACT  # without a copy that lacks the last four bytes


def encode(values: np.ndarray) -> Encoded:
    """Encode one whole chunk: little-endian bytes, blosc (lz4, bitshuffle), crc32c."""
    # Little-endian on every machine, as the metadata says; where it is so already nothing is copied.
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    packed = blosc.compress(plain, COMPRESSOR.encode(), LEVEL, blosc.BITSHUFFLE)
    # Over the compressed bytes: damage is found before a decompressor sees it.
    return Encoded(packed, struct.pack("<I", google_crc32c.value(packed)))


def decode_committed(
    data: bytes | None, committed: str | None, shape: tuple[int, ...], dtype: np.dtype, chunk_hash: str
) -> np.ndarray:
    """Decode a chunk and check that it is the one that was committed.

    Parameters
    ----------
    data : what lies there; None if nothing does
    committed : what the completion record says of it; None if it does not name the chunk
    shape, dtype : of the decoded chunk
    chunk_hash : CRC32C or XXH3, what the record says it by

    Raises
    ------
    IntegrityError
        Nothing lies there, another chunk does, or it does not decode.
    """
    if data is None:
        raise IntegrityError("the chunk is missing")
    # Version 1: the record names the checksum, so a foreign chunk is told before any work is spent on decoding it.
    if chunk_hash == CRC32C and checksum(data) != committed:
        raise IntegrityError(f"checksum {committed} was committed, {checksum(data)} was found")
    values = decode(data, shape, dtype)
    # Version 2 hashes the decoded values: this also finds a value that the codec itself changed.
    if chunk_hash == XXH3 and (found := xxh3(values)) != committed:
        raise IntegrityError(f"values of digest {committed} were committed, of {found} were found")
    return values


def committed_digest(values: np.ndarray, encoded: Encoded, chunk_hash: str) -> str:
    """Return the digest of a chunk for its completion record.

    Parameters
    ----------
    values, encoded : the whole chunk
    chunk_hash : CRC32C or XXH3
    """
    return encoded.checksum if chunk_hash == CRC32C else xxh3(values)


def xxh3(values: np.ndarray) -> str:
    """XXH3 with 128 bits of a chunk's values, little-endian, in C order, as 32 hexadecimal digits."""
    plain = np.ascontiguousarray(values, dtype=values.dtype.newbyteorder("<"))
    return xxhash.xxh3_128_hexdigest(plain.data)


def decode(data: bytes, shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """Decode one whole chunk, as it lies on disk, into an array of `shape`.

    Raises
    ------
    IntegrityError
        The checksum does not match, the chunk holds another number of bytes than `shape` and `dtype` say, or
        it is no blosc buffer.
    """
    if len(data) < HEADER_BYTES + CHECKSUM_BYTES:
        raise IntegrityError(f"{len(data)} bytes are too few for a chunk")
    if not is_intact(data):
        found = google_crc32c.value(data[:-CHECKSUM_BYTES])
        raise IntegrityError(f"checksum {checksum(data)} is stored, but the bytes give {found:08x}")
    packed = memoryview(data)[:-CHECKSUM_BYTES]
    # Before the allocation below: nobody makes room for a size that only the chunk itself promises.
    _check_header(packed, prod(shape) * dtype.itemsize)
    out = np.empty(shape, dtype.newbyteorder("<"))
    try:
        blosc.decompress(packed, out)
    except RuntimeError as error:
        raise IntegrityError(f"the bytes are no blosc buffer ({error})") from error
    return out


def _check_header(packed: memoryview, expected: int) -> None:
    """Refuse a header that lies: blosc itself believes it, and would read or write beyond its buffers."""
    # Bytes 4-7, 8-11 and 12-15 of a Blosc 1 header: decoded size, block size, compressed size.
    promised, _, length = struct.unpack_from("<III", packed, 4)
    if promised != expected:
        raise IntegrityError(f"a chunk of {expected} bytes was expected, but its header promises {promised}")
    if length != len(packed):
        raise IntegrityError(f"{len(packed)} compressed bytes were found, but their header promises {length}")
