"""Kill `pipe infer` at random times, again and again, and hold what it finally makes against an undisturbed run.

    python -m tests.campaigns.kills --runs 300

Each run fills a store of its own, every other one of a mask network that sees pictures in windows. Its process is
killed one to three times, after a random part of the time that an undisturbed run takes from its first step on; what
was reported as committed must be there and whole each time, and the same command at last must give the undisturbed
store, byte for byte, with nothing left beside it. Prints one summary line, then the steps that the kills came after.
"""

import os
import random
import signal
import tempfile
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import product
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from logitpipe.cache import open_store
from logitpipe.cache.format.keys import LOCK
from logitpipe.cache.reading.verify import check_image, check_metadata
from tests.campaigns.words import numbers
from tests.children import WINDOWED, Watch, finish, make_data, pipe_infer, start, taken
from tests.conftest import content

COUNT = 8
MOST_KILLS = 3


@dataclass
class Tally:
    """What the kills hit, and what became of the stores."""

    runs: int = 0
    kills: int = 0
    in_a_commit: int = 0
    while_made: int = 0
    lost: int = 0
    damaged: int = 0
    different: int = 0
    left: int = 0
    after: Counter[str] = field(default_factory=Counter)

    def __str__(self) -> str:
        return (
            f"{self.runs} runs, {self.kills} kills, {self.in_a_commit} of them inside a commit and {self.while_made} "
            f"while the store was made; images lost: {self.lost}, damaged: {self.damaged}; "
            f"stores that differ: {self.different}; leftovers: {self.left}"
        )

    def note_kill(self, steps: list[tuple[str, str]]) -> None:
        """Count a kill by the last step that was taken before it."""
        names = Counter(name for name, _ in steps)
        committing = names["image.begin"] > names["image.end"]
        self.kills += 1
        self.in_a_commit += committing
        self.while_made += bool(steps) and not names["image.begin"] and not names["store.place"]
        name, where = steps[-1] if steps else ("no step", "")
        self.after[f"{name} {kind_of(where)}" if name.startswith("file") else name] += 1

    def note_store(self, store: Path, committed: set[int]) -> None:
        """Count what was reported as committed and is not there, and what is there and not whole."""
        if store.exists():
            opened = open_store(store)
            self.damaged += len(check_metadata(opened))
            self.damaged += sum(bool(check_image(opened, image).damages) for image in opened.completed())
            self.lost += len(committed - set(opened.completed()))
        else:
            self.lost += len(committed)


def kind_of(key: str) -> str:
    """Tell what a key of a store names."""
    return "metadata" if key.endswith("zarr.json") else "record" if key.startswith("records/") else "chunk"


def run_kills(runs: int, seed: int, folder: Path, sync: bool) -> Tally:
    """Fill `runs` stores, killing what fills them.

    Parameters
    ----------
    runs : stores to fill
    seed : of the times
    folder : where to
    sync : whether the children wait for the disk
    """
    tally, times = Tally(), random.Random(seed)
    make_data(folder, COUNT)
    watch = Watch(folder / "log", folder / "trace", sync=sync)
    networks: tuple[tuple[str, ...], ...] = (), WINDOWED
    durations = {}
    for name, flags in product(("warm", "undisturbed"), networks):
        process = _begun(folder, folder / f"{name}{len(flags)}", flags, watch)
        begin = time.perf_counter()
        process.join(120)
        durations[flags] = time.perf_counter() - begin
        assert process.exitcode == 0, watch.log.read_text()
    expected = {flags: content(folder / f"undisturbed{len(flags)}") for flags in networks}
    for number in range(runs):
        flags = networks[number % len(networks)]
        place = folder / str(number) / "store"
        place.parent.mkdir()
        committed = set[int]()
        for _ in range(times.randint(1, MOST_KILLS)):
            if _killed(folder, place, flags, watch, times.uniform(0, durations[flags])):
                steps = taken(watch.trace) if watch.trace.exists() else []
                tally.note_kill(steps)
                committed |= {int(where) for name, where in steps if name == "image.end"}
                tally.note_store(place, committed)
        assert finish(pipe_infer, folder, place, *flags, watch=watch) == 0, watch.log.read_text()
        tally.runs += 1
        tally.different += {key: data for key, data in content(place).items() if key != LOCK} != expected[flags]
        tally.left += len([*place.parent.iterdir()]) - 1
    return tally


def _begun(folder: Path, place: Path, flags: Sequence[str], watch: Watch) -> ForkServerProcess:
    """Start the command and wait for its first step: how long that takes depends on what else the machine does."""
    watch.trace.unlink(missing_ok=True)
    process = start(pipe_infer, folder, place, *flags, watch=watch)
    while process.exitcode is None and not (watch.trace.exists() and taken(watch.trace)):
        time.sleep(0.001)
    return process


def _killed(folder: Path, place: Path, flags: Sequence[str], watch: Watch, after: float) -> bool:
    """Start the command and kill it; return whether it was still running."""
    process = _begun(folder, place, flags, watch)
    process.join(after)
    with suppress(ProcessLookupError):  # it may have ended since, and then it cannot be killed
        if process.exitcode is None:
            os.kill(process.pid, signal.SIGKILL)
    process.join(120)
    return process.exitcode == -signal.SIGKILL


def main() -> None:
    """Run the campaign and print what came of it."""
    arguments = numbers(__doc__, runs=300, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        tally = run_kills(arguments.runs, arguments.seed, Path(folder), sync=True)
    print(tally)
    print(", ".join(f"{name}: {count}" for name, count in tally.after.most_common()))


if __name__ == "__main__":
    main()
