"""What a method is: its formula, where it comes from, what changes it, and how it is computed."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from logitpipe.stages.score.methods.scales import Scale

if TYPE_CHECKING:
    from logitpipe.stages.score.methods.accumulators import ClassSums
    from logitpipe.stages.score.plan import Pair
    from logitpipe.stages.score.protocols import Protocol as ScoringProtocol

TEMPERATURES = ("T", "T_S", "T_m")
"""What the class logits, the class map S and the mask logits are divided by."""


@dataclass(frozen=True)
class Fused:
    """A row of the fused kernels (`pixel_ranks`, `mask_ranks`), which share their sums in registers: the core."""

    row: int


@dataclass(frozen=True)
class FusedMore:
    """A row of the second fused kernel of mask networks (`mask_more`), compiled when one is first asked for."""

    row: int


@dataclass(frozen=True)
class OfClasses:
    """A finisher of sums over the classes of each pixel of a pixel network, at the evaluation size.

    Parameters
    ----------
    finish : (sums, **parameters) -> ranks, float32 (n,)
    """

    finish: "Callable[..., np.ndarray]"

    def ranks(self, sums: "ClassSums", parameters: Mapping[str, Any]) -> np.ndarray:
        """Return the ranks of a block of pixels: float32 (n,)."""
        return self.finish(sums, **parameters)


@dataclass(frozen=True)
class OfQueries:
    """A map that is made of a sum or a maximum over the queries at the masks' size, and then resampled.

    Those of all temperatures are made in one pass over M.

    Parameters
    ----------
    weights : (shares, **parameters) -> (Q,), what each M_q is multiplied by; for a maximum not negative
    over : what is taken of the products
    finish : (that, sum over queries of M), float32 (n,) each -> ranks, float32 (n,); they are affine in the scores,
        so that resampling the one resamples the other
    """

    weights: "Callable[..., np.ndarray]"
    over: Literal["sum", "max"]
    finish: Callable[[np.ndarray, np.ndarray], np.ndarray]


@dataclass(frozen=True)
class OfImage:
    """A map that needs the whole image at once, such as one that is smoothed.

    Parameters
    ----------
    ranks : (`kinds.whole.WholeImage`, **parameters) -> ranks, float32 (H, W)
    """

    ranks: Callable[..., np.ndarray]


@dataclass(frozen=True)
class Own:
    """A function of the user's (own.py).

    Parameters
    ----------
    function : of the arguments that it names
    at_masks : whether it is called once with maps of the masks' size, and what it returns is resampled
    """

    function: Callable[..., np.ndarray]
    at_masks: bool = False


@dataclass(frozen=True)
class OfMethods:
    """The mean of the z-scores of other methods, which the name says (`names.parts_of`)."""


class InDistribution(Protocol):
    """What was found of a network where nothing is anomalous (`pipe fit`)."""

    @property
    def sha256(self) -> str:
        """Digest of the file that it came from; empty where it came from none."""

    @property
    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the largest logit by predicted class: float64 (K,)."""

    def posteriors(self, T: float) -> np.ndarray:
        """Return the mean posteriors of the classes that occur: float64 (classes that occur, K)."""

    def score(self, pair: "Pair") -> tuple[float, float]:
        """Return mean and deviation of a pair's scores."""

    def require_protocol(self, protocol: "ScoringProtocol") -> None:
        """Raise a PipeError where scores have other formulas under a protocol."""


Computed = Fused | FusedMore | OfClasses | OfQueries | OfImage | Own | OfMethods


@dataclass(frozen=True)
class Parameter:
    """A number that a formula has beside its temperatures.

    Parameters
    ----------
    default : None stands for the number of classes
    least, most : what it may be
    whole : whether it is a whole number
    excluded : numbers between at which the formula does not exist
    """

    default: float | None
    least: float
    most: float
    whole: bool = False
    excluded: tuple[float, ...] = ()


@dataclass(frozen=True)
class Method:
    """A post-hoc anomaly score; higher means more anomalous.

    Parameters
    ----------
    formula : as the documentation prints it
    source : paper and year, or where else the formula is in use
    temperatures : which of TEMPERATURES change the order of its scores
    scale : how its scores become ranks and are counted
    computed : how its ranks are computed
    reference : the formula in float64, of what its parameters say. Pixel networks: z, logits (K, ...) of the classes,
        T, and `void`, the void channel (...). Mask networks: S, (K, ...), or Z_k = sum_q z_qk M_q, both at the size
        of evaluation, and T_S; or P, (Q, K + 1), and M, (Q, h, w), where the score is a single map before it is
        resampled; `segments`, (H, W), the query that claims each pixel. Its parameters come by their names, and
        so do statistics of in-distribution data
    aliases : other names that it goes by
    parameters : by name
    scaled : how scores are counted where that depends on the parameters, which it is given by name
    needs : what a store or a run must have: a void channel, or statistics of in-distribution data (`pipe fit`)
    """

    formula: str
    source: str
    temperatures: tuple[str, ...]
    scale: Scale
    computed: Computed
    reference: Callable[..., np.ndarray]
    aliases: tuple[str, ...] = ()
    parameters: Mapping[str, Parameter] = field(default_factory=dict)
    scaled: Callable[..., Scale] | None = None
    needs: Literal["", "void", "statistics"] = ""

    @property
    def core(self) -> bool:
        """Whether it is computed where no method is named."""
        return isinstance(self.computed, Fused)

    @property
    def own(self) -> bool:
        """Whether it is a function of the user's."""
        return isinstance(self.computed, Own)

    @property
    def temperature(self) -> bool:
        """Whether the temperature of the class logits changes the order of its scores."""
        return "T" in self.temperatures
