"""Processes that write stores and are killed, in milliseconds each: forked from one that has imported everything."""

import os
import resource
import signal
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context, set_start_method
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import torch

from logitpipe.cache import StoreWriter
from logitpipe.cache.files.steps import EVENT
from logitpipe.cache.writing import site
from logitpipe.cache.writing.create import _beside_with_lock
from logitpipe.cache.writing.lock import PATIENCE
from logitpipe.cli import cli
from logitpipe.stages.infer.networks import NETWORKS
from tests.conftest import write_sample
from tests.fake_networks import FAKES, GAIN
from tests.stores import make_schema, noise_values

ROOT = Path(__file__).parents[1]
CODES = (0, 1, 255)
TORN = 20
"""Bytes of a file that is torn; all that a store has are longer."""

PRELOADED = (
    "tests.children",
    "logitpipe.stages.infer.describe",
    "logitpipe.stages.infer.run",
    "torch._dynamo",
    "PIL.PngImagePlugin",
)
"""What each child would import."""

EFFECTS = ("open", "os.mkdir", "os.rename", "os.remove", "os.rmdir")
"""The interpreter's own events for what changes a disk; it has none for fsync."""

IMAGE_SIZES = ((12, 16), (10, 16), (12, 14))

WINDOWED = ("--network", "eomt", "--resize", "windows:32")
"""Flags of `pipe_infer`: a mask network that sees each picture in two windows."""


@dataclass(frozen=True)
class Watch:
    """What a child is watched by, and what it dies of.

    `log` gets its output; `trace` a line for each step that it takes and, after a "!", for each change of the disk.
    `kill` is a step and which of its occurrences: there it ends by SIGKILL, or, with `torn`, after the first bytes
    of what it then writes, by SIGXFSZ. Without `sync` it waits for no disk: the kernel outlives it. For an image that
    is taken it waits `patience` seconds.
    """

    log: Path
    trace: Path
    kill: tuple[str, int] | None = None
    torn: bool = False
    sync: bool = False
    patience: float = PATIENCE


def start(job: Callable[..., object], *arguments: object, watch: Watch) -> ForkServerProcess:
    """Start a child that runs `job`; its exit code is what the job exits with, or minus the signal."""
    paths = dict.fromkeys([str(ROOT), str(ROOT / "tests"), *os.environ.get("PYTHONPATH", "").split(os.pathsep)])
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))  # or the server could not import this module
    context = get_context("forkserver")
    context.set_forkserver_preload(list(PRELOADED))
    process = context.Process(target=_watched, args=(job, arguments, watch))
    process.start()
    return process


def finish(job: Callable[..., object], *arguments: object, watch: Watch) -> int:
    """Run a child to its end; return its exit code."""
    process = start(job, *arguments, watch=watch)
    process.join(120)
    assert process.exitcode is not None, "the child does not end"
    return process.exitcode


@contextmanager
def living(tmp_path: Path, job: Callable[..., object], *arguments: object) -> Iterator[int]:
    """Start a child that does its job and stays; give its process id; kill it in the end."""
    ready = tmp_path / "ready"
    process = start(job, *arguments, ready, watch=Watch(tmp_path / "log", tmp_path / "trace"))
    try:
        deadline = time.monotonic() + 60
        while not ready.exists():
            assert process.exitcode is None, (tmp_path / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.01)
        yield process.pid
    finally:
        process.kill()
        process.join()
        ready.unlink(missing_ok=True)


def infer_words(tmp_path: Path, data_root: Path, *flags: object) -> list[object]:
    """The words of `pipe infer` for a store of Tiny beside the fake weights."""
    words = ["infer", "--network", "enet", "--weights", tmp_path / "weights.pth", "--dataset", "Tiny"]
    return [*words, "--data-root", data_root, "--out", tmp_path / "store", *flags]


def pipe_infer(root: Path, out: Path, *flags: str) -> None:
    """`pipe infer`, as it is, with a fake network over the data set that `make_data` made."""
    NETWORKS.update(FAKES)
    torch.set_num_threads(1)
    words = ["--network", "enet", "--weights", root / "weights.pth", "--dataset", "Tiny", "--data-root", root]
    cli([str(word) for word in ("infer", *words, "--out", out, "--device", "cpu", *flags)])


def commit(path: Path, names: Sequence[str], images: Sequence[int], seed: int = 0) -> None:
    """Commit noise to some images of a store, there or not, under one claim."""
    schema = make_schema("pixel", images=names)
    writer = StoreWriter(path, schema)
    with writer.claimed(images):
        for image in images:
            writer.commit(image, noise_values(schema, image + seed, CODES), {})


def linger(path: Path, names: Sequence[str], images: Sequence[int], ready: Path) -> None:
    """Claim some images, commit the first of them, say so and stay."""
    schema = make_schema("pixel", images=names)
    writer = StoreWriter(path, schema)
    with writer.claimed(images):
        writer.commit(images[0], noise_values(schema, images[0], CODES), {})
        ready.touch()
        signal.pause()


def build(place: Path, ready: Path) -> None:
    """Lock a folder beside a store's place, as who builds a store does, say so and stay."""
    _lock = _beside_with_lock(place, [0])
    ready.touch()
    signal.pause()


def make_data(root: Path, count: int) -> None:
    """Write the data set Tiny, `count` images of a few sizes, and the weights of a fake network."""
    for number in range(count):
        write_sample(root / "Tiny", f"{number}.png", IMAGE_SIZES[number % len(IMAGE_SIZES)], number)
    torch.save({"gain": GAIN}, root / "weights.pth")


def taken(trace: Path) -> list[tuple[str, str]]:
    """Read back the steps that a child took: their names and where, in order."""
    lines = (line.split("\t") for line in trace.read_text().splitlines() if not line.startswith("!"))
    return [(name, where) for name, where, _thread in lines]


def _watched(job: Callable[..., object], arguments: tuple[object, ...], watch: Watch) -> None:
    """Run a job, its output in a file, and listen to what it does."""
    set_start_method("fork", force=True)  # so that a lock that numcodecs makes leaves nothing when it is killed
    log = os.open(watch.log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
    for stream in (1, 2):
        os.dup2(log, stream)
    trace = os.open(watch.trace, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)

    def note(*words: object) -> None:
        os.write(trace, ("\t".join(map(str, (*words, threading.get_native_id()))) + "\n").encode())

    if not watch.sync:
        os.fsync = lambda descriptor: note("!fsync", Path(f"/proc/self/fd/{descriptor}").readlink())
    site.PATIENCE = watch.patience
    if watch.kill:
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    seen = Counter[str]()

    def listen(event: str, details: tuple[object, ...]) -> None:
        if event in EFFECTS and (event != "open" or is_for_writing(*details)):
            note(f"!{event}", details[0])
        if event == EVENT:
            name, where = details
            note(name, where)
            seen[name] += 1
            if watch.kill == (name, seen[name]):
                if watch.torn:
                    resource.setrlimit(resource.RLIMIT_FSIZE, (TORN, TORN))
                else:
                    os.kill(os.getpid(), signal.SIGKILL)

    sys.addaudithook(listen)
    job(*arguments)


def is_for_writing(path: object, _mode: object, flags: int) -> bool:
    """Whether an `open` makes or changes a file of a store."""
    return isinstance(path, str) and flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) != 0
