"""Statistics of networks where nothing is anomalous, in a few walks over stores of such images."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from logitpipe.cache import PipeError, Store
from logitpipe.stages.score.fitted import Fitted, LeastNll, Source, identity_of
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, NORMAL
from logitpipe.stages.score.labels.ground_truth import DrawnTruth
from logitpipe.stages.score.labels.spaces import LabelSpace
from logitpipe.stages.score.passes.closed_set import ClassTruth
from logitpipe.stages.score.passes.walk import Walk, walk
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.protocols import Protocol, to_document
from logitpipe.stages.score.statistics.class_counts import ClassCounts, ClassTotal
from logitpipe.stages.score.statistics.in_distribution import InDistribution, InDistributionTotal

OCTAVES = 6
"""Temperatures from 2**-OCTAVES to 2**OCTAVES are searched for that of least negative log-likelihood."""

STEPS = (1.0, 0.2, 0.04)
"""Steps of the search, in octaves; each one is made around the best temperature of the one before."""

WALKS = 1 + len(STEPS)
"""Walks over a store whose masks name classes; else there is one."""


class NormalTruth(DrawnTruth):
    """Ground truth of images without an anomaly, where a picture without a mask counts as normal all over."""

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H, W) labels at the evaluation size, or None for an image that shows an anomaly."""
        labels = super().labels(image)
        # Without a mask nothing says that there is an anomaly, and a fit is asked for on pictures without any.
        if labels is not None and not any(self.store.image(image).labels):
            return np.full_like(labels, NORMAL)
        return None if labels is None or (labels == ANOMALY).any() else labels


class NormalClasses(ClassTruth):
    """Classes of the same images."""

    def __init__(self, store: Store, protocol: Protocol, table: np.ndarray, normal: NormalTruth) -> None:
        super().__init__(store, protocol, table)
        self.normal = normal

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H, W) classes; None for an image that shows an anomaly."""
        return None if self.normal.labels(image) is None else super().labels(image)


@dataclass(frozen=True)
class Fit:
    """A store to fit statistics on.

    Parameters
    ----------
    store : what is read
    plan : the pairs whose scores are wanted
    images : indices, all of them committed
    classes : label space, and class of each code of its masks (`closed_set.class_table`); None where these name none
    """

    store: Store
    plan: Plan
    images: Sequence[int]
    classes: tuple[LabelSpace, np.ndarray] | None = None

    @property
    def truth(self) -> NormalTruth:
        """Which pixels count."""
        return NormalTruth(self.store, self.plan.protocol, self.images)

    @property
    def walks(self) -> int:
        """How often each image is read."""
        return WALKS if self.classes else 1


def fitting_protocol(protocol: Protocol) -> Protocol:
    """Return a protocol as statistics are fitted under it: every pixel counts, and scores stay in their own unit."""
    return replace(
        protocol, skip_without_anomaly=False, thin_above=None, void_as_anomaly_on=frozenset(), min_max=frozenset()
    )


def fit(fits: Sequence[Fit], workers: int, advance: Callable[[], None], walker: Walk = walk) -> Fitted:
    """Return the statistics of one network over all of its stores.

    Parameters
    ----------
    fits : at least one, of the same network and the same pairs
    workers : threads
    advance : called `Fit.walks` times for each image, in this thread
    walker : who does the walks

    Raises
    ------
    IntegrityError
        An image is damaged.
    PipeError
        Every image of the stores shows an anomaly.
    """
    statistic = InDistribution(fits[0].plan)
    total, sources = statistic.zero(), []
    for each in fits:
        part: InDistributionTotal = walker(each.truth, each.images, statistic, workers, advance)
        total.add(part)
        left_out = len(each.images) - part.images
        store, schema = each.store, each.store.schema
        sources.append(Source(str(store.path), store.fingerprint, schema.dataset, part.images, part.pixels, left_out))
    if not total.pixels:
        raise PipeError(f"{fits[0].store.path}: no image is without an anomaly, so that there is nothing to fit on")
    return Fitted(
        identity_of(fits[0].store.schema),
        to_document(fits[0].plan.protocol),
        tuple(sources),
        statistic.finish(total),
        _least_nll([each for each in fits if each.classes], workers, advance, walker),
    )


def _least_nll(fits: Sequence[Fit], workers: int, advance: Callable[[], None], walker: Walk) -> LeastNll | None:
    """Return the temperature of least NLL over stores whose masks name classes; None where there is none."""
    pixels = 0

    def nll(temperatures: tuple[float, ...]) -> list[float]:
        """Return the mean NLL at each of some temperatures, in one walk over each store; NaN without pixels."""
        nonlocal pixels
        total, statistic = None, None
        for each in fits:
            assert each.classes is not None
            space, table = each.classes
            channels, groups = space.channels(each.store.schema)
            statistic = ClassCounts(channels, groups, len(space.classes), temperatures, of_map=True)
            truth = NormalClasses(each.store, each.plan.protocol, table, each.truth)
            part: ClassTotal = walker(truth, each.images, statistic, workers, advance)
            if total is None:
                total = part
            else:
                total.add(part)
        assert statistic is not None and total is not None
        figures = statistic.finish(total)
        pixels = figures[0].pixels
        return [np.nan if each.nll is None else each.nll for each in figures]

    found = least(nll) if fits else None
    return None if found is None else LeastNll(*found, pixels)


def least(nll: Callable[[tuple[float, ...]], Sequence[float]]) -> tuple[float, float, float] | None:
    """Search for the temperature of least negative log-likelihood.

    Three grids, each finer and around the best of the one before; then the vertex of the parabola through the best
    and its neighbours, over log T.

    Parameters
    ----------
    nll : temperatures -> their negative log-likelihoods

    Returns
    -------
    temperature, nll, nll at T = 1 : None where the least lies at an end of the range, or where there are no pixels
    """
    centre, around, at_1 = 0.0, float(OCTAVES), np.nan
    for step in STEPS:
        # Rounded, so that T = 1 is met exactly and the first grid holds it.
        octaves = np.round(centre + np.arange(-around, around + step / 2, step), 6)
        values = np.array(nll(tuple((2.0**octaves).tolist())))
        best = int(np.argmin(values))
        # At an end of the range the true least lies beyond it, and a number would pretend to have found it.
        if np.isnan(values).any() or not 0 < best < values.size - 1:
            return None
        if step == STEPS[0]:
            at_1 = float(values[octaves == 0][0])
        centre, around = float(octaves[best]), step
    before, here, after = values[best - 1 : best + 2]
    # Not positive only where three values are equal to the last bit: then the middle one serves.
    curvature = before - 2 * here + after
    shift = (before - after) / (2 * curvature) if curvature > 0 else 0.0
    return float(f"{2 ** (centre + shift * STEPS[-1]):.4g}"), float(here - curvature * shift**2 / 2), at_1
