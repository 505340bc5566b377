"""Train ERFNet on drawn scenes: `python -m training.erfnet --out erfnet.safetensors`."""

from functools import partial
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from logitpipe.demo.scenes.classes import VOID
from logitpipe.stages.infer.networks.erfnet import ERFNet
from training.batches import batch, batches, reduced
from training.loop import save, train
from training.measure import CLASSES, mean_iou
from training.options import begun, training_options

CHANNELS = CLASSES + 1
"""The last one is void: the camera's own car and the black edge, which the network can know."""


@click.command()
@training_options(steps=4000, rate=2e-3, seed=1)
@click.option("--reduce", "factor", default=1, show_default=True, help="Train on pictures this many times smaller.")
def main(
    out: Path,
    steps: int,
    minutes: float | None,
    batch_size: int,
    start: Path | None,
    factor: int,
    rate: float,
    seed: int,
    threads: int,
    held_out: int,
) -> None:
    """Train ERFNet with 20 channels on drawn scenes without any anomaly."""
    network = begun(fresh_network, seed, threads, start)
    data = (reduced(scenes, factor) for scenes in batches(seed, batch_size))
    weights = class_weights(batch(range(40))[1])
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=1e-3)

    def report(line: str, network: nn.Module) -> None:
        save(out, network.state_dict())
        found = mean_iou(network, partial(most_likely, network, factor=factor), held_out)
        click.echo(f"{line}, mean IoU {found:.4f}")

    train(network, partial(loss, network, weights), data, optimizer, steps, minutes, report)


def fresh_network() -> ERFNet:
    """ERFNet with random weights that keep the variance of what passes (He et al., ICCV 2015)."""
    network = ERFNet(CHANNELS)
    for module in network.encoder.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    return network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def class_weights(classes: Tensor) -> Tensor:
    """Weights of the channels, [C]: 1 / log(1.1 + share of pixels), of Paszke et al., "ENet", 2016."""
    counts = torch.bincount(_targets(classes).flatten(), minlength=CHANNELS)
    weights = 1 / torch.log(1.1 + counts / counts.sum())
    return weights / weights.mean()


def loss(network: nn.Module, weights: Tensor, images: Tensor, classes: Tensor) -> Tensor:
    """Cross entropy of the pixels, void a class of its own."""
    with torch.autocast("cpu", torch.bfloat16):
        logits = network(images)
    # In float32: bfloat16 has 8 bits of precision, too few for sums of exponentials.
    return functional.cross_entropy(logits.float(), _targets(classes), weights)


def most_likely(network: nn.Module, images: Tensor, factor: int = 1) -> Tensor:
    """Most likely of the 19 classes, [B, H, W], seen in a picture that is `factor` times smaller."""
    logits = network(functional.avg_pool2d(images, factor))[:, :CLASSES]
    return functional.interpolate(logits, images.shape[2:], mode="bilinear", align_corners=False).argmax(1)


def _targets(classes: Tensor) -> Tensor:
    return torch.where(classes == VOID, CLASSES, classes)


if __name__ == "__main__":
    main()
