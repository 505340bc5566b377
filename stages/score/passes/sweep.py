"""The sweep: figures of every method at every temperature, in one walk, or in several if memory is short."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import Literal

import numpy as np

from logitpipe.cache import Store
from logitpipe.cache.format import version1
from logitpipe.cache.format.geometry import Geometry
from logitpipe.stages.score.figures.laying import Slack, Widths, density, lay
from logitpipe.stages.score.figures.rows import (
    Row,
    distance_to_rounding,
    has_open_digit,
    is_open,
    narrowed,
    with_figures,
)
from logitpipe.stages.score.kernels.counting.laid import Laid, cell_count, count_laid
from logitpipe.stages.score.kinds import KINDS
from logitpipe.stages.score.labels.ground_truth import GridTruth, GroundTruth
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.picture import Picture, sigmoid_at
from logitpipe.stages.score.plan import Pair, Plan
from logitpipe.stages.score.statistics.gaps import PIXEL_BYTES, Gaps, Positives
from logitpipe.stages.score.statistics.histograms import BIN_BYTES, Histograms, Scored
from logitpipe.stages.score.statistics.ordered import SCORE_BYTES
from logitpipe.stages.score.statistics.tally import PAIR_BYTES, Tally

Resolve = Literal["summary", "all", "none"]
"""Which pairs are resolved: T = 1 and what may be the best temperature of each method, every pair, or none."""

WALK_BYTES = 768 << 20
"""Memory for the counts of one walk, in bytes. A sweep that needs more is divided into several walks."""

ORDER_BYTES = 384 << 20
"""Memory for what one walk puts in order, in bytes."""

ALL_BYTES = 768 << 20
"""The same for the scores that a walk both counts and collects."""

LAID_BYTES = 384 << 20
"""Memory for the laid bins of one walk, in bytes."""

FIRST_BINS = 1 << 20
"""Of a pair, about, where the first walk counts in laid bins."""

LAST_BINS = 1 << 25
"""The same where as many are laid as fit."""

FIRST_WIDTHS, FIRST_SLACK = Widths(1e-6, 5e-7, 1e-6, 5e-7, 5e-7), Slack(0.03, 0.01)
"""What such bins are laid for. Narrower bounds leave fewer digits open, and take more bins."""

PILOT_STEP, PILOTS = 5, 50
"""Grid of pixels, and most images, that show how scores are spread before all are counted in laid bins."""

SHARES = (0.5, 0.0)
"""Of a figure's distance from its next rounding, how wide its bounds are made in each further walk.

