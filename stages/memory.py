"""What becomes of memory that is given back: kept for the next array, where the C library can be told so."""

import ctypes
import sys

KEPT_BYTES = (1 << 31) - 1
LARGEST_KEPT = 32 << 20
"""The most that glibc lets be kept; larger arrays come from the system, and go back to it, each time."""

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""glibc's names for what `mallopt` sets, in malloc.h."""


def keep_freed_memory() -> None:
    """Let arrays of some megabytes reuse the memory of earlier ones, in all threads.

    Otherwise each comes from the system, which clears it page by page when it is first written: work of every
    layer of a network, and of every chunk that is encoded. A process that does this keeps its peak memory until
    its end. Elsewhere than in glibc nothing happens.
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        library.mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        library.mallopt(ARENA_MAX, 1)
