"""What every method costs beside the core, at 20 temperatures: `pipe score --methods all` over `--methods core`.

    python -m benchmarks.methods STORE [--images 3] [--rounds 3] [--each]

The times are those of the CPU in all threads, the least of the rounds, in which candidates take turns. `--each` adds
each method alone.
"""

import argparse
import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np

from logitpipe.cache import Store, open_store
from logitpipe.stages.score.kernels.counting.bins import count
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.sweep import compile_kernels, sweep
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import Plan, make_plan
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stages.score.statistics.tally import Tally

TEMPERATURES = [k / 10 for k in range(1, 21)]
WORKERS = 2


def plan_of(store: Store, methods: Sequence[str]) -> Plan:
    """Return what is measured: some methods at all temperatures of the class logits."""
    return make_plan(store.schema, PROTOCOLS["standard"], methods, TEMPERATURES)


def spent(plan: Plan, store: Store, images: Sequence[int]) -> float:
    """Return what a sweep takes, in seconds."""
    started = time.process_time()
    sweep(store, plan, images, WORKERS, lambda: None)
    return time.process_time() - started


def counting(plan: Plan, store: Store, image: int) -> float:
    """Return what counting alone takes of one image: ranks of T = 1, once for each pair of the plan, in seconds."""
    at_1 = make_plan(store.schema, PROTOCOLS["standard"], list(dict.fromkeys(p.method for p in plan.pairs)), [1.0])
    picture = read_picture(store, GroundTruth(store, plan.protocol, [image]), image)
    if picture is None:
        raise SystemExit(f"image {image} is left out by the protocol")
    maps = {at_1.pairs[i].method: ranks.copy() for i, ranks in picture.score_maps(at_1, range(len(at_1.pairs)))}
    tally, labels = Tally.zero(plan), picture.labels.reshape(-1)
    ranks = [np.ascontiguousarray(maps[pair.method]).reshape(-1) for pair in plan.pairs]
    layouts = [plan.bins(pair).layout for pair in plan.pairs]
    count(ranks[0], labels, layouts[0], tally.of_pair(0))
    started = time.process_time()
    for i, (flat, layout) in enumerate(zip(ranks, layouts, strict=True)):
        count(flat, labels, layout, Counts(tally.counts.low[i], tally.counts.carries[i]))
    return time.process_time() - started


def main() -> None:
    """Print all figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("store", type=Path)
    parser.add_argument("--images", type=int, default=3)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--each", action="store_true")
    arguments = parser.parse_args()
    store = open_store(arguments.store)
    images = store.completed()[: arguments.images]
    plans = {"core": plan_of(store, ["core"]), "all": plan_of(store, ["all"])}
    if arguments.each:
        plans |= {name: plan_of(store, [name]) for name in dict.fromkeys(p.method for p in plans["all"].pairs)}
    for plan in plans.values():
        compile_kernels(plan)
    runs = {name: partial(spent, plan, store, images) for name, plan in plans.items()}
    least = dict.fromkeys(plans, float("inf"))
    for _ in range(arguments.rounds):
        least = {name: min(least[name], run()) for name, run in runs.items()}
    print(
        f"{len(images)} images of {store.schema.network} on {store.schema.dataset}, {len(TEMPERATURES)} temperatures"
    )
    for name, plan in plans.items():
        print(f"{name:16} {len(plan.pairs):4} pairs  {least[name]:6.2f} s of CPU  {least[name] / least['core']:5.2f}")
    for name in ("core", "all"):
        floor = len(images) * counting(plans[name], store, images[0])
        print(f"counting of {name:4} {len(plans[name].pairs):4} pairs  {floor:6.2f} s of CPU")


if __name__ == "__main__":
    main()