With 0 there are as many bins as fit, mostly one for each number that float32 has where it matters. Scores that tie,
as the greatest of a few logits does, are known to do so in such a bin alone.
"""


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
    # Means over images are exact already.
    every = resolve == "all" and plan.protocol.pooling == "pixels"
    ordered = every and all_fit(store, plan, len(images))
    kept = partial(_to_resolve, resolve if plan.protocol.pooling == "pixels" else "none")
    found: dict[Pair, Scored] = {}
    for part in parts:
        laid = None
        if every and not ordered and not per_image:
            pilots, grid = images[:: -(-len(images) // PILOTS)], GridTruth(truth, PILOT_STEP)
            extend(len(pilots))
            laid = _first_laid(part, walker(grid, pilots, Histograms(store, part, workers), workers, advance))
        statistic = Histograms(store, part, workers, sketched, kept, per_image, ordered, laid)
        scored = statistic.finish(walker(truth, images, statistic, workers, advance))
        found |= zip(part.pairs, scored, strict=True)
    # After all parts: which temperature of a method may be the best is known when all of them have bounds.
    chosen = kept([found[pair].row for pair in plan.pairs])
    opened = {pair: found[pair] for i, pair in enumerate(plan.pairs) if i in chosen and found[pair].density}
    found |= _resolved(truth, plan, opened, images, workers, advance, extend, walker)
    # In a run over many stores these would be much for each row.
    return [found[pair]._replace(density=None) for pair in plan.pairs]


def _to_resolve(resolve: Resolve, rows: Sequence[Row]) -> set[int]:
    """Return which rows are to be resolved: of `summary` T = 1 and what may be the best temperature of each method.

    Bounds of neighbouring temperatures overlap. Which of them is the best is known once all that may be are resolved.
    """
    opened = set() if resolve == "none" else {i for i, row in enumerate(rows) if has_open_digit(row)}
    if resolve != "summary":
        return opened
    floor: dict[tuple[object, ...], float] = {}
    for row in rows:
        # What is surely reached: a temperature whose upper bound lies below it cannot be the best.
        floor[_swept(row)] = max(floor.get(_swept(row), 0.0), row.auprc_lower or 0.0)
    return {
        i for i in opened if rows[i].temperature in (None, 1) or (rows[i].auprc_upper or 0) >= floor[_swept(rows[i])]
    }


def _swept(row: Row) -> tuple[object, ...]:
    """Return what the rows of one sweep over T have in common."""
    return row.method, row.parameters, row.map_temperature, row.mask_temperature


def all_fit(store: Store, plan: Plan, images: int) -> bool:
    """Return whether one walk can collect the scores of all pixels of all pairs."""
    by_network = store.schema.kind == "pixel" and plan.protocol.pixel_size == "network"
    height, width = store.schema.input_size if by_network else store.schema.label_shape
    return len(plan.pairs) * images * height * width * SCORE_BYTES <= ALL_BYTES


def _first_laid(plan: Plan, pilots: Tally) -> tuple[Laid, ...] | None:
    """Return the bins in which all images are counted, by how some scores are spread; None if they do not say."""
    most, bins, reading = (
        WALK_BYTES // BIN_BYTES // len(plan.pairs),
        map(plan.bins, plan.pairs),
        plan.protocol.reading,
    )
    if not pilots.pixels.all():
        return None
    return tuple(
        lay(of_pair, density(pilots.curve(i), of_pair), FIRST_WIDTHS, reading, min(FIRST_BINS, most), FIRST_SLACK)
        for i, of_pair in enumerate(bins)
    )


def _resolved(
    truth: GroundTruth,
    plan: Plan,
    opened: dict[Pair, Scored],
    images: Sequence[int],
    workers: int,
    advance: Callable[[], None],
    extend: Callable[[int], None],
    walker: Walk,
) -> dict[Pair, Scored]:
    """Return pairs that have a digit open, once all their digits are certain.

    They are counted again in bins that are laid as narrow as a figure's distance from its next rounding asks for. The
    few that lie too near to it are put in order.
    """
    resolved = dict(opened)
    for share in SHARES:
        # Several pairs fit a walk, and are mostly content with few bins; at last each has as many as there may be.
        most = LAST_BINS if not share else max(FIRST_BINS, LAID_BYTES // BIN_BYTES // max(1, len(opened)))
        laid = {pair: _aimed(plan, pair, scored, share, most) for pair, scored in opened.items()}
        for group in _grouped({pair: BIN_BYTES * bins.count for pair, bins in laid.items()}, LAID_BYTES):
            part = replace(plan, pairs=tuple(group))
            extend(len(images))
            again = Histograms(
                truth.store, part, workers, kept=partial(_to_resolve, "all"), laid=tuple(map(laid.__getitem__, group))
            )
            for pair, scored in zip(group, again.finish(walker(truth, images, again, workers, advance)), strict=True):
                row = narrowed(resolved[pair].row, scored.row)
                resolved[pair] = resolved[pair]._replace(row=row, density=scored.density)
        opened = {pair: resolved[pair] for pair in opened if has_open_digit(resolved[pair].row)}
    positives = max((scored.row.positives for scored in opened.values()), default=0)
    for group in _grouped(dict.fromkeys(opened, positives * PIXEL_BYTES), ORDER_BYTES):
        part = replace(plan, pairs=tuple(group))
        extend(2 * len(images))
        ends = Positives(part, positives)
        between = Gaps(part, ends.finish(walker(truth, images, ends, workers, advance)))
        figures = between.finish(walker(truth, images, between, workers, advance))
        for i, pair in enumerate(group):
            resolved[pair] = resolved[pair]._replace(row=with_figures(resolved[pair].row, part, i, figures[i]))
    return resolved


def _aimed(plan: Plan, pair: Pair, scored: Scored, share: float, most: int) -> Laid:
    """Return bins that make the open digits of a pair certain, or as many as there may be."""
    row, found = scored.row, scored.density
    assert found is not None

    def width(name: str, least: float, most: float = np.inf) -> float:
        """Return how wide the bounds of a figure may be."""
        wanted = max(least, min(most, share * distance_to_rounding(getattr(row, name))))
        return wanted if is_open(row, name) else np.inf

    widths = Widths(
        auprc=width("auprc", 1e-9),
        auroc=width("auroc", 1e-9),
        # Where these two lie within their bounds is not known; and to look closely at one place takes few bins.
        fpr95=width("fpr95", 1e-10, 1e-10),
        best_f1=width("best_f1", 1e-9, 1e-7),
        best_iou=2e-7,
    )
    return lay(plan.bins(pair), found, widths, plan.protocol.reading, most)


def _grouped(sizes: Mapping[Pair, int], most: int) -> list[list[Pair]]:
    """Divide pairs, by their bytes, into groups of `most` bytes at most, but of at least one pair."""
    groups: list[list[Pair]] = []
    room = 0
    for pair, size in sizes.items():
        if size > room or not groups:
            groups.append([])
            room = most
        groups[-1].append(pair)
        room -= size
    return groups


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
        laid = tuple(Laid(each, np.zeros(cell_count(each), np.uint8)) for each in map(part.bins, part.pairs))
        tally = Tally.zero(part, laid)
        for i, scores, labels in picture.score_bands(part, every, picture.labels):  # of a later walk
            count_laid(scores, labels, laid[i].layout, laid[i].table, tally.of_pair(i))
            density(tally.curve(i), laid[i].bins)
