"""Tune glibc malloc to keep freed multi-megabyte arrays in the process."""

import ctypes
import sys

KEPT_BYTES = (1 << 31) - 1
LARGEST_KEPT = 32 << 20
"""Bytes; glibc allows no higher threshold. Larger arrays are mapped from the system and unmapped each time."""

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Parameters of glibc's `mallopt`; the numbers are those of malloc.h."""


def keep_freed_memory() -> None:
    """Let arrays of some megabytes reuse the memory of earlier ones, in all threads.

    Otherwise each comes from the system, which clears it page by page when it is first written: work of every
    layer of a network, and of every chunk that is encoded. A process that does this keeps its peak memory until
    its end. Elsewhere than in glibc nothing happens.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        # Both thresholds: the first keeps large arrays in the heap, the second keeps the heap's free end in the
        # process.
        library.mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        # One heap for all threads: what one thread frees, another reuses.
        library.mallopt(ARENA_MAX, 1)
