"""`pipe score --dask` beyond this machine: measured costs, a simulation made of them, runs that it is held against.

    python -m benchmarks.scale [--images 16] [--temperatures 20] [--workers 1,2,4] [--out FOLDER]

The costs are of made images (20 x 512 x 1024 logits, masks of 720 x 1280), measured on the very tasks that workers
are given: what an image and what a block of them takes, adding up, bytes on the wire, and what the scheduler takes
for a task. The simulation follows the groups of blocks of `ClusterWalk` through four things that can be short: the
workers, their network, the scheduler, the client.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from distributed import Client, LocalCluster

from benchmarks.made import pixel_store
from benchmarks.sheet import RESULTS, Sheet
from logitpipe.cache import Store, open_store
from logitpipe.stages.cores import available_cores
from logitpipe.stages.score.cluster.parcels import pack_walk
from logitpipe.stages.score.cluster.tasks import merge, score_block
from logitpipe.stages.score.cluster.walk import FAN, ClusterWalk, block_size, group_size
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.histograms import Histograms

METHODS = ("msp", "entropy", "energy")
WORKERS = (1, 10, 100, 1000, 10_000)
PICTURES = (10**3, 10**6, 10**9)
TEN = 10
"""Images whose total is measured."""

TASKS = 500
"""Empty tasks that the scheduler is timed with."""

ROUNDS = 2
"""Of each measurement; the least counts, as other work only adds."""

WIRE = 125e6
"""Bytes in a second of a node's network: 1 Gbit/s, the least that is common."""


@dataclass(frozen=True)
class Costs:
    """What one thread and one task cost, in seconds and bytes.

    Parameters
    ----------
    image : of an image that is read and scored
    block : of a block of images beside these: a total that is begun, and packed in the end
    add : of the total of ten images that is added to another
    merge : of a sum of totals beside these: one that is begun, and packed in the end
    bytes : of the total of ten images
    full : of the total of very many: totals grow until every bin that occurs is filled
    stored : of an image, as it lies in the store
    task : of the scheduler, for one task
    """

    image: float
    block: float
    add: float
    merge: float
    bytes: float
    full: float
    stored: float
    task: float


@dataclass(frozen=True)
class Prediction:
    """What a walk would take.

    Parameters
    ----------
    seconds : from its beginning to its end
    sent : bytes between machines, without what is read from the store
    limit : what is busy all the time
    """

    seconds: float
    sent: float
    limit: str


