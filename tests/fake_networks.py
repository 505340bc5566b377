"""Networks that cost nothing and whose logits are known, one of each kind."""

from functools import partial

import torch
from torch import Tensor

from logitpipe.stages.infer.networks.base import SegmentationNetwork, conventional_channels
from logitpipe.stages.infer.networks.seam import Network, Preprocessing, Source
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint
from logitpipe.stages.infer.weights.weightfile import weights_sha256

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


def fake(kind, network, source: Source) -> Network:
    """Load such a network, with what its class is made of, as the seam wants it."""
    checkpoint = read_checkpoint(source.checkpoint(), source.weights_key)
    module = network(checkpoint.tensors["gain"])
    channels = len(module.gain) if kind == "pixel" else module.output_shapes(SIZE)[1][1] - 1
    return Network(
        name=source.name,
        module=module,
        kind=kind,
        channels=conventional_channels(source, channels),
        weights_sha256=weights_sha256(source.checkpoint()),
        preprocessing=Preprocessing(),
        multiple=4,
        resize="{}x{}".format(*SIZE),
        notes=checkpoint.notes,
    )


FAKES = {"enet": partial(fake, "pixel", Pixelwise), "eomt": partial(fake, "mask", Queries)}
"""They take the places of real networks, as the command line knows no others."""
