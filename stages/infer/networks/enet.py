"""ENet: Paszke et al., "ENet: A Deep Neural Network Architecture for Real-Time Semantic Segmentation", 2016.

State-dict keys are those of the layout in which most PyTorch checkpoints of ENet are shared: PReLU in the
encoder, ReLU in the decoder, no biases. Dropout is left out: it does nothing at inference. Batch norms are not
folded: where two values of a pooling window are all but equal, other rounding puts one in another place.
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

Activation = type[nn.PReLU] | type[nn.ReLU]


def unit(conv: nn.Conv2d, activation: Activation) -> nn.Sequential:
    """A convolution with its batch norm and activation."""
    return nn.Sequential(conv, nn.BatchNorm2d(conv.out_channels), activation())


def square(channels: int, activation: Activation, dilation: int = 1) -> nn.Sequential:
    """A 3x3 convolution that keeps the shape, dilated or not."""
    conv = nn.Conv2d(channels, channels, 3, padding=dilation, dilation=dilation, bias=False)
    return unit(conv, activation)


def asymmetric(channels: int, activation: Activation) -> nn.Sequential:
    """A 5x5 convolution that keeps the shape, as 5x1 and 1x5."""
    column = nn.Conv2d(channels, channels, (5, 1), padding=(2, 0), bias=False)
    row = nn.Conv2d(channels, channels, (1, 5), padding=(0, 2), bias=False)
    return nn.Sequential(*unit(column, activation), *unit(row, activation))


class InitialBlock(nn.Module):
    """[B, 3, H, W] -> [B, 16, H/2, W/2]: a strided convolution beside a max-pool."""

    def __init__(self) -> None:
        super().__init__()
        self.main_branch = nn.Conv2d(3, 13, 3, stride=2, padding=1, bias=False)
        self.ext_branch = nn.MaxPool2d(3, stride=2, padding=1)
        self.batch_norm = nn.BatchNorm2d(16)
        self.out_activation = nn.PReLU()

    def forward(self, images: Tensor) -> Tensor:
        """Halve both sides."""
        both = torch.cat([self.main_branch(images), self.ext_branch(images)], dim=1)
        return self.out_activation(self.batch_norm(both))


class Bottleneck(nn.Module):
    """A residual block that works on a quarter of its channels; `spatial` is the convolution in its middle."""

    def __init__(self, channels: int, spatial: nn.Sequential, activation: Activation) -> None:
        super().__init__()
        inner = channels // 4
        self.ext_conv1 = unit(nn.Conv2d(channels, inner, 1, bias=False), activation)
        self.ext_conv2 = spatial
        self.ext_conv3 = unit(nn.Conv2d(inner, channels, 1, bias=False), activation)
        self.out_activation = activation()

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return self.out_activation(x + self.ext_conv3(self.ext_conv2(self.ext_conv1(x))))


class Downsampling(nn.Module):
    """[B, in, H, W] -> [B, out, H/2, W/2], and where each maximum was, for the decoder."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = inputs // 4
        self.main_max1 = nn.MaxPool2d(2, return_indices=True)
        self.ext_conv1 = unit(nn.Conv2d(inputs, inner, 2, stride=2, bias=False), nn.PReLU)
        self.ext_conv2 = square(inner, nn.PReLU)
        self.ext_conv3 = unit(nn.Conv2d(inner, outputs, 1, bias=False), nn.PReLU)
        self.out_activation = nn.PReLU()

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Halve both sides; the channels that the pooled branch lacks are zero."""
        main, indices = self.main_max1(x)
        ext = self.ext_conv3(self.ext_conv2(self.ext_conv1(x)))
        # Channels are the third from last: so many zero planes behind them.
        main = functional.pad(main, (0, 0, 0, 0, 0, ext.shape[1] - main.shape[1]))
        return self.out_activation(main + ext), indices


class Upsampling(nn.Module):
    """[B, in, H, W] -> [B, out, 2H, 2W]; the main branch puts values back where the maxima were."""

    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        inner = inputs // 4
        self.main_conv1 = nn.Sequential(nn.Conv2d(inputs, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.main_unpool1 = nn.MaxUnpool2d(2)
        self.ext_conv1 = unit(nn.Conv2d(inputs, inner, 1, bias=False), nn.ReLU)
        self.ext_tconv1 = nn.ConvTranspose2d(inner, inner, 2, stride=2, bias=False)
        self.ext_tconv1_bnorm = nn.BatchNorm2d(inner)
        self.ext_conv2 = nn.Sequential(nn.Conv2d(inner, outputs, 1, bias=False), nn.BatchNorm2d(outputs))

    def forward(self, x: Tensor, indices: Tensor) -> Tensor:
        """Double both sides."""
        main = self.main_unpool1(self.main_conv1(x), indices)
        ext = functional.relu(self.ext_tconv1_bnorm(self.ext_tconv1(self.ext_conv1(x))))
        return functional.relu(main + self.ext_conv2(ext))


def context(stage: int, first: int) -> dict[str, Bottleneck]:
    """Name -> block: the eight bottlenecks that widen the view in stages 2 and 3, numbered from `first`."""
    middles = [
        ("regular", square(32, nn.PReLU)),
        ("dilated", square(32, nn.PReLU, dilation=2)),
        ("asymmetric", asymmetric(32, nn.PReLU)),
        ("dilated", square(32, nn.PReLU, dilation=4)),
        ("regular", square(32, nn.PReLU)),
        ("dilated", square(32, nn.PReLU, dilation=8)),
        ("asymmetric", asymmetric(32, nn.PReLU)),
        ("dilated", square(32, nn.PReLU, dilation=16)),
    ]
    return {
        f"{kind}{stage}_{number}": Bottleneck(128, middle, nn.PReLU)
        for number, (kind, middle) in enumerate(middles, start=first)
    }


def regular(stage: int, count: int, channels: int, activation: Activation) -> dict[str, Bottleneck]:
    """Name -> block: plain bottlenecks, numbered from 1."""
    return {
        f"regular{stage}_{number}": Bottleneck(channels, square(channels // 4, activation), activation)
        for number in range(1, count + 1)
    }


class ENet(SegmentationNetwork):
    """ENet with C output channels."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.facts = {"channels": channels}
        self.initial_block = InitialBlock()
        self.downsample1_0 = Downsampling(16, 64)
        self.stage1 = self._add(regular(1, 4, 64, nn.PReLU))
        self.downsample2_0 = Downsampling(64, 128)
        self.stage2 = self._add(context(2, first=1))
        self.stage3 = self._add(context(3, first=0))
        self.upsample4_0 = Upsampling(128, 64)
        self.stage4 = self._add(regular(4, 2, 64, nn.ReLU))
        self.upsample5_0 = Upsampling(64, 16)
        self.stage5 = self._add(regular(5, 1, 16, nn.ReLU))
        self.transposed_conv = nn.ConvTranspose2d(16, channels, 3, stride=2, padding=1, output_padding=1, bias=False)

    def _add(self, blocks: Mapping[str, nn.Module]) -> tuple[str, ...]:
        """Register blocks under their checkpoint names, which are flat, and return the names in order."""
        for name, block in blocks.items():
            self.add_module(name, block)
        return tuple(blocks)

    def _run(self, names: tuple[str, ...], x: Tensor) -> Tensor:
        for name in names:
            x = self.get_submodule(name)(x)
        return x

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W], RGB in 0..1, H and W multiples of 8 -> logits [B, C, H, W]."""
        x, half = self.downsample1_0(self.initial_block(images))
        x, quarter = self.downsample2_0(self._run(self.stage1, x))
        x = self._run(self.stage2 + self.stage3, x)
        # The decoder puts values back where the encoder, at the same size, had found its maxima.
        x = self._run(self.stage4, self.upsample4_0(x, quarter))
        x = self._run(self.stage5, self.upsample5_0(x, half))
        return in_float32(self.transposed_conv, x)


def build(state: Mapping[str, Tensor]) -> ENet:
    """ENet with these weights; C is read off the last layer. PipeError where they do not fit."""
    return build_pixel_network(ENet, "transposed_conv.weight", state)


def load(source: Source) -> Network:
    """ENet as a user names it; 19 channels are Cityscapes' classes by convention, and a twentieth is void."""
    return load_pixel_network(source, build)
