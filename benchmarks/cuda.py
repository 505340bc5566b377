"""`pipe infer` on a GPU: whether it is right, how fast it is, and what holds it up.

    python -m benchmarks.cuda [--out FOLDER] [--seconds 285] [--device cuda] [--tiny] [--only PART,...]

Prints its figures as they come and keeps them in FOLDER/cuda.json and cuda.md from the first one on; all tables come
once more at its end. Its parts run in a process of their own: one that hangs or fails costs itself alone, and the
whole never takes longer than it may. Where PIPE_REAL_DATA names the real pictures and weights, these are computed
too. `--tiny` is for a test on a CPU: it goes the same ways with small networks and pictures, and its figures mean
nothing.
"""

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from benchmarks.sheet import RESULTS, Sheet
from benchmarks.watched import run_parts, watch
from logitpipe.stages.memory import heaps_beside, keep_freed_memory

SECONDS = 285.0
LIMITS = {
    "facts": 40.0,
    "agreement": 95.0,
    "repeats": 45.0,
    "rates": 130.0,
    "tests": 60.0,
    "where": 30.0,
    "sharing": 45.0,
    "real": 60.0,
}
"""Seconds that each part may take. What is worth most comes first: at the end there may be no time left."""

TINY = ("facts", "agreement", "repeats", "rates", "where")
"""Parts of a test: the others start processes of their own, which take seconds to load torch."""


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and save; return how many parts were not done."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--only", type=lambda text: text.split(","), default=None, metavar="PART,...")
    parser.add_argument("--here", type=Path, help=argparse.SUPPRESS)  # in this process, with what lies in a folder
    arguments = parser.parse_args(words)
    names = arguments.only or (TINY if arguments.tiny else list(LIMITS))
    if arguments.here:
        return measure(names, arguments.here, arguments.device, arguments.tiny)
    with tempfile.TemporaryDirectory() as folder:
        sheet = Sheet("cuda", arguments.out)
        start = [sys.executable, "-m", "benchmarks.cuda", "--here", folder, "--device", arguments.device]
        command = partial(_command, [*start, "--tiny"] if arguments.tiny else start)
        # Who has more time gives it to all.
        limits = {name: LIMITS[name] * max(1.0, arguments.seconds / SECONDS) for name in names}
        failed = watch(command, limits, Path(folder) / "parts", sheet, arguments.seconds)
    print(sheet.text(), flush=True)
    return failed


def _command(start: Sequence[str], left: Sequence[str]) -> list[str]:
    return [*start, "--only", ",".join(left)]


def measure(names: Sequence[str], folder: Path, device: str, tiny: bool) -> int:
    """Measure some parts in this process; return its exit code.

    Parameters
    ----------
    names : of the parts
    folder : for what they share, and their files
    device, tiny : as the flags have them
    """
    keep_freed_memory(heaps_beside(device))
    # Not by the process that watches: what breaks or hangs when torch is loaded must not take it along.
    from benchmarks import cuda_made
    from benchmarks.cuda_right import PARTS
    from logitpipe.stages.infer.device.device import choose_device

    bench = cuda_made.Bench(folder, choose_device(device), cuda_made.TINY if tiny else cuda_made.FULL)
    return run_parts({name: partial(PARTS[name], bench) for name in names}, folder / "parts")


if __name__ == "__main__":
    # As an exception, so that what was started ends too: it has a session of its own.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    sys.exit(main())
