"""A store through a plan into counts: images are read ahead, counted by several workers, and summed."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from logitpipe.cache import IntegrityError, Store
from logitpipe.stages.score.ground_truth import GroundTruth
from logitpipe.stages.score.kernels.counting import count, count_above
from logitpipe.stages.score.passes import mask, pixel
from logitpipe.stages.score.passes.lanes import Lanes
from logitpipe.stages.score.passes.tally import Tally, lost
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.streams import ahead, thread_pool

PREPARE: dict[str, Callable[..., Any]] = {"pixel": pixel.prepare, "mask": mask.prepare}
COUNT: dict[str, Callable[..., None]] = {"pixel": pixel.count_image, "mask": mask.count_image}
RANK_MAPS: dict[str, Callable[..., Iterator[tuple[int, np.ndarray]]]] = {
    "pixel": pixel.rank_maps,
    "mask": mask.rank_maps,
}
LOGITS = {"pixel": ("logits",), "mask": ("mask_logits", "class_logits")}


@dataclass(frozen=True)
class Picture:
    """One image as it was read.

    Parameters
    ----------
    image : index in the store
    logits : what `pixel.prepare` or `mask.prepare` gives
    labels : uint8 (H, W) at the evaluation size
    """

    image: int
    logits: Any
    labels: np.ndarray


def tally_store(store: Store, plan: Plan, images: Sequence[int], workers: int, advance: Callable[[], None]) -> Tally:
    """Count every pair of the plan over some images of a store.

    Workers count different images, each into a tally of its own, as far as memory goes; beyond that several of
    them share an image and a tally and count different temperatures.

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
        A mask holds a code that the protocol does not know, or the tally is not of all images. Whether it has all
        pixels of them is for `make_rows` to see.
    """
    thresholds, lanes = plan.threshold_ranks(), Lanes(plan, workers)
    truth = GroundTruth(store, plan.protocol, images)
    # One thread of linear algebra for each worker: sums keep their order, and cores their worker.
    with (
        threadpool_limits(1, "blas"),
        thread_pool(workers) as readers,
        thread_pool(lanes.count) as counters,
        thread_pool(workers) as sharers,
    ):

        def count_one(picture: Picture | None) -> bool:
            """Return whether the image counts: a protocol may skip it."""
            if picture is None:
                return False
            with lanes.tally() as tally:
                share = partial(count_pairs, store, plan, picture, thresholds, tally)
                list(sharers.map(share, lanes.parts))
                tally.add_image(picture.labels)
            return True

        scored = []
        pictures = ahead(readers, lambda image: read_picture(store, truth, image), images, workers + 1)
        for counts in ahead(counters, count_one, pictures, lanes.count + 1):
            scored.append(counts)
            advance()
    tally = lanes.total()
    if len(scored) != len(images) or tally.images != sum(scored):
        raise lost(store, len(images))
    return tally


def compile_kernels(store: Store, plan: Plan) -> None:
    """Compile what a plan needs, unless an earlier run has left it on disk: score four pixels of nothing."""
    specs, T = plan.schema.arrays(), plan.temperatures[0]
    values = {name: np.zeros(specs[name].image_shape, specs[name].dtype) for name in LOGITS[plan.schema.kind]}
    cut = {name: array[:, :2, :2] if array.ndim == 3 else array for name, array in values.items()}
    part = replace(plan, temperatures=(T,), pairs=tuple(p for p in plan.pairs if p.temperature in (None, T)))
    logits = PREPARE[plan.schema.kind]({name: np.ascontiguousarray(array) for name, array in cut.items()})
    picture = Picture(0, logits, np.zeros((2, 2), np.uint8))
    every, tally = list(range(len(part.pairs))), Tally.zero(part)
    count_pairs(store, part, picture, part.threshold_ranks(), tally, every)


def read_picture(store: Store, truth: GroundTruth, image: int) -> Picture | None:
    """Read one image's labels and logits; None, and no logits read, where the protocol skips it."""
    labels = truth.labels(image)
    if labels is None:
        return None
    record, kind = store.record(image), store.schema.kind
    values = {name: store.read(name, image, record) for name in LOGITS[kind]}
    with _naming(store, image):
        return Picture(image, PREPARE[kind](values), labels)


def count_pairs(
    store: Store, plan: Plan, picture: Picture, thresholds: np.ndarray, tally: Tally, pairs: Sequence[int]
) -> None:
    """Count some pairs of one image: most as they are scored, some after their minimum and maximum are known."""
    direct = [i for i in pairs if not plan.min_max(plan.pairs[i].method)]
    with _naming(store, picture.image):
        COUNT[plan.schema.kind](plan, direct, picture.logits, picture.labels, thresholds, tally)
        _count_min_max(plan, [i for i in pairs if i not in direct], picture, thresholds, tally)


def score_maps(store: Store, plan: Plan, picture: Picture) -> Iterator[tuple[int, np.ndarray]]:
    """Yield (index of pair, float32 (H, W) ranks), or scores from 0 to 1 where the protocol pools those."""
    every = list(range(len(plan.pairs)))
    with _naming(store, picture.image):
        for i, ranks in RANK_MAPS[plan.schema.kind](plan, every, picture.logits, picture.labels.shape):
            yield i, unit_scores(plan, i, ranks) if plan.min_max(plan.pairs[i].method) else ranks


def unit_scores(plan: Plan, pair: int, ranks: np.ndarray) -> np.ndarray:
    """Return one image's scores brought to 0..1 by their minimum and maximum; all 0 where they are equal."""
    scores = plan.formula(plan.pairs[pair], ranks)
    low, high = scores.min(), scores.max()
    return ((scores - low) / (high - low if high > low else 1)).astype(np.float32)


def _count_min_max(plan: Plan, pairs: list[int], picture: Picture, thresholds: np.ndarray, tally: Tally) -> None:
    labels = picture.labels.reshape(-1)
    for i, ranks in RANK_MAPS[plan.schema.kind](plan, pairs, picture.logits, picture.labels.shape):
        unit = unit_scores(plan, i, ranks).reshape(-1)
        count(unit, labels, plan.bins(plan.pairs[i]).layout, tally.of_pair(i))
        count_above(np.ascontiguousarray(ranks).reshape(-1), labels, thresholds[i], tally.above[i])


@contextmanager
def _naming(store: Store, image: int) -> Iterator[None]:
    """Say which image is damaged."""
    try:
        yield
    except IntegrityError as error:
        raise IntegrityError(f"{store.path}: image {store.schema.images[image]!r}: {error}") from error
