"""Memory order of logits: networks give channels innermost, stores want one plane for each channel."""

import torch
from torch import Tensor

STRIP = 8
"""Rows that are reordered together; so few stay in a CPU's second-level cache."""


def planes(logits: Tensor) -> Tensor:
    """[B, C, H, W] in any order of memory -> the same in C order; what has it already, or other axes, stays."""
    if logits.is_contiguous() or logits.device.type != "cpu" or logits.ndim != 4:
        return logits.contiguous()
    turned = torch.empty(logits.shape, dtype=logits.dtype)
    for y in range(0, logits.shape[2], STRIP):
        # Strip by strip and not in one call, so that it stays in the cache: see STRIP.
        turned[:, :, y : y + STRIP] = logits[:, :, y : y + STRIP]
    return turned


def all_finite(logits: Tensor) -> Tensor:
    """[B, ...] in C order -> bool [B]: whether no logit of an image is NaN or infinite.

    Sums of rows are finite only where all of a row is, and a CPU has them in a third of the time of the rest; they
    may overflow where no logit is to blame. The least and the greatest of an image are NaN where any is: two passes,
    and no map of what is finite.
    """
    if logits.device.type == "cpu" and logits.sum(-1).isfinite().all():
        return torch.ones(len(logits), dtype=torch.bool)
    images = logits.flatten(1)
    return images.amin(1).isfinite() & images.amax(1).isfinite()