def simulate(costs: Costs, workers: int, images: int, wire: float = WIRE, cores: int | None = None) -> Prediction:
    """Predict a walk by so many workers of one thread; by fewer at a time, where they share so many cores.

    A group is begun while the one before is at work, so that the slowest of the four decides. Only the end of the
    last one, up the tree, has nothing beside it.
    """
    block, size, at_a_time = block_size(images, workers), group_size(workers), min(workers, cores or workers)
    blocks = ceil(images / block)
    # The last group is smaller; all others are alike, so they need no following one by one.
    counts = [(blocks // size, size), (1, blocks % size)]
    busy, sent, tail = dict.fromkeys(("workers", "network", "scheduler", "client"), 0.0), 0.0, 0.0
    add_byte = costs.add / costs.bytes
    for number, count in counts:
        if not (number and count):
            continue
        parts = levels(count)
        sizes = [grown(costs, block * FAN**depth) for depth in range(len(parts))]
        merges = sum(parts[1:])
        of_block = block * costs.image + costs.block
        # Whoever adds up fetches what others have; parts grow level by level, up to the full size.
        moved = sum(n * size for n, size in zip(parts, sizes, strict=True))
        adding = merges * costs.merge + sum(n * size * add_byte for n, size in zip(parts[:-1], sizes, strict=False))
        once = {
            "workers": count / at_a_time * of_block + adding / min(at_a_time, max(1, merges)),
            "network": moved / (wire * workers),
            "scheduler": (count + merges) * costs.task,
            "client": sizes[-1] * (1 / wire + add_byte),
        }
        for name, seconds in once.items():
            busy[name] += number * seconds
        sent += number * moved
        # Of the last blocks some end later than others; then what is left of the tree has nothing beside it.
        tail = of_block * (1 - 1 / at_a_time) + (len(parts) - 1) * costs.merge
        tail += sum(min(FAN, n) * size * (add_byte + 1 / wire) for n, size in zip(parts[:-1], sizes, strict=False))
    limit = max(busy, key=lambda name: busy[name])
    return Prediction(busy[limit] + tail, sent, limit)


def levels(count: int) -> list[int]:
    """Return how many parts there are on each level of the tree over so many blocks."""
    found = [count]
    while found[-1] > 1:
        found.append(ceil(found[-1] / FAN))
    return found


def grown(costs: Costs, images: int) -> float:
    """Return the bytes of the total of some images: each one fills some of the bins that are still empty."""
    left = 1 - costs.bytes / costs.full
    return costs.full * (1 - left ** (images / TEN)) if left > 0 else costs.bytes


def measure(store: Store, plan: Plan, client: Client) -> Costs:
    """Measure what things cost here: processor time, the least of some rounds, so that other work counts little."""
    images = tuple(range(TEN))
    truth, statistic = GroundTruth(store, plan.protocol, images), Histograms(store, plan)
    parcel = pack_walk(truth, statistic, "costs")
    first, ten = score_block(parcel, images[:1]), score_block(parcel, images)
    one_image, ten_images = (least(lambda n=n: score_block(parcel, images[:n])) for n in (1, TEN))  # type: ignore[misc]
    two, many = (least(lambda n=n: merge(parcel, [ten] * n)) for n in (2, FAN))  # type: ignore[misc]
    image, add = (ten_images - one_image) / (TEN - 1), (many - two) / (FAN - 2)
    # Of the bins that ten images fill, one fills so many; the share that is new falls by as much for each image.
    share = len(first.arrays) / len(ten.arrays)
    full = len(ten.arrays) / (1 - (1 - min(share, 0.9)) ** TEN)
    files = (file.stat().st_size for file in Path(str(store.path)).rglob("*") if file.is_file())
    return Costs(
        image=image,
        block=max(0.0, one_image - image),
        add=add,
        merge=max(0.0, two - 2 * add),
        bytes=len(ten.arrays),
        full=full,
        stored=sum(files) / len(store.schema.images),
        # Scheduler and client are threads of this process: no single one of them takes longer.
        task=least(lambda: client.gather([client.submit(abs, -i, pure=False) for i in range(TASKS)])) / TASKS,
    )


def least(run: Callable[[], object]) -> float:
    """Return the least processor time that a call takes in this process; the first one may load code."""
    times = []
    for _ in range(ROUNDS):
        started = time.process_time()
        run()
        times.append(time.process_time() - started)
    return min(times)


def measure_runs(store: Store, plan: Plan, workers: Sequence[int]) -> tuple[Costs, list[list[object]]]:
    """Measure walks by some numbers of workers, each beside what the simulation says of it."""
    images, cores, lines = range(len(store.schema.images)), available_cores(), []
    truth, statistic = GroundTruth(store, plan.protocol, images), Histograms(store, plan)
    with ExitStack() as stack:
        quiet = {"dashboard_address": ":0", "silence_logs": logging.CRITICAL}
        cluster = stack.enter_context(LocalCluster(n_workers=max(workers), threads_per_worker=1, **quiet))
        client = stack.enter_context(Client(cluster))
        # Each worker loads its kernels; first one alone, as it may have to compile them.
        warm = pack_walk(truth, statistic, "warm")
        for addresses in ([next(iter(client.nthreads()))], None):
            client.run(score_block, warm, (0,), workers=addresses)
        costs = measure(store, plan, client)
        # From many to few: workers that leave are waited for, while new ones would load their kernels again.
        for count in sorted(workers, reverse=True):
            cluster.scale(count)
            while len(client.nthreads()) > count:
                time.sleep(0.1)
            found = ClusterWalk(client)
            before, started = spent(client), time.perf_counter()
            found(truth, images, statistic, 1, lambda: None)
            wall = time.perf_counter() - started
            # Processor time of the workers, shared evenly: what the walk would take if nothing else ran here.
            taken = (spent(client) - before) / min(count, cores)
            # All workers share one network card, which is none.
            said = simulate(costs, count, len(images), float("inf"), cores)
            lines.append([count, wall, taken, said.seconds, taken / said.seconds, said.limit, " ".join(load())])
    return costs, lines[::-1]


def spent(client: Client) -> float:
    """Return the processor time of all workers so far."""
    return sum(client.run(time.process_time).values())


def load() -> list[str]:
    """Return the load of the machine, of the last minute and of the last five."""
    return [f"{load:.1f}" for load in os.getloadavg()[:2]]


def main(words: Sequence[str] | None = None) -> None:
    """Measure, predict, print and save."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=16)
    parser.add_argument("--temperatures", type=int, default=20)
    parser.add_argument("--workers", default="1,2,4")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    logging.getLogger("distributed").setLevel(logging.CRITICAL)
    sheet = Sheet("scale", arguments.out)
    with tempfile.TemporaryDirectory() as name:
        store = open_store(pixel_store(Path(name) / "made.zarr", arguments.images))
        temperatures = [round(0.1 * (i + 1), 1) for i in range(arguments.temperatures)]
        plan = make_plan(store.schema, PROTOCOLS["standard"], METHODS, temperatures)
        parcel = pack_walk(GroundTruth(store, plan.protocol, [0]), Histograms(store, plan), "run")
        costs, lines = measure_runs(store, plan, [int(text) for text in arguments.workers.split(",")])
    pairs = len(plan.pairs)
    measured = {
        f"reading and scoring an image with {pairs} pairs, s": costs.image,
        "a block of images beside these, s": costs.block,
        f"adding a total of {TEN} to another, s": costs.add,
        "a sum of totals beside these, s": costs.merge,
        f"the total of {TEN} on the wire, MB": costs.bytes / 1e6,
        "a total of very many, about, MB": costs.full / 1e6,
        "an image in the store, MB": costs.stored / 1e6,
        "a walk on the wire, kB": len(parcel.work) / 1e3,
        "a task of the scheduler, ms": 1e3 * costs.task,
    }
    sheet.table("Costs of one thread, measured", ("what", "found"), list(measured.items()))
    times = ("wall, s", "workers' CPU, s", "simulated, s", "CPU over simulated")
    header = ("workers", *times, "limit", "load of 1 and 5 min")
    sheet.table(f"{arguments.images} images by workers of this machine ({available_cores()} cores)", header, lines)
    for wire, speed in ((WIRE, "1 Gbit/s"), (100 * WIRE, "100 Gbit/s")):
        predicted = []
        for images in PICTURES:
            alone = simulate(costs, 1, images, wire)
            for workers in WORKERS:
                said = simulate(costs, workers, images, wire)
                efficiency = alone.seconds / said.seconds / workers
                predicted.append(
                    [f"{images:.0e}", workers, f"{said.seconds:.3g}", f"{efficiency:.2f}", said.limit,
                     f"{said.sent / 1e9:.3g}", f"{images * costs.stored / said.seconds / 1e9:.3g}"]
                )  # fmt: skip
        title = f"Simulated: one walk with {pairs} pairs, {speed} for each machine"
        columns = ("pictures", "workers", "s", "of linear", "limit", "GB sent", "GB/s read from the store")
        sheet.table(title, columns, predicted)
    sheet.save()


if __name__ == "__main__":
    main()
