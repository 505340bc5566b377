"""AuPRC of single images: which of them a method does well on, and which badly."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from logitpipe.stages.score.figures import metrics
from logitpipe.stages.score.picture import Picture
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.statistics.histograms import PAIR_BYTES, Tally


@dataclass
class Areas:
    """AuPRC of each pair of a plan on each image by itself (see `statistics.Total`).

    Parameters
    ----------
    by_image : index of the image -> one figure for each pair; None is what does not exist, as where an image has no
        anomalous or no normal pixels
    """

    by_image: dict[int, list[float | None]] = field(default_factory=dict)

    @property
    def images(self) -> int:
        """How many images have been added."""
        return len(self.by_image)

    def add(self, other: "Areas") -> None:
        """Add those of other images."""
        self.by_image |= other.by_image

    def to_arrays(self) -> dict[str, np.ndarray]:
        """Return int64 (n,) images and float64 (n, pairs) areas, NaN for what does not exist."""
        areas = [[np.nan if area is None else area for area in row] for row in self.by_image.values()]
        return {"images": np.array(list(self.by_image), np.int64), "areas": np.array(areas, np.float64)}


@dataclass(frozen=True)
class ImageAreas:
    """AuPRC of each pair of a plan on each image by itself (see `statistics.Statistic`)."""

    plan: Plan

    @cached_property
    def expected_bytes(self) -> int:
        """See `Statistic`: while an image is counted, its histograms take up room."""
        return len(self.plan.pairs) * PAIR_BYTES

    def zero(self) -> Areas:
        """See `Statistic`."""
        return Areas()

    def of_image(self, picture: Picture, total: Areas, threads: int = 1) -> None:  # noqa: ARG002 - one is enough
        """Count one image into a tally of its own."""
        # No histogram outlives its image: only its area is kept.
        tally = Tally.zero(self.plan)
        picture.count(self.plan, range(len(self.plan.pairs)), tally.counts, tally.above)
        areas = (metrics.auprc(tally.curve(pair)) for pair in range(len(self.plan.pairs)))
        total.by_image[picture.image] = [area[0] if area else None for area in areas]

    def from_arrays(self, arrays: Mapping[str, np.ndarray]) -> Areas:
        """See `Statistic`."""
        if arrays["images"].size and arrays["areas"].shape[1:] != (len(self.plan.pairs),):
            raise ValueError(
                f"{len(self.plan.pairs)} areas of each image were expected, {arrays['areas'].shape} found"
            )
        rows = [[None if np.isnan(area) else float(area) for area in row] for row in arrays["areas"]]
        return Areas(dict(zip(arrays["images"].tolist(), rows, strict=True)))

    def finish(self, total: Areas) -> dict[int, list[float | None]]:
        """Return one AuPRC for each pair by the index of the image."""
        return dict(sorted(total.by_image.items()))
