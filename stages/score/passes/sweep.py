"""The sweep: every method at every temperature of a plan, in as many walks over the store as memory asks for."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.score.ground_truth import GroundTruth
from logitpipe.stages.score.kinds import KINDS
from logitpipe.stages.score.passes.walk import run_passes, walk
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Pair, Plan
from logitpipe.stages.score.statistics.histograms import PAIR_BYTES, Histograms, Scored, Tally

WALK_BYTES = 768 << 20
"""What the counts of one walk are expected to take up at most. A sweep of more pairs walks over the store again."""


def sweep(
    store: Store,
    plan: Plan,
    images: Sequence[int],
    workers: int,
    advance: Callable[[], None],
    sketched: bool = False,
) -> list[Scored]:
    """Compute the figures of every pair of a plan over some images of a store.

    Parameters
    ----------
    images : indices, all of them committed
    workers : threads that count; as many read ahead of them
    advance : called `len(walks(plan))` times for each image, in this thread
    sketched : whether curves and distributions are wanted beside the figures

    Returns
    -------
    figures in the order of the plan's pairs

    Raises
    ------
    IntegrityError
        An image is damaged; nothing is scored around it.
    PipeError
        A mask holds a code that the protocol does not know, or counts were lost.
    """
    parts = walks(plan)
    passes = [lambda _found, part=part: Histograms(store, part, workers, sketched) for part in parts]
    found = run_passes(store, plan.protocol, images, passes, workers, advance)
    by_pair: dict[Pair, Scored] = {}
    for part, scored in zip(parts, found, strict=True):
        by_pair |= dict(zip(part.pairs, scored, strict=True))
    return [by_pair[pair] for pair in plan.pairs]


def walks(plan: Plan) -> list[Plan]:
    """Divide a plan into parts whose counts fit memory, one for each walk, temperature by temperature."""
    most = max(1, WALK_BYTES // PAIR_BYTES)
    temperatures = list(dict.fromkeys(pair.temperature for pair in plan.pairs))
    by_temperature = sorted(plan.pairs, key=lambda pair: temperatures.index(pair.temperature))
    return [replace(plan, pairs=tuple(by_temperature[i : i + most])) for i in range(0, len(by_temperature), most)]


def tally_store(store: Store, plan: Plan, images: Sequence[int], workers: int, advance: Callable[[], None]) -> Tally:
    """Count every pair of a plan over some images in a single walk; parameters and errors are those of `sweep`."""
    truth = GroundTruth(store, plan.protocol, images)
    return walk(truth, images, Histograms(store, plan, workers), workers, advance)


def compile_kernels(plan: Plan) -> None:
    """Compile what a plan needs, unless an earlier run has left it on disk: score four pixels of nothing."""
    specs, T, kind = plan.schema.arrays(), plan.temperatures[0], KINDS[plan.schema.kind]
    values = {name: np.zeros(specs[name].image_shape, specs[name].dtype) for name in kind.ARRAYS}
    cut = {name: array[:, :2, :2] if array.ndim == 3 else array for name, array in values.items()}
    part = replace(plan, temperatures=(T,), pairs=tuple(p for p in plan.pairs if p.temperature in (None, T)))
    logits = kind.prepare({name: np.ascontiguousarray(array) for name, array in cut.items()})
    picture, tally = Picture("", 0, "", logits, np.zeros((2, 2), np.uint8)), Tally.zero(part)
    picture.count(part, range(len(part.pairs)), tally.counts, tally.above)
