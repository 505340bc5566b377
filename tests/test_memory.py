"""Memory that is given back stays with the process, where the C library lets it."""

import ctypes
import platform
import subprocess
import sys

import pytest

from logitpipe.stages import memory

CODE = """
import resource, sys, threading
from logitpipe.stages.memory import keep_freed_memory

def work():
    for _ in range(20):
        layers = [b"x" * (size << 20) for size in (20, 3, 20, 5, 20)]

if "kept" in sys.argv:
    keep_freed_memory()
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(4):
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be told to keep freed memory")
def test_arrays_reuse_the_memory_of_earlier_ones():
    def faults(*arguments: str) -> int:
        return int(subprocess.run([sys.executable, "-c", CODE, *arguments], capture_output=True, check=True).stdout)

    assert 10 * faults("kept") < faults()


def test_threads_beside_a_gpu_do_not_share_one_heap(monkeypatch):
    told = {}
    library = type("Library", (), {"mallopt": staticmethod(told.__setitem__)})
    monkeypatch.setattr(memory.sys, "platform", "linux")
    monkeypatch.setattr(ctypes, "CDLL", lambda _name: library)
    for heaps in (1, 16):
        memory.keep_freed_memory(heaps)
        assert told[memory.ARENA_MAX] == heaps
        assert told[memory.MMAP_THRESHOLD] == memory.LARGEST_KEPT


@pytest.mark.parametrize(
    ("device", "gpu", "heaps"),
    [("cpu", True, 1), ("auto", False, 1), ("auto", True, 24), ("cuda:1", False, 24), ("mps", False, 1)],
)
def test_one_heap_where_a_cpu_computes(monkeypatch, tmp_path, device, gpu, heaps):
    monkeypatch.setattr(memory, "cores_of_rank", lambda: 24)
    monkeypatch.setattr(memory, "GPU_FILES", (tmp_path if gpu else tmp_path / "nothing",))
    assert memory.heaps_beside(device) == heaps
