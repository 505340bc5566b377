"""Fuzz what reads other people's bytes for as long as you like: `python -m tests.campaigns.fuzz --seconds 600`.

Atheris (libFuzzer for Python, Linux) changes inputs so that they reach new lines of the code. Each target runs in a
process of its own, as libFuzzer ends its process. One line tells how many inputs each took; a fault is an exception
that is not the project's own, 20 seconds or 4 GB for one input, and is printed with the file that has the input.
"""

import argparse
import re
import subprocess
import sys
import tempfile
from importlib.util import find_spec
from pathlib import Path

TESTS = Path(__file__).parents[1]
sys.path[:0] = [str(TESTS), str(TESTS.parent)]

NAMES = (
    "metadata",
    "record",
    "chunk",
    "config",
    "weights",
    "image",
    "label-codes",
    "temperatures",
    "choices",
    "sizes",
)
"""The keys of `fuzz_targets.TARGETS`, which is imported only where its modules are traced."""

LIMITS = ("-timeout=20", "-rss_limit_mb=4096", "-max_len=20000", "-print_final_stats=1")


def main() -> int:
    """Fuzz one target in this process, or each in a process of its own."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=int, default=60, help="for each target  [default: 60]")
    parser.add_argument("--target", action="append", choices=NAMES, help="repeatable  [default: all]")
    parser.add_argument("--inner", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if find_spec("atheris") is None:
        print("nothing was fuzzed: atheris is not installed, pip install 'logitpipe[fuzz]'")
        return 0
    if options.inner:
        fuzz(options.inner, options.seconds)
    return max(watch(target, options.seconds) for target in options.target or NAMES)


def watch(target: str, seconds: int) -> int:
    """Run a target in a process of its own, and print what came of it."""
    words = ["--inner", target, "--seconds", str(seconds)]
    done = subprocess.run(
        [sys.executable, "-m", "tests.campaigns.fuzz", *words],
        capture_output=True,
        text=True,
        errors="replace",
        cwd=TESTS.parent,
        check=False,
    )
    units = re.search(r"stat::number_of_executed_units: +(\d+)", done.stderr)
    taken = f"{target}: {int(units[1]):,} inputs" if units else target
    print(f"{taken}, no fault" if units and not done.returncode else f"{taken}, FAULT\n{done.stdout}{done.stderr}")
    return int(bool(done.returncode or not units))


def fuzz(target: str, seconds: int) -> None:
    """Fuzz a target, starting from inputs that mean something; libFuzzer ends the process."""
    import atheris

    with atheris.instrument_imports(include=["cache", "stages", "pipeline", "yaml", "json", "pickle"]):
        from fuzz_targets import TARGETS, seeds

    corpus = Path(tempfile.mkdtemp(prefix="corpus-"))
    for number, data in enumerate(seeds()[target]):
        (corpus / str(number)).write_bytes(data)
    faults = f"-artifact_prefix={tempfile.mkdtemp(prefix='faults-')}/"
    atheris.Setup(["fuzz", str(corpus), f"-max_total_time={seconds}", faults, *LIMITS], TARGETS[target])
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
