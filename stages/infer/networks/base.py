"""What the networks share: the facts they carry, the input sizes they take, the building of a pixel network."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from logitpipe.cache.errors import UsageError
from logitpipe.stages.infer.weights.checkpoints import fit, shape


class SegmentationNetwork(nn.Module):
    """A network with what its weights say about its architecture: `facts`, plain enough for JSON."""

    facts: dict[str, Any]

    def output_shapes(self, input_size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shapes of what `forward` gives for one image of (H, W) pixels, in its order: one logit per class and pixel.

        By arithmetic, as torch imports its compiler, seconds of it, to run a network without computing.
        """
        return ((self.facts["channels"], *input_size),)


MOST_PIXELS = 1 << 26
"""Of a network's input, 8192x8192: what is beyond no store could hold, and few machines compute."""

PixelNetwork = TypeVar("PixelNetwork", bound=SegmentationNetwork)


def check_input_size(size: tuple[int, int], multiple: int) -> None:
    """Raise UsageError unless both sides of the (H, W) in pixels are positive multiples, within what can be held."""
    if any(side < 1 or side % multiple for side in size):
        raise UsageError(
            f"Both sides of the network's input must be multiples of {multiple} pixels; "
            f"found {size[0]}x{size[1]} (HxW). Change --input-size."
        )
    if size[0] * size[1] > MOST_PIXELS:
        raise UsageError(
            f"The network's input may have at most {MOST_PIXELS} pixels; found {size[0]}x{size[1]} (HxW). "
            "Change --input-size."
        )


def build_pixel_network(
    network: Callable[[int], PixelNetwork],
    head: str,
    state: Mapping[str, Tensor],
    input_size: tuple[int, int],
    config: Mapping[str, Any] | None,
    unused: Collection[str] = (),
) -> PixelNetwork:
    """Build a network with three halvings whose `head` weight, [in, C, kh, kw], tells its number of channels.

    The module is made without storage and takes over the tensors of `state`, so there are no random weights
    that could be left in it. Raises PipeError for weights or an input size that do not fit, or for a config.
    """
    if config is not None:
        raise UsageError("--config describes an EoMT; this network is read off its weights. Leave --config out.")
    check_input_size(input_size, 8)
    with torch.device("meta"):
        module = network(shape(state, head, rank=4)[1])
    return fit(module, state, unused)
