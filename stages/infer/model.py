"""A network with its weights on a device, and the shapes that come out of it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import torch
from torch import Tensor

from logitpipe.cache.format.schema import Kind
from logitpipe.stages.infer.networks import NETWORKS
from logitpipe.stages.infer.networks.base import SegmentationNetwork
from logitpipe.stages.infer.networks.eomt.config import load_config
from logitpipe.stages.infer.networks.fold import fold_batch_norms
from logitpipe.stages.infer.weights.checkpoints import load_state_dict
from logitpipe.stages.infer.weights.weightfile import weights_sha256

OUTPUTS: dict[Kind, tuple[str, ...]] = {"pixel": ("logits",), "mask": ("mask_logits", "class_logits")}
"""What the networks of each kind give, in this order, as the store's arrays are called."""


Amp = Literal["none", "bf16"]
"""Mixed precision: what computes in float32, or what torch's autocast lets compute in bfloat16."""


@dataclass(frozen=True)
class Model:
    """A network that is ready to run.

    Parameters
    ----------
    name : registered name of the network
    kind : "pixel" or "mask"
    module : the network in evaluation mode, on `device`
    weights_sha256 : digest of the checkpoint file
    input_size : height and width of its input
    device : where it runs
    amp : how it computes
    """

    name: str
    kind: Kind
    module: SegmentationNetwork
    weights_sha256: str
    input_size: tuple[int, int]
    device: torch.device
    amp: Amp = "none"

    def logits(self, images: Tensor) -> dict[str, Tensor]:
        """Run the network on images [B, 3, H, W]; its outputs by the names of the store's arrays."""
        with torch.autocast(self.device.type, torch.bfloat16, enabled=self.amp == "bf16"):
            outputs = self.module(images)
        return dict(zip(OUTPUTS[self.kind], [outputs] if self.kind == "pixel" else outputs, strict=True))

    def output_shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of one image's outputs by array."""
        return dict(zip(OUTPUTS[self.kind], self.module.output_shapes(self.input_size), strict=True))


def load_model(
    name: str,
    weights: Path,
    config: Path | None,
    input_size: tuple[int, int] | None,
    device: torch.device,
    amp: Amp = "none",
) -> Model:
    """Build a registered network with the weights of a checkpoint.

    Parameters
    ----------
    name : key of `NETWORKS`
    weights : checkpoint file
    config : YAML file that the weights are checked against, where the network knows one
    input_size : height and width, where the network's own default is not wanted
    device : where it will run
    amp : how it will compute

    Raises
    ------
    PipeError
        The files cannot be read, or weights, network, config and input size do not fit each other.
    """
    network = NETWORKS[name]
    size = input_size or network.input_size
    module = network.build(load_state_dict(weights), size, load_config(config) if config else None)
    fold_batch_norms(module)
    # Convolutions are faster with the channels innermost, which is also how pictures arrive.
    module.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return Model(name, network.kind, module, weights_sha256(weights), size, device, amp)
