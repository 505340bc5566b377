"""A store through a plan into counts: images are read ahead, counted by several workers, and summed."""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from queue import SimpleQueue

import numpy as np

from cache import IntegrityError, Store
from stages.score import mask, pixel
from stages.score.counting import count, count_above
from stages.score.ground_truth import GroundTruth
from stages.score.histogram import Tally
from stages.score.pixel import Values
from stages.score.plan import Plan
from stages.streams import ahead

COUNT = {"pixel": pixel.count_image, "mask": mask.count_image}
RANK_MAPS = {"pixel": pixel.rank_maps, "mask": mask.rank_maps}
LOGITS = {"pixel": ("logits",), "mask": ("mask_logits", "class_logits")}


@dataclass(frozen=True)
class Picture:
    """One image as it was read.

    Parameters
    ----------
    image : index in the store
    values : its logits by array name
    labels : uint8 (H, W) at the evaluation size
    """

    image: int
    values: Values
    labels: np.ndarray


def tally_store(store: Store, plan: Plan, images: Sequence[int], workers: int, advance: Callable[[], None]) -> Tally:
    """Count every pair of the plan over some images of a store.

    Parameters
    ----------
    images : indices, all of them committed
    workers : threads that count; as many read ahead of them
    advance : called once for each image, in this thread

    Raises
    ------
    IntegrityError
        An image is damaged; nothing is scored around it.
    PipeError
        A mask holds a code that the protocol does not know.
    """
    thresholds = plan.threshold_ranks()
    tallies: SimpleQueue[Tally] = SimpleQueue()
    for _ in range(workers):
        tallies.put(Tally.zero(plan))

    def count_one(picture: Picture | None) -> None:
        if picture is not None:
            tally = tallies.get()
            try:
                count_picture(store, plan, picture, thresholds, tally)
            finally:  # or whoever counts next would wait for ever
                tallies.put(tally)

    with ThreadPoolExecutor(workers) as readers, ThreadPoolExecutor(workers) as counters:
        truth = GroundTruth(store, plan.protocol, images)
        pictures = ahead(readers, lambda image: read_picture(store, truth, image), images, workers + 1)
        for _ in ahead(counters, count_one, pictures, workers + 1):
            advance()
    total = tallies.get()
    for _ in range(workers - 1):
        total.add(tallies.get())
    return total


def compile_kernels(store: Store, plan: Plan) -> None:
    """Compile what a plan needs, unless an earlier run has left it on disk: score four pixels of nothing."""
    specs, T = plan.schema.arrays(), plan.temperatures[0]
    values = {name: np.zeros(specs[name].image_shape, specs[name].dtype) for name in LOGITS[plan.schema.kind]}
    cut = {name: array[:, :2, :2] if array.ndim == 3 else array for name, array in values.items()}
    part = replace(plan, temperatures=(T,), pairs=tuple(p for p in plan.pairs if p.temperature in (None, T)))
    picture = Picture(
        0, {name: np.ascontiguousarray(array) for name, array in cut.items()}, np.zeros((2, 2), np.uint8)
    )
    count_picture(store, part, picture, part.threshold_ranks(), Tally.zero(part))


def read_picture(store: Store, truth: GroundTruth, image: int) -> Picture | None:
    """Read one image's labels and logits; None, and no logits read, where the protocol skips it."""
    labels = truth.labels(image)
    if labels is None:
        return None
    record = store.record(image)
    values = {name: store.read(name, image, record) for name in LOGITS[store.schema.kind]}
    return Picture(image, values, labels)


def count_picture(store: Store, plan: Plan, picture: Picture, thresholds: np.ndarray, tally: Tally) -> None:
    """Add one image to a tally: most pairs as they are scored, some after a minimum and maximum are known."""
    direct = [i for i, pair in enumerate(plan.pairs) if not plan.min_max(pair.method)]
    try:
        COUNT[plan.schema.kind](plan, direct, picture.values, picture.labels, thresholds, tally)
        _count_min_max(plan, picture, thresholds, tally)
    except IntegrityError as error:
        raise IntegrityError(f"{store.path}: image {plan.schema.images[picture.image]!r}: {error}") from error
    tally.images += 1
    tally.pixels += np.bincount(picture.labels.reshape(-1), minlength=2)[:2]


def score_maps(plan: Plan, picture: Picture) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of pair, float32 (H, W) scores) in the unit that each pair is pooled in."""
    every = list(range(len(plan.pairs)))
    for i, ranks in RANK_MAPS[plan.schema.kind](plan, every, picture.values, picture.labels.shape):
        if plan.min_max(plan.pairs[i].method):
            yield i, unit_scores(plan, i, ranks)
        else:
            yield i, ranks


def unit_scores(plan: Plan, pair: int, ranks: np.ndarray) -> np.ndarray:
    """Return one image's scores brought to 0..1 by their minimum and maximum; all 0 where they are equal."""
    scores = plan.formula(plan.pairs[pair], ranks)
    low, high = scores.min(), scores.max()
    return ((scores - low) / (high - low if high > low else 1)).astype(np.float32)


def _count_min_max(plan: Plan, picture: Picture, thresholds: np.ndarray, tally: Tally) -> None:
    pairs = [i for i, pair in enumerate(plan.pairs) if plan.min_max(pair.method)]
    labels, places = picture.labels.reshape(-1), np.empty(picture.labels.size, np.uint32)
    for i, ranks in RANK_MAPS[plan.schema.kind](plan, pairs, picture.values, picture.labels.shape):
        unit = unit_scores(plan, i, ranks).reshape(-1)
        count(unit, labels, plan.bins(plan.pairs[i]).layout, places, tally.counts[i])
        count_above(np.ascontiguousarray(ranks).reshape(-1), labels, thresholds[i], tally.above[i])
