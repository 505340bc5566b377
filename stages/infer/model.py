"""A network with its weights on a device, and the shapes that come out of it."""

from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import Size
from logitpipe.cache.format.schema import Kind
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.device.device import set_arithmetic
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.infer.networks import find_load
from logitpipe.stages.infer.networks.base import SegmentationNetwork
from logitpipe.stages.infer.networks.seam import Network, Source

OUTPUTS: dict[Kind, tuple[str, ...]] = {"pixel": ("logits",), "mask": ("mask_logits", "class_logits")}
"""What the networks of each kind give, in this order, as the store's arrays are called."""


Amp = Literal["none", "tf32", "bf16"]
"""What computes in float32; or products in TF32, on CUDA; or what torch's autocast lets compute in bfloat16."""

TF32_CAPABILITY = (8, 0)
"""Compute capability of the first GPUs that have TF32 (Ampere)."""


@dataclass(frozen=True)
class Model:
    """A network that is ready to run.

    Parameters
    ----------
    network : its module, in evaluation mode and on `device`, and what is known of it
    resize : how pictures come to its input
    device : where it runs
    amp : how it computes
    """

    network: Network
    resize: Resize
    device: torch.device
    amp: Amp = "none"

    @property
    def name(self) -> str:
        """Name of the network."""
        return self.network.name

    @property
    def kind(self) -> Kind:
        """Kind of the network, "pixel" or "mask"."""
        return self.network.kind

    @property
    def module(self) -> SegmentationNetwork:
        """The network itself."""
        return self.network.module

    @property
    def input_size(self) -> Size:
        """Height and width of its input, or of a window of it; where that depends on the picture, one that may be."""
        return self.resize.probe_size

    @property
    def merges_windows(self) -> bool:
        """Whether the logits of a picture's windows become one: those of pixels do, those of queries cannot."""
        return self.kind == "pixel" and self.resize.is_windowed

    @property
    def padding_colour(self) -> tuple[float, float, float]:
        """What pictures are padded with, in 0..1: the mean colour, or black in squares, as EoMT's authors have it."""
        return (0.0, 0.0, 0.0) if self.resize.base == "pad" else self.network.preprocessing.padding

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Run the network on images [B, 3, H, W]; its outputs by the names of the store's arrays.

        Raises PipeError for outputs of other shapes than the store was made for.
        """
        if self.device.type == "cuda":
            # For each pass anew: one picture is computed both ways to see what TF32 changes, and the code of a
            # foreign network may set it as it likes.
            set_arithmetic(self.amp == "tf32")
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp == "bf16"):
            outputs = self.module(images)
        named = dict(zip(OUTPUTS[self.kind], [outputs] if self.kind == "pixel" else outputs, strict=True))
        height, width = images.shape[2:]
        for array, shape in self.output_shapes((height, width)).items():
            # The store's arrays were laid out from `output_shapes`; a network may say one thing and do another.
            if named[array].shape != (len(images), *shape):
                raise PipeError(
                    f"{self.name} gave {array} of shape {tuple(named[array].shape)} for {len(images)} pictures, "
                    f"where {(len(images), *shape)} was expected; a network's outputs must not change their shape"
                )
        return named

    def output_shapes(self, input_size: Size) -> dict[str, tuple[int, ...]]:
        """Shapes of one image's outputs by array, for an input of (H, W) pixels; raises as `device_errors`."""
        with device_errors(self.device):  # a foreign network is run to see
            return dict(zip(OUTPUTS[self.kind], self.module.output_shapes(input_size), strict=True))


def load_model(source: Source, device: torch.device, amp: Amp = "none") -> Model:
    """Load a network and make it ready to run.

    Parameters
    ----------
    source : what the user says of it
    device : where it will run
    amp : how it will compute

    Raises
    ------
    PipeError
        The files cannot be read, or weights, network, flags and input size do not fit each other; or the device does
        not compute in such a precision, or has no room for the network.
    """
    if amp == "tf32" and (device.type != "cuda" or torch.cuda.get_device_capability(device) < TF32_CAPABILITY):
        raise PipeError(f"TF32 is computed by CUDA devices from Ampere on, and {device} is none", "amp-device")
    if amp == "bf16" and not _has_bfloat16(device):
        # Autocast raises on CUDA in the midst of the first pass, and on MPS only warns and computes in float32.
        raise PipeError(f"{device} does not compute in bfloat16 here", "amp-none")
    network = find_load(source.name)(source)
    channels = network.channels
    if (known := len(channels.names) - ((channels.void, channels.outlier) != (None, None))) < 2:
        # One logit of a pixel network can be written as two; a mask network with one class has nothing to compare.
        raise PipeError(
            f"scores compare classes, and {network.name} has {known} beside void",
            "two-channels" if network.kind == "pixel" and len(channels.names) < 2 else None,
        )
    resize = source.rule(network.resize, network.multiple)
    # Convolutions are faster with the channels innermost, which is also how pictures arrive.
    with device_errors(device):
        network.module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if device.type == "cuda":
        # It is recorded before the first pass, and importing the network may have changed it.
        set_arithmetic(amp == "tf32")
    return Model(network, resize, device, amp)


def _has_bfloat16(device: torch.device) -> bool:
    if device.type == "mps":
        return torch.backends.mps.is_macos_or_newer(14, 0)
    return device.type == "cpu" or torch.cuda.is_bf16_supported()
