"""How much room images take up on disk, and how much there is."""

import errno
import shutil
from math import ceil, prod
from pathlib import Path

from logitpipe.cache.format import Schema
from logitpipe.cache.format.codec import CHECKSUM_BYTES, HEADER_BYTES
from logitpipe.cache.format.schema import ArraySpec

FULL = (errno.ENOSPC, errno.EFBIG, errno.EDQUOT)
"""What systems answer that have no room: a full disk, a file beyond a limit, a quota that is used up."""

BLOCK = 4096
"""File systems give room to a file, and to a folder, in such steps."""

RECORD_BYTES = 256
"""Of a completion record for each chunk, its array's digest included: twice what real ones have."""


def most_image_bytes(schema: Schema) -> int:
    """Return the bytes that one image takes up on disk at most: when its chunks do not compress at all."""
    counts = {name: _chunk_count(spec) for name, spec in schema.arrays().items()}
    chunks = sum(counts[name] * _most_chunk_bytes(spec) for name, spec in schema.arrays().items())
    return chunks + _blocks(sum(counts.values()) * RECORD_BYTES + BLOCK)


def free_bytes(path: Path) -> int:
    """Return the free bytes of the file system on which `path` lies, or would lie."""
    place = path.resolve()
    return shutil.disk_usage(next(p for p in (place, *place.parents) if p.is_dir())).free


def occupied_bytes(path: Path) -> int:
    """Return the bytes of all files below a folder; 0 where there is none."""
    return sum(file.stat().st_size for file in path.rglob("*") if file.is_file())


def _chunk_count(spec: ArraySpec) -> int:
    return prod(ceil(size / chunk) for size, chunk in zip(spec.shape[1:], spec.chunks[1:], strict=True))


def _most_chunk_bytes(spec: ArraySpec) -> int:
    """A blosc buffer that did not compress, its checksum, and the folders that its key adds."""
    folders = (len(spec.shape) - 1) * BLOCK
    return _blocks(prod(spec.chunks) * spec.dtype.itemsize + HEADER_BYTES + CHECKSUM_BYTES) + folders


def _blocks(size: int) -> int:
    return ceil(size / BLOCK) * BLOCK
