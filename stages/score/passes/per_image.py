"""AuPRC of single images: which of them a method does well on, and which badly."""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor

from threadpoolctl import threadpool_limits

from logitpipe.cache import Store
from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.ground_truth import GroundTruth
from logitpipe.stages.score.passes.sweep import count_pairs, read_picture
from logitpipe.stages.score.passes.tally import Tally
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.streams import ahead


def image_areas(
    store: Store, plan: Plan, images: Sequence[int], workers: int, advance: Callable[[], None]
) -> dict[int, list[float | None]]:
    """Return the AuPRC of each pair of a plan on each image by itself.

    None is what does not exist: an image without anomalous or without normal pixels. Images that the protocol skips
    are left out.

    Parameters
    ----------
    images : indices, all of them committed
    workers : threads that count, each a different image
    advance : called once for each image, in this thread

    Raises
    ------
    IntegrityError
        An image is damaged.
    PipeError
        A mask holds a code that the protocol does not know.
    """
    truth, thresholds = GroundTruth(store, plan.protocol, images), plan.threshold_ranks()

    def areas(image: int) -> list[float | None] | None:
        """Return one image's AuPRC by pair; None where the protocol skips it."""
        picture = read_picture(store, truth, image)
        if picture is None:
            return None
        tally = Tally.zero(plan)
        count_pairs(store, plan, picture, thresholds, tally, range(len(plan.pairs)))
        return [_area(tally, plan, pair) for pair in range(len(plan.pairs))]

    found = {}
    with threadpool_limits(1, "blas"), ThreadPoolExecutor(workers) as pool:
        for image, result in zip(images, ahead(pool, areas, images, workers), strict=True):
            if result is not None:
                found[image] = result
            advance()
    return found


def _area(tally: Tally, plan: Plan, pair: int) -> float | None:
    area = metrics.auprc(tally.curve(plan, pair))
    return area[0] if area else None
