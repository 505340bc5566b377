"""Weights and inputs that a rule makes: the same numbers everywhere, and nothing to ship."""

import math
import zlib
from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from logitpipe.stages.infer.networks import enet, erfnet
from logitpipe.stages.infer.networks.base import SegmentationNetwork
from logitpipe.stages.infer.networks.enet import ENet
from logitpipe.stages.infer.networks.eomt import network as eomt
from logitpipe.stages.infer.networks.eomt.network import EoMT
from logitpipe.stages.infer.networks.erfnet import ERFNet

# The bar for agreement with a reference: float32, as a share of the output's standard deviation.
BAR = 1e-4

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def golden_entry(key: str, shape: Sequence[int]) -> Tensor:
    """One entry of a state dict, from its key and shape alone."""
    rng = np.random.default_rng(zlib.crc32(key.encode()))
    leaf = key.rpartition(".")[2]
    if leaf == "num_batches_tracked":
        return torch.zeros(tuple(shape), dtype=torch.int64)
    if leaf in ("pixel_mean", "pixel_std"):
        return torch.tensor(IMAGENET_MEAN if leaf == "pixel_mean" else IMAGENET_STD).view(1, 3, 1, 1)
    return torch.from_numpy(np.asarray(_draw(rng, leaf, shape), dtype=np.float32))


def _draw(rng: np.random.Generator, leaf: str, shape: Sequence[int]) -> np.ndarray:
    if leaf == "running_var":
        return 0.5 + rng.random(shape)
    if leaf == "gamma":
        return 0.5 + 0.5 * rng.random(shape)
    x = rng.standard_normal(shape)
    if len(shape) == 1:
        return (leaf == "weight") + 0.1 * x
    return x / math.sqrt(math.prod(shape[1:]) or 1)


def golden_state(keys: Iterable[tuple[str, Sequence[int]]]) -> dict[str, Tensor]:
    """State dict for these (key, shape) pairs."""
    return {key: golden_entry(key, shape) for key, shape in keys}


def golden_images(height: int, width: int, batch: int = 1) -> Tensor:
    """Images [B, 3, H, W] in 0..1."""
    rng = np.random.default_rng(20261122)
    return torch.from_numpy(rng.random((batch, 3, height, width), dtype=np.float32))


def outputs(network: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    """Outputs of a network of either kind, as a tuple."""
    with torch.inference_mode():
        result = network(images)
    return result if isinstance(result, tuple) else (result,)


def assert_agrees(ours: Tensor, reference: Tensor) -> None:
    """Fail where two outputs differ by more than the bar."""
    assert (ours - reference).abs().max() <= BAR * reference.std()


CHANNELS, QUERIES, CLASSES, BLOCKS = 5, 7, 4, 3

SMALL_EOMT = {
    "width": 128,
    "depth": 4,
    "heads": 2,
    "mlp_width": 192,
    "patch_size": 16,
    "register_tokens": 3,
    "queries": QUERIES,
    "classes": CLASSES,
    "query_blocks": BLOCKS,
    "attn_mask_probs": [0.0] * BLOCKS,
    "masked_attention": False,
}


def golden_weights(network: Callable[[], nn.Module]) -> dict[str, Tensor]:
    """State dict for the module that `network` makes."""
    with torch.device("meta"):
        module = network()
    return golden_state((key, like.shape) for key, like in module.state_dict().items())


def eomt_weights(
    grid: tuple[int, int] = (4, 4), probs: Sequence[float] = (0.0,) * BLOCKS, **facts: int
) -> dict[str, Tensor]:
    """State dict of a small EoMT, which may differ in some facts."""
    facts_of_all = SMALL_EOMT | {"attn_mask_probs": list(probs)} | facts
    return golden_weights(lambda: EoMT(facts_of_all, grid)) | {"attn_mask_probs": torch.tensor(probs)}


# How each built-in network is made of a state dict for inputs of one size.
BUILD: dict[str, Callable[[Mapping[str, Tensor], tuple[int, int]], SegmentationNetwork]] = {
    "erfnet": lambda state, _size: erfnet.build(state),
    "enet": lambda state, _size: enet.build(state),
    "eomt": eomt.build,
}

# One small checkpoint per network of the registry.
WEIGHTS: dict[str, Callable[[], dict[str, Tensor]]] = {
    "erfnet": lambda: golden_weights(lambda: ERFNet(CHANNELS)),
    "enet": lambda: golden_weights(lambda: ENet(CHANNELS)),
    "eomt": eomt_weights,
}
