"""ERFNet: Romera et al., "ERFNet: Efficient Residual Factorized ConvNet for Real-Time Semantic Segmentation".

IEEE Transactions on Intelligent Transportation Systems, 2018. State-dict keys are those of the authors' PyTorch
release. Dropout is left out: it does nothing at inference.
"""

from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional

from logitpipe.stages.infer.networks.base import (
    SegmentationNetwork,
    build_pixel_network,
    in_float32,
    load_pixel_network,
)
from logitpipe.stages.infer.networks.seam import Network, Source

# Not torch's default; a trained checkpoint is only right with the value it was trained with.
BATCH_NORM_EPS = 1e-3

# The encoder's own classifier, used when it is trained on its own and by nothing afterwards.
ENCODER_HEAD = ("encoder.output_conv.weight", "encoder.output_conv.bias")


class Downsampler(nn.Module):
    """[B, in, H, W] -> [B, out, H/2, W/2]: a strided convolution beside a max-pool."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        # The pooled branch brings the other channels.
        self.conv = nn.Conv2d(inputs, outputs - inputs, 3, stride=2, padding=1)
        self.pool = nn.MaxPool2d(2)
        self.bn = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Halve both sides."""
        return functional.relu(self.bn(torch.cat([self.conv(x), self.pool(x)], dim=1)))


class FactorizedResidual(nn.Module):
    """The paper's "Non-bottleneck-1D": two 3x3 convolutions as pairs of 3x1 and 1x3, the second pair dilated."""

    folds = (("conv1x3_1", "bn1"), ("conv1x3_2", "bn2"))

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        d = dilation
        self.conv3x1_1 = nn.Conv2d(channels, channels, (3, 1), padding=(1, 0))
        self.conv1x3_1 = nn.Conv2d(channels, channels, (1, 3), padding=(0, 1))
        self.bn1 = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)
        self.conv3x1_2 = nn.Conv2d(channels, channels, (3, 1), padding=(d, 0), dilation=(d, 1))
        self.conv1x3_2 = nn.Conv2d(channels, channels, (1, 3), padding=(0, d), dilation=(1, d))
        self.bn2 = nn.BatchNorm2d(channels, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        y = functional.relu(self.bn1(self.conv1x3_1(functional.relu(self.conv3x1_1(x)))))
        y = self.bn2(self.conv1x3_2(functional.relu(self.conv3x1_2(y))))
        return functional.relu(x + y)


class Upsampler(nn.Module):
    """[B, in, H, W] -> [B, out, 2H, 2W] by a transposed convolution."""

    folds = (("conv", "bn"),)

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.conv = nn.ConvTranspose2d(inputs, outputs, 3, stride=2, padding=1, output_padding=1)
        self.bn = nn.BatchNorm2d(outputs, eps=BATCH_NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Double both sides."""
        return functional.relu(self.bn(self.conv(x)))


class Encoder(nn.Module):
    """[B, 3, H, W] -> [B, 128, H/8, W/8]."""

    def __init__(self) -> None:
        super().__init__()
        self.initial_block = Downsampler(3, 16)
        self.layers = nn.Sequential(
            Downsampler(16, 64),
            *(FactorizedResidual(64, dilation=1) for _ in range(5)),
            Downsampler(64, 128),
            *(FactorizedResidual(128, dilation) for dilation in (2, 4, 8, 16) * 2),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Features at an eighth of the size."""
        return self.layers(self.initial_block(images))


class Decoder(nn.Module):
    """[B, 128, H/8, W/8] -> [B, C, H, W]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            Upsampler(128, 64),
            *(FactorizedResidual(64, dilation=1) for _ in range(2)),
            Upsampler(64, 16),
            *(FactorizedResidual(16, dilation=1) for _ in range(2)),
        )
        self.output_conv = nn.ConvTranspose2d(16, channels, 2, stride=2)

    def forward(self, x: Tensor) -> Tensor:
        """Logits at full size."""
        return in_float32(self.output_conv, self.layers(x))


class ERFNet(SegmentationNetwork):
    """ERFNet with C output channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.facts = {"channels": channels}
        self.encoder = Encoder()
        self.decoder = Decoder(channels)

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], RGB in 0..1, H and W multiples of 8 -> logits [B, C, H, W]."""
        return self.decoder(self.encoder(images))


def build(state: Mapping[str, Tensor]) -> ERFNet:
    """ERFNet with these weights; C is read off the last layer. PipeError where they do not fit."""
    return build_pixel_network(ERFNet, "decoder.output_conv.weight", state, ENCODER_HEAD)


def load(source: Source) -> Network:
    """ERFNet as a user names it; 19 channels are Cityscapes' classes by convention, and a twentieth is void."""
    return load_pixel_network(source, build)
