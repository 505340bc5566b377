"""Memory that is given back stays with the process, where the C library lets it."""

import platform
import subprocess
import sys

import pytest

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
