"""The seam between `pipe infer` and a network: what a user says of one, and what whoever loads it gives back.

Everything downstream (the loop, the store's schema, what is printed) sees a `Network` and nothing of where it came
from. Nothing here loads torch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from logitpipe.cache.errors import UsageError
from logitpipe.cache.format.geometry import Size
from logitpipe.cache.format.schema import Kind
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.networks.channels import Channels

if TYPE_CHECKING:
    from logitpipe.stages.infer.networks.base import SegmentationNetwork


@dataclass(frozen=True)
class Source:
    """A network as a user names it.

    Parameters
    ----------
    name : as given: a key of `NETWORKS`, or whatever else names a network
    weights : checkpoint file or folder; None where the network brings its own
    resize : how pictures come to its input: a rule of `data.geometry`, or a height and a width to squash to; None for
        what its authors do
    weights_key : which of several state dicts in the checkpoint
    classes, void_class, outlier_class : what its channels are, as `channels.name_channels` reads it
    own : flags that only some networks know, by name, such as ``config`` for EoMT; never with a value of None
    """

    name: str
    weights: Path | None = None
    resize: str | Size | None = None
    weights_key: str | None = None
    classes: str | None = None
    void_class: str | None = None
    outlier_class: str | None = None
    own: Mapping[str, Any] = field(default_factory=dict)

    def rule(self, default: str, multiple: int) -> Resize:
        """Return the rule that the user gives, or else the default; UsageError where it is none for this network."""
        return Resize.of(self.resize or default, multiple)

    def checkpoint(self) -> Path:
        """Return the path of the weights; UsageError where none was given."""
        if self.weights is None:
            raise UsageError(f"the network {self.name} brings no weights, and none were given", "give-weights")
        return self.weights

    def refuse_all_but(self, *known: str) -> None:
        """Raise UsageError for a flag of other networks: it would be ignored without a word."""
        if foreign := [name for name in self.own if name not in known]:
            raise UsageError(f"it is for other networks than {self.name}", "leave-out", option=foreign[0])


@dataclass(frozen=True)
class Preprocessing:
    """What becomes of a pixel's values, RGB, 8 bits: divided by 255, times `range`, minus `mean`, divided by `std`.

    The network itself does all but the division by 255; this is the record of it, and `mean` the colour to pad with.

    Parameters
    ----------
    mean, std : of the three colours, in the order in which the network takes them
    range : the greatest value of a pixel
    colour : that order, "RGB", or "BGR" as OpenCV reads pictures
    """

    mean: tuple[float, float, float] = (0.0, 0.0, 0.0)
    std: tuple[float, float, float] = (1.0, 1.0, 1.0)
    range: float = 1.0
    colour: str = "RGB"

    @property
    def padding(self) -> tuple[float, float, float]:
        """Red, green and blue in 0..1 that become 0 as the network sees them."""
        first, second, third = (mean / self.range for mean in self.mean)
        return (third, second, first) if self.colour == "BGR" else (first, second, third)


@dataclass(frozen=True)
class Network:
    """A network that is ready for inference, and all that must be known of it to run it and to score its logits.

    Parameters
    ----------
    name : of the network, short, as stores and tables have it
    module : from pictures [B, 3, H, W], RGB in 0..1, to logits. Of kind "pixel": [B, C, h, w]. Of kind "mask": mask
        logits [B, Q, h, w] at the network's own resolution and class logits [B, Q, K + 1], the last "no object"
    kind : "pixel" or "mask"
    channels : names of the C channels, or of the K classes, and which of them are void or outlier
    weights_sha256 : digest of the weights
    preprocessing : what the module does to a picture's values first
    multiple : in pixels, which both sides of its input must be multiples of
    resize : how a picture comes to its input, as the user says or else as its authors do: a rule of `data.geometry`
    input_size : height and width of its input where it takes no other, else None
    sigmoid_at : where its authors take the sigmoid of mask logits: "masks", their own resolution; (h, w), to which
        they are resampled first; "window", that of the input; "picture". Pixel networks have none
    notes : lines about it that whoever runs it must see
    """

    name: str
    module: "SegmentationNetwork"
    kind: Kind
    channels: Channels
    weights_sha256: str
    preprocessing: Preprocessing
    multiple: int
    resize: str
    input_size: Size | None = None
    sigmoid_at: SigmoidAt = "masks"
    notes: tuple[str, ...] = ()
