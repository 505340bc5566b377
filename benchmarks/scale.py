"""`pipe score --dask` beyond this machine: measured costs, a simulation made of them, runs that it is held against.

    python -m benchmarks.scale [--images 16] [--temperatures 20] [--workers 1,2,4] [--out FOLDER]

The costs are those of ten made images (20 x 512 x 1024 logits, masks of 720 x 1280): reading, scoring, packing,
adding up, bytes on the wire, and what the scheduler takes for a task. The simulation follows the groups of blocks of
`ClusterWalk` through four things that can be short: the workers, their network, the scheduler, the client.
"""

import argparse
import logging
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil
from pathlib import Path

from distributed import Client, LocalCluster

from benchmarks.made import pixel_store
from benchmarks.sheet import RESULTS, Sheet
from logitpipe.cache import Store, open_store
from logitpipe.stages.cores import available_cores
from logitpipe.stages.score.cluster.parcels import pack_arrays, pack_walk, unpack_arrays
from logitpipe.stages.score.cluster.walk import FAN, ClusterWalk, block_size, group_size
from logitpipe.stages.score.ground_truth import GroundTruth
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.picture import read_picture
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

ROUNDS = 3

WIRE = 125e6
"""Bytes in a second of a node's network: 1 Gbit/s, the least that is common."""


@dataclass(frozen=True)
class Costs:
    """What one thread and one task cost, in seconds and bytes.

    Parameters
    ----------
    read, score : of an image
    pack : of the total of ten images
    merge : of such a total that is added to another
    bytes : of such a total
    full : of the total of all images, about: totals grow until every bin that occurs is filled
    stored : of an image, as it lies in the store
    task : of the scheduler, for one task
    """

    read: float
    score: float
    pack: float
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


def simulate(costs: Costs, workers: int, images: int, wire: float = WIRE) -> Prediction:
    """Predict a walk by so many workers of one thread.

    A group is begun while the one before is at work, so that the slowest of the four decides. Only the end of the
    last one, up the tree, has nothing beside it.
    """
    block, size = block_size(images, workers), group_size(workers)
    blocks = ceil(images / block)
    # The last group is smaller; all others are alike, so they need no following one by one.
    counts = [(blocks // size, size), (1, blocks % size)]
    busy, sent, tail = dict.fromkeys(("workers", "network", "scheduler", "client"), 0.0), 0.0, 0.0
    for_byte = costs.merge / costs.bytes
    for number, count in counts:
        if not (number and count):
            continue
        parts = levels(count)
        sizes = [grown(costs, block * FAN**depth) for depth in range(len(parts))]
        merges = sum(parts[1:])
        of_block = block * max(costs.read, costs.score) + costs.pack * sizes[0] / costs.bytes
        # Whoever adds up fetches what others have; parts grow level by level, up to the full size.
        moved = sum(n * size for n, size in zip(parts, sizes, strict=True))
        adding = sum(n * size * for_byte for n, size in zip(parts[:-1], sizes, strict=False))
        once = {
            "workers": count / workers * of_block + adding / min(workers, max(1, merges)),
            "network": moved / (wire * workers),
            "scheduler": (count + merges) * costs.task,
            "client": sizes[-1] * (1 / wire + for_byte),
        }
        for name, seconds in once.items():
            busy[name] += number * seconds
        sent += number * moved
        # Of the last blocks some end later than others; then what is left of the tree has nothing beside it.
        tail = of_block * (1 - 1 / workers)
        tail += sum(min(FAN, n) * size * (for_byte + 1 / wire) for n, size in zip(parts[:-1], sizes, strict=False))
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
    images = range(min(TEN, len(store.schema.images)))
    truth, statistic = GroundTruth(store, plan.protocol, images), Histograms(store, plan)
    first = pack_arrays(walk(truth, images[:1], statistic, 1, lambda: None).to_arrays())
    read = least(lambda: [read_picture(store, truth, image) for image in images]) / len(images)
    started = time.process_time()
    total = walk(truth, images, statistic, 1, lambda: None)
    score = (time.process_time() - started) / len(images)
    packed = pack_arrays(total.to_arrays())
    # Of the bins that ten images fill, one fills so many; the share that is new falls by as much for each image.
    share = len(first) / len(packed)
    full = len(packed) / (1 - (1 - min(share, 0.9)) ** len(images))
    files = (file.stat().st_size for file in Path(str(store.path)).rglob("*") if file.is_file())
    return Costs(
        read=read,
        score=score,
        pack=least(lambda: pack_arrays(total.to_arrays())),
        merge=least(lambda: statistic.zero().add(statistic.from_arrays(unpack_arrays(packed)))),
        bytes=len(packed),
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
    costs: Costs | None = None
    for count in workers:
        with (
            LocalCluster(
                n_workers=count, threads_per_worker=1, dashboard_address=":0", silence_logs=logging.CRITICAL
            ) as cluster,
            Client(cluster) as client,
        ):
            costs = costs or measure(store, plan, client)
            found = ClusterWalk(client)
            found(truth, images[:count], statistic, 1, lambda: None)  # each worker loads its kernels
            before, started = spent(client), time.perf_counter()
            found(truth, images, statistic, 1, lambda: None)
            # Processor time of the workers, shared evenly: what the walk would take if nothing else ran here.
            taken = (spent(client) - before) / min(count, cores)
            wall = time.perf_counter() - started
            # Processes beyond the cores share them, and all of them share one network card, which is none.
            said = simulate(costs, min(count, cores), len(images), wire=float("inf"))
            lines.append([count, wall, taken, said.seconds, taken / said.seconds, said.limit, " ".join(load())])
    assert costs is not None
    return costs, lines


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
        "reading an image, s": costs.read,
        f"reading and scoring it with {pairs} pairs, s": costs.score,
        f"packing the total of {TEN}, s": costs.pack,
        "adding one to another, s": costs.merge,
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
