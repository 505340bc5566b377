"""Let several `pipe infer --shard I/N` fill one store at once, be killed, restarted and overlap by mistake.

    python -m tests.campaigns.writers --runs 50

Each run starts four shards of 16 images in random order, every other run those of a mask network with windows, and
in half of the runs one or two commands too many: a shard twice, a half, or the whole. A process may be killed at a
random time. Whoever was killed or refused is started again, until all have ended well. The store must then be that
of a single process, byte for byte. Prints one summary line.
"""

import os
import random
import re
import signal
import tempfile
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import wait
from pathlib import Path

from logitpipe.cache.format.keys import LOCK
from logitpipe.cache.writing.lock import PATIENCE
from tests.campaigns.words import numbers
from tests.children import WINDOWED, Watch, finish, make_data, pipe_infer, start, taken
from tests.conftest import content

COUNT, SHARDS = 16, 4
MISTAKES = ("0/4", "2/4", "0/2", "1/2", "0/1")
REFUSAL = re.compile(
    r"pipe: \S+: another process(, pid \d+,)? is writing image '\d+\.png', which this command would write too; "
    r"wait for it or stop it, and call this command again"
)


@dataclass
class Tally:
    """What happened to the processes, and what became of the stores."""

    runs: int = 0
    processes: int = 0
    kills: int = 0
    refused: int = 0
    failed: int = 0
    lost: int = 0
    different: int = 0
    left: int = 0

    def __str__(self) -> str:
        return (
            f"{self.runs} runs of {SHARDS} shards over {COUNT} images, {self.processes} processes: "
            f"{self.kills} killed, {self.refused} refused, {self.failed} failed otherwise; images lost: {self.lost}, "
            f"stores that differ from a single process's: {self.different}; leftovers: {self.left}"
        )


def run_writers(runs: int, seed: int, folder: Path) -> Tally:
    """Fill stores by several processes each.

    Parameters
    ----------
    runs : stores to fill
    seed : of order, delays, kills and mistakes
    folder : where to
    """
    tally, chance = Tally(), random.Random(seed)
    make_data(folder, COUNT)
    networks: tuple[tuple[str, ...], ...] = (), WINDOWED
    for flags in networks:
        watch = Watch(folder / "log", folder / "trace")
        assert finish(pipe_infer, folder, folder / f"single{len(flags)}", *flags, watch=watch) == 0
    expected = {flags: content(folder / f"single{len(flags)}") for flags in networks}
    for number in range(runs):
        place = folder / str(number) / "store"
        (place.parent / "watch").mkdir(parents=True)
        flags = networks[number % len(networks)]
        committed = _fill(folder, place, flags, chance, tally)
        found = content(place)
        tally.runs += 1
        tally.lost += sum(f"records/{image}.json" not in found for image in committed)
        tally.different += {key: data for key, data in found.items() if key != LOCK} != expected[flags]
        tally.left += len([*place.parent.iterdir()]) - 2
    return tally


def _fill(folder: Path, place: Path, flags: Sequence[str], chance: random.Random, tally: Tally) -> set[int]:
    """Fill one store; return the images that anyone reported as committed."""
    waiting = [f"{index}/{SHARDS}" for index in range(SHARDS)]
    waiting += chance.choices(MISTAKES, k=chance.choice((0, 0, 1, 2)))
    chance.shuffle(waiting)
    running, committed = {}, set[int]()
    while waiting or running:
        if waiting:
            shard = waiting.pop()
            files = (place.parent / "watch" / f"{tally.processes}.{name}" for name in ("log", "trace"))
            watch = Watch(*files, patience=chance.choice((0, PATIENCE)))
            process = start(pipe_infer, folder, place, *flags, "--shard", shard, watch=watch)
            running[process.sentinel] = process, shard, watch
            tally.processes += 1
        ended = wait(running, timeout=chance.uniform(0, 0.05) if waiting or chance.random() < 0.2 else 5)
        if not ended and running and chance.random() < 0.3:
            with suppress(ProcessLookupError):  # it may have ended since
                os.kill(chance.choice([process.pid for process, *_ in running.values()]), signal.SIGKILL)
        for sentinel in ended:
            process, shard, watch = running.pop(sentinel)
            process.join()
            if process.exitcode:
                waiting.insert(0, shard)
            _note_end(process.exitcode, watch, tally)
            if watch.trace.exists():
                committed |= {int(where) for name, where in taken(watch.trace) if name == "image.end"}
    return committed


def _note_end(code: int, watch: Watch, tally: Tally) -> None:
    tally.kills += code == -signal.SIGKILL
    refused = code == 1 and REFUSAL.fullmatch(watch.log.read_text().splitlines()[-1]) is not None
    tally.refused += refused
    tally.failed += code not in (0, -signal.SIGKILL) and not refused


def main() -> None:
    """Run the campaign and print what came of it."""
    arguments = numbers(__doc__, runs=50, seed=0)
    with tempfile.TemporaryDirectory() as folder:
        print(run_writers(arguments.runs, arguments.seed, Path(folder)))


if __name__ == "__main__":
    main()
