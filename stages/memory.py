"""Tune glibc malloc to keep freed multi-megabyte arrays in the process."""

import ctypes
import sys
from pathlib import Path

from logitpipe.stages.cores import cores_of_rank

# As much as a C int holds: a heap's free end is given back beyond that alone.
KEPT_BYTES = (1 << 31) - 1
LARGEST_KEPT = 32 << 20
"""Bytes; glibc allows no higher threshold. Larger arrays are mapped from the system and unmapped each time."""

TRIM_THRESHOLD, MMAP_THRESHOLD, ARENA_MAX = -1, -3, -8
"""Parameters of glibc's `mallopt`; the numbers are those of malloc.h."""


GPU_FILES = (Path("/dev/nvidiactl"), Path("/dev/kfd"))
"""One of them is there where Linux drives a GPU that torch computes on, NVIDIA's or AMD's."""


def heaps_beside(device: str) -> int:
    """Return how many heaps suit the threads beside a network, 1 on a CPU, where they are few and memory is short.

    Beside a GPU many threads encode, and with one heap they would wait for one another. It must be known before any
    thread begins, so before torch is loaded: glibc looks at the number once.

    Parameters
    ----------
    device : as `pipe infer --device` has it
    """
    # By files: to ask torch would load it, and that is too late.
    is_gpu = device.startswith("cuda") or (device == "auto" and any(file.exists() for file in GPU_FILES))
    return cores_of_rank() if is_gpu else 1


def keep_freed_memory(heaps: int = 1) -> None:
    """Let arrays of some megabytes reuse the memory of earlier ones, in all threads.

    Otherwise each comes from the system, which clears it page by page when it is first written: work of every
    layer of a network, and of every chunk that is encoded. A process that does this keeps its peak memory until
    its end. Elsewhere than in glibc nothing happens.

    Parameters
    ----------
    heaps : that the threads share; they wait for one another where many ask for memory of one heap at a time
    """
    if sys.platform == "linux" and hasattr(library := ctypes.CDLL(None), "mallopt"):
        # Both thresholds: the first keeps large arrays in the heap, the second keeps the heap's free end in the
        # process.
        library.mallopt(MMAP_THRESHOLD, LARGEST_KEPT)
        library.mallopt(TRIM_THRESHOLD, KEPT_BYTES)
        # With one heap for all threads, what one of them frees another reuses.
        library.mallopt(ARENA_MAX, heaps)
