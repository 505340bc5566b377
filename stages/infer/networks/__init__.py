"""The networks that `pipe infer` can run, by name."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, Protocol

from torch import Tensor

from logitpipe.stages.infer.networks import enet, erfnet
from logitpipe.stages.infer.networks.base import SegmentationNetwork
from logitpipe.stages.infer.networks.eomt import network as eomt


class Build(Protocol):
    """From weights as `load_state_dict` gives them to a network ready for inference on inputs of one size."""

    def __call__(
        self, state: Mapping[str, Tensor], input_size: tuple[int, int], config: Mapping[str, Any] | None = None
    ) -> SegmentationNetwork:
        """Build, or raise PipeError where weights, input size (H, W) and config do not fit each other."""


@dataclass(frozen=True)
class Network:
    """An entry of the registry.

    A built network of kind "pixel" maps images [B, 3, H, W], RGB in 0..1, to logits [B, C, H, W]; one of kind
    "mask" maps them to mask logits [B, Q, h, w], at the network's own resolution, and class logits [B, Q, K + 1],
    the last of which is "no object". `input_size` is the default (H, W) in pixels.
    """

    kind: Literal["pixel", "mask"]
    input_size: tuple[int, int]
    build: Build


NETWORKS: dict[str, Network] = {
    "erfnet": Network("pixel", (512, 1024), erfnet.build),
    "enet": Network("pixel", (512, 1024), enet.build),
    "eomt": Network("mask", (640, 1280), eomt.build),
}
