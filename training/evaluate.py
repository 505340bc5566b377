"""Measure weights on held-out scenes: `python -m training.evaluate --network erfnet --weights FILE`."""

from collections.abc import Callable
from functools import partial
from pathlib import Path

import click
import torch
from torch import Tensor, nn

from logitpipe.demo.scenes.view import HEIGHT, WIDTH
from logitpipe.stages.classes import CITYSCAPES
from logitpipe.stages.infer.model import load_model
from logitpipe.stages.infer.networks.seam import Source
from training import eomt, erfnet
from training.measure import class_iou

MOST_LIKELY: dict[str, Callable[[nn.Module, Tensor], Tensor]] = {
    "erfnet": erfnet.most_likely,
    "eomt": eomt.most_likely,
}


@click.command()
@click.option("--network", required=True, type=click.Choice(list(MOST_LIKELY)))
@click.option("--weights", required=True, type=click.Path(path_type=Path))
@click.option("--scenes", default=40, show_default=True, help="How many scenes measure.")
def main(network: str, weights: Path, scenes: int) -> None:
    """Print the IoU of each class, and their mean, on scenes that no training sees, in per cent."""
    module = load_model(Source(network, weights, (HEIGHT, WIDTH)), torch.device("cpu")).module
    found = class_iou(partial(MOST_LIKELY[network], module), scenes)
    for each, value in zip(CITYSCAPES, found.tolist(), strict=True):
        click.echo(f"{each.name:<14}{100 * value:6.2f}")
    click.echo(f"{'mean':<14}{100 * found.nanmean().item():6.2f}")


if __name__ == "__main__":
    main()
