"""The loop that both trainings share: steps, learning rate, log, checkpoints."""

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from logitpipe.stages.infer.weights.checkpoints import read_checkpoint

Loss = Callable[[Tensor, Tensor], Tensor]
"""Images [B, 3, H, W] and classes [B, H, W], 255 where void -> what is to become small."""

SECONDS_BETWEEN_REPORTS = 300.0
WARM_UP = 100
COUNTER = "num_batches_tracked"


def train(
    network: nn.Module,
    loss: Loss,
    data: Iterator[tuple[Tensor, Tensor]],
    optimizer: torch.optim.Optimizer,
    steps: int,
    minutes: float | None,
    report: Callable[[str, nn.Module], None],
) -> None:
    """Train a network in place.

    The learning rate warms up over the first steps and falls along a cosine to zero at the end.

    Parameters
    ----------
    network, loss, data, optimizer : what is trained, on what, towards what, and how
    steps : after so many it ends
    minutes : or after this time, if that is earlier; the learning rate then falls with the time
    report : called every few minutes and at the end, with how far it is
    """
    rates = [group["lr"] for group in optimizer.param_groups]
    started = reported = time.monotonic()
    step, recent = 0, 0.0
    while (done := progress(step, steps, time.monotonic() - started, minutes)) < 1:
        for group, rate in zip(optimizer.param_groups, rates, strict=True):
            # Set anew from the starting rate in each step, as the share that is done may depend on the time.
            group["lr"] = rate * learning_rate(step, done)
        value = advance(network, loss, optimizer, *next(data))
        step, recent = step + 1, value if not step else 0.98 * recent + 0.02 * value
        if time.monotonic() - reported > SECONDS_BETWEEN_REPORTS:
            report(f"step {step}, {(time.monotonic() - started) / 60:.1f} min, loss {recent:.3f}", network)
            reported = time.monotonic()
    report(f"end: step {step}, {(time.monotonic() - started) / 60:.1f} min, loss {recent:.3f}", network)


def progress(step: int, steps: int, seconds: float, minutes: float | None) -> float:
    """Return how much of a training is done, 0 to 1."""
    return max(step / steps, seconds / (60 * minutes) if minutes else 0.0)


def learning_rate(step: int, done: float) -> float:
    """Return the factor on the learning rate at a step, where this share of the training is done."""
    return min(1.0, (step + 1) / WARM_UP) * 0.5 * (1 + math.cos(math.pi * done))


def advance(
    network: nn.Module, loss: Loss, optimizer: torch.optim.Optimizer, images: Tensor, classes: Tensor
) -> float:
    """Take one step down the gradient and return the loss before it."""
    optimizer.zero_grad()
    value = loss(images, classes)
    value.backward()
    nn.utils.clip_grad_norm_(network.parameters(), 1.0)
    optimizer.step()
    return value.item()


def start_from(network: nn.Module, path: Path) -> None:
    """Load weights that `save` wrote into a network that goes on to train."""
    # `save` left the counters out, and load_state_dict refuses a state dict that lacks keys.
    counters = {key: value for key, value in network.state_dict().items() if key.endswith(COUNTER)}
    weights = {key: value for key, value in read_checkpoint(path).tensors.items() if key != "attn_mask_probs"}
    network.load_state_dict(weights | counters)


def save(path: Path, state: dict[str, Tensor]) -> None:
    """Write weights as float16 safetensors, whole or not at all; counters of batches are left out."""
    halves = {key: value.half().contiguous() for key, value in state.items() if not key.endswith(COUNTER)}
    # Written every few minutes: a training that is stopped while it writes must not lose the last whole file.
    part = path.with_suffix(".part")
    safetensors.torch.save_file(halves, part)
    part.replace(path)
