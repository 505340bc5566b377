"""What both trainings are called with, and what they begin with."""

from collections.abc import Callable
from functools import reduce
from pathlib import Path
from typing import TypeVar

import click
import torch
from torch import nn

from training.loop import start_from

Function = TypeVar("Function", bound=Callable[..., None])
Network = TypeVar("Network", bound=nn.Module)


def training_options(steps: int, rate: float, seed: int) -> Callable[[Function], Function]:
    """Return a decorator that gives a command the options of a training, with defaults of its own."""
    options = (
        click.option("--out", required=True, type=click.Path(path_type=Path), help="The .safetensors to write."),
        click.option("--steps", default=steps, show_default=True),
        click.option("--minutes", type=float, help="End after this time, if that is before the last step."),
        click.option("--batch-size", default=4, show_default=True, help="Scenes in a step."),
        click.option("--start", type=click.Path(path_type=Path), help="Weights to start from, not random ones."),
        click.option("--rate", default=rate, show_default=True, help="Highest learning rate."),
        click.option("--seed", default=seed, show_default=True),
        click.option("--threads", default=1, show_default=True),
        click.option("--held-out", default=10, show_default=True, help="Scenes that measure on the way."),
    )
    return lambda function: reduce(lambda wrapped, option: option(wrapped), reversed(options), function)


def begun(fresh_network: Callable[[], Network], seed: int, threads: int, start: Path | None) -> Network:
    """Return the network to train: with random weights of the seed, or with those that `start` holds."""
    torch.manual_seed(seed)
    torch.set_num_threads(threads)
    network = fresh_network()
    if start:
        start_from(network, start)
    return network
