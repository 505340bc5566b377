"""The sweep: figures of every method at every temperature, in one walk, or in several if memory is short."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from logitpipe.cache import Store
from logitpipe.cache.format import version1
from logitpipe.cache.format.geometry import Geometry
from logitpipe.stages.score.figures.rows import Row, has_open_digit, with_figures
from logitpipe.stages.score.kinds import KINDS
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.picture import Picture, sigmoid_at
from logitpipe.stages.score.plan import Pair, Plan
from logitpipe.stages.score.statistics.gaps import PIXEL_BYTES, Gaps, Positives
from logitpipe.stages.score.statistics.histograms import Histograms, Scored
from logitpipe.stages.score.statistics.ordered import SCORE_BYTES, Everything
from logitpipe.stages.score.statistics.tally import PAIR_BYTES, Tally

Resolve = Literal["summary", "all", "none"]
"""Which pairs are resolved: T = 1 and what may be the best temperature of each method, every pair, or none."""

WALK_BYTES = 768 << 20
"""Memory for the counts of one walk, in bytes. A sweep that needs more is divided into several walks."""

ORDER_BYTES = 384 << 20
"""Memory for what one walk orders, in bytes; joining the scores of a pair holds them twice."""

ALL_BYTES = 768 << 20
"""The same for the scores that a walk both counts and collects: more pairs of a walk share more of its work."""


def sweep(
    store: Store,
    plan: Plan,
    images: Sequence[int],
    workers: int,
    advance: Callable[[], None],
    sketched: bool = False,
    resolve: Resolve = "none",
    per_image: bool = False,
    extend: Callable[[int], None] = lambda _more: None,
    walker: Walk = walk,
) -> list[Scored]:
    """Compute the figures of every pair of a plan over some images of a store.

    Parameters
    ----------
    images : indices, all of them committed
    workers : threads that count; as many read ahead of them
    advance : called once for each image of each walk, in this thread: `len(walks(plan))` times, and more where pairs
        are resolved
    sketched : whether curves and distributions are wanted beside the figures
    resolve : which pairs are walked over again where a digit is open, until all are certain
    per_image : whether histograms of single images are wanted
    extend : called with the number of images that each such walk will read besides, before it begins
    walker : who does the walks

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
    # One ground truth for all walks: a protocol that thins reads all masks to know what it keeps.
    parts, truth = walks(plan), GroundTruth(store, plan.protocol, images)
    most = _most_ordered(store, plan, len(images)) if resolve == "all" else 0
    if most:
        extend((len(walks(plan, most)) - len(parts)) * len(images))
        parts = walks(plan, most)
    kept = partial(_to_resolve, "none" if most else resolve)
    found: dict[Pair, Scored] = {}
    for part in parts:
        statistic = Histograms(store, part, workers, sketched, kept, per_image, ordered=most > 0)
        scored = statistic.finish(walker(truth, images, statistic, workers, advance))
        of_part = dict(zip(part.pairs, scored, strict=True))
        if resolve == "all" and not most:
            of_part |= _resolved(truth, plan, of_part, images, workers, advance, extend, walker, every=True)
        found |= of_part
    # After all parts: which temperature of a method may be the best is known when all of them have bounds.
    if resolve == "summary":
        best = _to_resolve(resolve, [found[pair].row for pair in plan.pairs])
        chosen = {pair: found[pair] for i, pair in enumerate(plan.pairs) if i in best}
        found |= _resolved(truth, plan, chosen, images, workers, advance, extend, walker)
    # The bins have served their purpose; in a run over many stores they would be megabytes for each row.
    return [found[pair]._replace(curve=None) for pair in plan.pairs]


def _to_resolve(resolve: Resolve, rows: Sequence[Row]) -> set[int]:
    """Return which rows are to be resolved: of `summary` T = 1 and what may be the best temperature of each method.

    Bounds of neighbouring temperatures overlap. Which of them is the best is known once all that may be are resolved.
    """
    if resolve != "summary":
        return set(range(len(rows))) if resolve == "all" else set()
    floor: dict[tuple[object, ...], float] = {}
    for row in rows:
        # What is surely reached: a temperature whose upper bound lies below it cannot be the best.
        floor[_swept(row)] = max(floor.get(_swept(row), 0.0), row.auprc_lower or 0.0)
    return {
        i
        for i, row in enumerate(rows)
        if row.temperature in (None, 1) or (row.auprc_upper or 0.0) >= floor[_swept(row)]
    }


