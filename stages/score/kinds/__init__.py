"""The two kinds of network, as scoring sees them: one image's logits, and what is computed from them.

`bands` are rows at the evaluation size, `canvas` joins windows into them; `queries` have M of one window,
`mask_blocks` the parts of an image that it is computed for, `planes` what is mixed of it.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import ClassVar, Protocol, Self

import numpy as np

from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kinds.mask import MaskLogits
from logitpipe.stages.score.kinds.pixel import PixelLogits
from logitpipe.stages.score.plan import Plan


class Logits(Protocol):
    """One image's logits, in the form that the kernels take."""

    ARRAYS: ClassVar[tuple[str, ...]]
    """Names of the store's arrays that they are read from."""

    @classmethod
    def prepare(
        cls,
        windows: Sequence[Mapping[str, np.ndarray]],
        geometry: Geometry | None = None,
        sigmoid_at: SigmoidAt = "masks",
    ) -> Self:
        """Take the arrays of one image, as they lie in the store.

        Parameters
        ----------
        windows : arrays by name, of each window
        geometry : of the image; None for one window without padding
        sigmoid_at : where a mask network takes the sigmoid of its mask logits

        Raises
        ------
        IntegrityError
            Some are NaN or infinite.
        """

    def count(self, plan: Plan, pairs: Sequence[int], labels: np.ndarray, counts: Counts, above: np.ndarray) -> None:
        """Count the scores of some pairs, and those that reach each threshold.

        Parameters
        ----------
        plan, pairs : what is counted: indices into the plan's pairs
        labels : uint8 (H, W) at the evaluation size
        counts : histograms of (pairs, places), added to
        above : int64 (pairs, thresholds, 2), normal and anomalous pixels, added to

        Raises
        ------
        IntegrityError
            Some logits are NaN or infinite.
        """

    def rank_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of pair, float32 (H, W) ranks) for some pairs, in no particular order; raises as `count`."""

    def rank_bands(
        self, plan: Plan, pairs: Sequence[int], labels: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield index of pair, ranks (n,) and labels (n,) of pixels that count; see `Picture.score_bands`."""

    def whole_maps(self, plan: Plan, pairs: Sequence[int], size: tuple[int, int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield the same for methods that need the whole image, or are the user's own.

        Raises as `count` and as `score_band`.
        """


KINDS: dict[str, type[Logits]] = {"pixel": PixelLogits, "mask": MaskLogits}
"""By the `kind` of a store."""
