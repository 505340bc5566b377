"""Networks that cost nothing and whose logits are known, one of each kind."""

import torch
from torch import Tensor

from logitpipe.stages.infer.networks import Network
from logitpipe.stages.infer.networks.base import SegmentationNetwork

SIZE = (16, 32)
GAIN = torch.linspace(-9, 9, 20)


class Pixelwise(SegmentationNetwork):
    """Twenty channels, each a multiple of the brightness: no sum whose order could change a bit."""

    def __init__(self, gain: Tensor) -> None:
        super().__init__()
        self.facts = {"channels": len(gain)}
        self.gain = torch.nn.Parameter(gain, requires_grad=False)

    def forward(self, images: Tensor) -> Tensor:
        return images[:, :1] * self.gain[:, None, None]


class Queries(Pixelwise):
    """A mask network: as many queries as gains, four channels wide, at a quarter of the size."""

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        masks = super().forward(images)[:, :, ::4, ::4]
        return masks, masks.flatten(2)[..., :20]

    def output_shapes(self, input_size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        height, width = input_size
        return (len(self.gain), height // 4, width // 4), (len(self.gain), 20)


FAKES = {
    "enet": Network("pixel", SIZE, lambda state, _size, _config: Pixelwise(state["gain"])),
    "eomt": Network("mask", SIZE, lambda state, _size, _config: Queries(state["gain"])),
}
"""They take the places of real networks, as the command line knows no others."""