def _most_ordered(store: Store, plan: Plan, images: int) -> int:
    """Return of how many pairs a walk can collect all scores; 0 where those of a pair do not fit memory."""
    # Where figures are means over images, each image's are exact already.
    if plan.protocol.pooling == "images":
        return 0
    by_network = store.schema.kind == "pixel" and plan.protocol.pixel_size == "network"
    height, width = store.schema.input_size if by_network else store.schema.label_shape
    pair_bytes = max(1, images * height * width * SCORE_BYTES)
    return 0 if pair_bytes > ORDER_BYTES else max(1, ALL_BYTES // pair_bytes)


def _swept(row: Row) -> tuple[object, ...]:
    """Return what the rows of one sweep over T have in common."""
    return row.method, row.parameters, row.map_temperature, row.mask_temperature


def _resolved(
    truth: GroundTruth,
    plan: Plan,
    found: Mapping[Pair, Scored],
    images: Sequence[int],
    workers: int,
    advance: Callable[[], None],
    extend: Callable[[int], None],
    walker: Walk,
    every: bool = False,
) -> dict[Pair, Scored]:
    """Return those of the pairs that have a digit open, or every one, with the figures of all scores in order."""
    every = every and plan.protocol.pooling == "pixels"  # means over images are exact already
    with_curve = {pair: scored for pair, scored in found.items() if scored.curve and scored.curve.measurable}
    opened = [pair for pair, scored in with_curve.items() if every or has_open_digit(scored.row)]
    if not opened:
        return {}
    a_row, rows = next(iter(found.values())).row, dict[Pair, Row]()
    # Any row will do: all pairs of a plan are scored on the same pixels.
    pixels = a_row.pixels - a_row.positives, a_row.positives
    # Where all scores of a pair fit, a sort of them is faster than a third walk.
    all_fit = a_row.pixels * SCORE_BYTES <= ORDER_BYTES
    for group in _grouped(opened, a_row.pixels * SCORE_BYTES if all_fit else a_row.positives * PIXEL_BYTES):
        part = replace(plan, pairs=tuple(group))
        extend((1 if all_fit else 2) * len(images))
        if all_fit:
            everything = Everything(part, pixels, workers)
            figures = everything.finish(walker(truth, images, everything, workers, advance))
        else:
            positives = Positives(part, a_row.positives)
            between = Gaps(part, positives.finish(walker(truth, images, positives, workers, advance)))
            figures = between.finish(walker(truth, images, between, workers, advance))
        rows |= {pair: with_figures(found[pair].row, part, i, figures[i]) for i, pair in enumerate(group)}
    return {pair: found[pair]._replace(row=rows[pair]) for pair in opened}


def _grouped(pairs: Sequence[Pair], pair_bytes: int) -> list[Sequence[Pair]]:
    """Divide pairs into groups that fit memory, but at least one pair to a group."""
    most = max(1, ORDER_BYTES // max(1, pair_bytes))
    return [pairs[i : i + most] for i in range(0, len(pairs), most)]


def walks(plan: Plan, most: int | None = None) -> list[Plan]:
    """Divide a plan into parts, one for each walk, temperature by temperature.

    Parameters
    ----------
    most : pairs of a part, at most; None: as many as have counts that fit memory
    """
    most = min(most or len(plan.pairs), max(1, WALK_BYTES // PAIR_BYTES))
    temperatures = list(dict.fromkeys(pair.shared for pair in plan.pairs))
    # Methods at one temperature share their exponentials, which two walks would compute twice.
    by_temperature = sorted(plan.pairs, key=lambda pair: temperatures.index(pair.shared))
    return [replace(plan, pairs=tuple(by_temperature[i : i + most])) for i in range(0, len(by_temperature), most)]


def tally_store(store: Store, plan: Plan, images: Sequence[int], workers: int, advance: Callable[[], None]) -> Tally:
    """Count every pair of a plan over some images in a single walk; parameters and errors are those of `sweep`."""
    truth = GroundTruth(store, plan.protocol, images)
    return walk(truth, images, Histograms(store, plan, workers), workers, advance)


def compile_kernels(plan: Plan) -> None:
    """Compile the kernels that a plan needs by scoring an image of 2 x 2 zeros; code kept on disk is loaded."""
    specs, T, kind = plan.schema.arrays(), plan.temperatures[0], KINDS[plan.schema.kind]
    values = {name: np.zeros(specs[name].read_shape, specs[name].dtype) for name in kind.ARRAYS}
    # Code depends on types and numbers of dimensions alone, so that the smallest image compiles all of it.
    cut = {name: array[:, :2, :2] if array.ndim == 3 else array for name, array in values.items()}
    # One temperature is enough: to the kernels it is a number and no type.
    part = replace(plan, temperatures=(T,), pairs=tuple(p for p in plan.pairs if p.temperature in (None, T)))
    windows = [{name: np.ascontiguousarray(array) for name, array in cut.items()}]
    at, is_masks = sigmoid_at(plan.schema, plan.protocol), plan.schema.kind == "mask"
    # Two windows that overlap go the long way round, and a row of the evaluation is mixed of rows of both.
    size, beside = (2, 2), Geometry((3, 2), (3, 2), (2, 2), (2, 2), (2, 2), (2, 2), ((0, 0, 2, 2), (1, 0, 3, 2)))
    two = at == "window" or (is_masks and not isinstance(plan.schema, version1.Schema) and plan.schema.windows > 1)
    for logits in [kind.prepare(windows), *([kind.prepare(windows * 2, beside, at)] if two else [])]:
        picture, tally = Picture("", 0, "", logits, np.zeros(size, np.uint8)), Tally.zero(part)
        every = range(len(part.pairs))
        picture.count(part, every, tally.counts, tally.above)
        for _ in picture.score_bands(part, every, picture.labels):  # of a later walk
            pass
