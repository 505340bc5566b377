"""What the built-in networks share: facts they carry, sizes they take, the loading of a pixel network."""

from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from logitpipe.stages.classes import CLASS_LISTS
from logitpipe.stages.infer.networks.channels import LAST, NONE, Channels, name_channels
from logitpipe.stages.infer.networks.fold import fold_batch_norms
from logitpipe.stages.infer.networks.seam import Network, Preprocessing, Source
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint
from logitpipe.stages.infer.weights.fitting import fit, shape
from logitpipe.stages.infer.weights.weightfile import weights_sha256


class SegmentationNetwork(nn.Module):
    """A network with what its weights say about its architecture: `facts`, plain enough for JSON."""

    facts: dict[str, Any]

    def output_shapes(self, input_size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shapes of what `forward` gives for one image of (H, W) pixels, in its order: one logit per class and pixel.

        By arithmetic, as torch imports its compiler, seconds of it, to run a network without computing.
        """
        return ((self.facts["channels"], *input_size),)


def in_float32(head: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
    """Run the last layer of a network in float32, also where autocast lets the others run in bfloat16.

    Of bfloat16's 8 bits a logit near 20 keeps steps of 0.125: most pixels would share their score with others.
    Without autocast nothing changes, not even a bit.
    """
    with torch.autocast(inputs[0].device.type, enabled=False):
        return head(*(x.float() for x in inputs))


PixelNetwork = TypeVar("PixelNetwork", bound=SegmentationNetwork)


def build_pixel_network(
    network: Callable[[int], PixelNetwork], head: str, state: Mapping[str, Tensor], unused: Collection[str] = ()
) -> PixelNetwork:
    """Build a network whose `head` weight, [in, C, kh, kw], tells its number of channels.

    The module is made without storage and takes over the tensors of `state`, so there are no random weights
    that could be left in it. Raises PipeError for weights that do not fit.
    """
    with torch.device("meta"):
        module = network(shape(state, head, rank=4)[1])
    return fit(module, state, unused)


def load_pixel_network(source: Source, build: Callable[[Mapping[str, Tensor]], SegmentationNetwork]) -> Network:
    """Load a built-in pixel network: three halvings, 512x1024, pictures in 0..1 as they are.

    Parameters
    ----------
    source : what the user says of it
    build : from its state dict to the module, whose facts hold the number of `channels`

    Raises
    ------
    PipeError
        The weights cannot be read or do not fit, or nothing says which classes the channels are.
    """
    source.refuse_all_but()
    checkpoint = read_checkpoint(source.checkpoint(), source.weights_key)
    module = build(checkpoint.tensors)
    # In evaluation a batch norm is linear, and can be a part of the convolution before it.
    fold_batch_norms(module)
    return Network(
        name=source.name,
        module=module,
        kind="pixel",
        channels=conventional_channels(source, module.facts["channels"]),
        weights_sha256=weights_sha256(source.checkpoint()),
        preprocessing=Preprocessing(),
        multiple=8,
        resize="512x1024",
        notes=checkpoint.notes,
    )


def conventional_channels(source: Source, count: int, lists: Collection[str] = ("cityscapes",)) -> Channels:
    """Name channels as the user declares them, and what is not declared as most checkpoints of the network have them.

    That is a list of the right length, or one that is shorter by one, the last channel then being void. It is a
    convention, not knowledge, so it is printed; any other number of channels must be declared.

    Parameters
    ----------
    source : with the user's flags
    count : of channels
    lists : keys of `CLASS_LISTS` that are usual
    """
    # One more than the list: the usual way to train void along is a last channel for it.
    usual = next((name for name in lists if count - len(CLASS_LISTS[name]) in (0, 1)), None)
    classes, void, outlier = source.classes or usual, source.void_class, source.outlier_class
    if source.classes is None and void is None and outlier in (None, NONE) and usual:
        void = LAST if count > len(CLASS_LISTS[usual]) else NONE
        return name_channels(count, classes, void, outlier, f"by the convention of {source.name} checkpoints")
    return name_channels(count, classes, void, outlier, "as declared")
