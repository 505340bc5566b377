"""Complete a backbone's weights: add parts that it lacks, and add differences to their base weights.

A vision transformer without registers, class position or layer scale is one with none, a sum and ones; so there is
one network for all.
"""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.networks.eomt.keys import POSITIONS, is_rotary, upstream_layout
from logitpipe.stages.infer.weights.checkpoints import some
from logitpipe.stages.infer.weights.fitting import shape

BACKBONE = "encoder.backbone."
CLASS, REGISTERS = f"{BACKBONE}cls_token", f"{BACKBONE}reg_token"

LEAST_NORM = 0.02
"""Mean size of the layer norms' weights below which they are differences: those of trained backbones are near 1."""


def complete(state: Mapping[str, Tensor], base: Mapping[str, Tensor] | None) -> dict[str, Tensor]:
    """Return EoMT weights in upstream's layout with every part that the network has.

    Parameters
    ----------
    state : weights as a checkpoint has them
    base : weights of the backbone that those of `state` are differences to, None where they are whole

    Raises
    ------
    PipeError
        The base lacks a weight or has another shape; or the weights are differences and no base was given.
    """
    weights = upstream_layout(state)
    if base is not None:
        # In one layout: keys of differences and base must be the same before they are added.
        weights |= _sums(weights, upstream_layout(base))
    elif is_rotary(state):
        _refuse_differences(weights)
    if not is_rotary(state):
        shape(weights, POSITIONS, rank=3)
    if CLASS in weights and weights[CLASS].ndim == 3:
        _complete_prefix(weights)
    for key in [key for key in weights if key.endswith(".norm2.weight") and key.startswith(BACKBONE)]:
        for scale in ("ls1", "ls2"):
            # A factor of one changes nothing: a backbone without layer scale is one whose scales are all one.
            weights.setdefault(key.replace("norm2.weight", f"{scale}.gamma"), torch.ones_like(weights[key]))
    return weights


def _complete_prefix(weights: dict[str, Tensor]) -> None:
    """Add the registers that are not there; a position of the class token, which backbones without have, joins it."""
    if REGISTERS in weights:
        return
    weights[REGISTERS] = weights[CLASS][:, :0]
    positions = weights.get(POSITIONS)
    if positions is not None and _has_class(positions.shape[1]):
        # The network adds positions to patches alone, so the class token takes its own position in here.
        weights[CLASS] = weights[CLASS] + positions[:, :1]
        weights[POSITIONS] = positions[:, 1:]


def _has_class(count: int) -> bool:
    """Whether so many positions are those of a square grid and one more, or, of an oblong one, an odd number."""
    return not _is_square(count) and (_is_square(count - 1) or count % 2 == 1)


def _is_square(count: int) -> bool:
    return math.isqrt(count) ** 2 == count


def _sums(weights: Mapping[str, Tensor], base: Mapping[str, Tensor]) -> dict[str, Tensor]:
    keys = [key for key in weights if key.startswith(BACKBONE)]
    if odd := [key for key in keys if key not in base or base[key].shape != weights[key].shape]:
        raise PipeError(
            f"base weights hold every weight of the backbone in its shape, and {len(odd)} of {len(keys)} are not so: "
            f"{some(odd)}",
            "base-weights",
        )
    return {key: base[key] + weights[key] for key in keys}


def _refuse_differences(weights: Mapping[str, Tensor]) -> None:
    ends = ("norm1.weight", "norm2.weight")
    norms = [weights[key] for key in weights if key.startswith(BACKBONE) and key.endswith(ends)]
    if norms and float(torch.cat([norm.flatten() for norm in norms]).abs().mean()) < LEAST_NORM:
        raise UsageError("these weights are differences to those of a DINOv3 backbone", "base-weights")
