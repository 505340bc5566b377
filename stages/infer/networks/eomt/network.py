"""EoMT: Kerssies et al., "Your ViT is Secretly an Image Segmentation Model", CVPR 2025.

A plain vision transformer whose last blocks also carry Q query tokens; each query predicts a class and a mask.
State-dict keys are those of the authors' release.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from logitpipe.cache.errors import UsageError
from logitpipe.stages.infer.data.geometry import Resize, check_input_size
from logitpipe.stages.infer.networks.base import SegmentationNetwork, conventional_channels, in_float32
from logitpipe.stages.infer.networks.eomt.backbone import complete
from logitpipe.stages.infer.networks.eomt.config import is_panoptic, load_config, stated_size
from logitpipe.stages.infer.networks.eomt.facts import read_facts
from logitpipe.stages.infer.networks.eomt.keys import POSITIONS
from logitpipe.stages.infer.networks.eomt.vit import NORM_EPS, ViT, embedding_grid, resize_position_embedding
from logitpipe.stages.infer.networks.seam import Network, Preprocessing, Source
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint
from logitpipe.stages.infer.weights.fitting import fit, shape
from logitpipe.stages.infer.weights.weightfile import joint_sha256


class LayerNorm2d(nn.LayerNorm):
    """Layer norm over the channels of [B, C, H, W]."""

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return super().forward(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class Upscale(nn.Module):
    """[B, D, h, w] -> [B, D, 2h, 2w]."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1 = nn.ConvTranspose2d(width, width, 2, stride=2)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, groups=width, bias=False)
        self.norm = LayerNorm2d(width, eps=NORM_EPS)

    def forward(self, x: Tensor) -> Tensor:
        """Double both sides."""
        return self.norm(self.conv2(functional.gelu(self.conv1(x))))


class Encoder(nn.Module):
    """The backbone with the normalisation of its input."""

    pixel_mean: Tensor
    pixel_std: Tensor

    def __init__(self, backbone: ViT) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("pixel_mean", torch.zeros(1, 3, 1, 1))
        self.register_buffer("pixel_std", torch.ones(1, 3, 1, 1))

    def forward(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] in 0..1 -> tokens [B, 1 + R + N, D] before the first block."""
        return self.backbone.tokens((images - self.pixel_mean) / self.pixel_std)


class Queries(nn.Embedding):
    """The tokens that become predictions, [Q, D]."""

    def reset_parameters(self) -> None:
        """Draw normal numbers, but not without storage: for those torch imports its compiler, seconds of it."""
        if not self.weight.is_meta:
            super().reset_parameters()


class EoMT(SegmentationNetwork):
    """EoMT with the given `facts` (see `read_facts`) for inputs of a grid of (h, w) patches."""

    def __init__(self, facts: dict[str, Any], grid: tuple[int, int]) -> None:
        super().__init__()
        width = facts["width"]
        self.facts = facts
        self.masked = [prob == 1 for prob in facts["attn_mask_probs"]]
        self.encoder = Encoder(ViT(facts, grid))
        self.q = Queries(facts["queries"], width)
        self.class_head = nn.Linear(width, facts["classes"] + 1)
        self.mask_head = nn.Sequential(
            nn.Linear(width, width), nn.GELU(), nn.Linear(width, width), nn.GELU(), nn.Linear(width, width)
        )
        # From patches to a quarter of the input's size, where the patch size is a power of two.
        doublings = max(1, int(math.log2(facts["patch_size"])) - 2)
        self.upscale = nn.Sequential(*(Upscale(width) for _ in range(doublings)))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W], RGB in 0..1 -> mask logits [B, Q, H/4, W/4] and class logits [B, Q, K + 1]."""
        blocks = list(self.encoder.backbone.blocks)
        # One mask share for each query block, and these are the last ones.
        first = len(blocks) - len(self.masked)
        x, rotation = self.encoder(images), self.encoder.backbone.rotation(images.device)
        for block in blocks[:first]:
            x = block(x, None, rotation)
        # Queries in front: `_normed` and `_attention_mask` count on this order (queries, class token, registers,
        # patches).
        x = torch.cat([self.q.weight.expand(len(x), -1, -1), x], dim=1)
        for block, masked in zip(blocks[first:], self.masked, strict=True):
            x = block(x, self._attention_mask(x) if masked else None, rotation)
        queries, patches = self._normed(x)
        return self._mask_logits(queries, patches), in_float32(self.class_head, queries)

    def output_shapes(self, _input_size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shapes of mask logits and class logits of one image: each stage of `upscale` doubles the grid's sides."""
        h, w = (side << len(self.upscale) for side in self.encoder.backbone.grid)
        return (self.facts["queries"], h, w), (self.facts["queries"], self.facts["classes"] + 1)

    def _normed(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Tokens [B, Q + 1 + R + N, D] -> normalised queries [B, Q, D] and patches [B, N, D]."""
        Q = self.q.num_embeddings
        x = self.encoder.backbone.norm(x)
        return x[:, :Q], x[:, Q + self.encoder.backbone.prefix_tokens :]

    def _mask_logits(self, queries: Tensor, patches: Tensor) -> Tensor:
        features = self.upscale(patches.transpose(1, 2).unflatten(2, self.encoder.backbone.grid))
        return in_float32(lambda q, f: torch.einsum("bqc,bchw->bqhw", self.mask_head(q), f), queries, features)

    def _attention_mask(self, x: Tensor) -> Tensor:
        """Where tokens may look, [B, 1, N', N'] bool: a query at all but the patches outside of its mask."""
        Q = self.q.num_embeddings
        masks = functional.interpolate(
            self._mask_logits(*self._normed(x)), self.encoder.backbone.grid, mode="bilinear"
        )
        # All true but the block of queries (rows) on patches (columns): class token and registers stay visible, so
        # no row is ever empty.
        allowed = torch.ones(len(x), x.shape[1], x.shape[1], dtype=torch.bool, device=x.device)
        allowed[:, :Q, Q + self.encoder.backbone.prefix_tokens :] = masks.flatten(2) > 0
        return allowed[:, None]


def build(
    state: Mapping[str, Tensor],
    input_size: tuple[int, int],
    config: Mapping[str, Any] | None = None,
    masked_attention: str = "checkpoint",
    base: Mapping[str, Tensor] | None = None,
) -> EoMT:
    """EoMT with these weights, its position embedding resized to the grid of `input_size` (H, W) in pixels.

    Parameters
    ----------
    state : weights in the authors' key layout or Hugging Face's; the architecture is read off them
    input_size : in pixels
    config : parsed yaml of the training, against which the weights are checked, where there is one
    masked_attention : "on", "off" or, as the weights have it, "checkpoint"
    base : weights of the backbone that those of `state` are differences to, None where they are whole

    Raises
    ------
    PipeError
        Where weights, config or input size do not fit each other.
    """
    weights = complete(state, base)
    facts = read_facts(weights, config, masked_attention)
    patch_size = facts["patch_size"]
    # Before the division below, which would silently drop what is left over.
    check_input_size(input_size, patch_size)
    grid = (input_size[0] // patch_size, input_size[1] // patch_size)
    if POSITIONS in weights:
        old = embedding_grid(shape(weights, POSITIONS, rank=3)[1], grid, _stated_grid(config, patch_size))
        weights[POSITIONS] = resize_position_embedding(weights[POSITIONS], old, grid)
    # Without memory: every tensor comes from the weights, and `fit` puts them in.
    with torch.device("meta"):
        module = EoMT(facts, grid)
    return fit(module, weights, unused=("attn_mask_probs",))


def load(source: Source) -> Network:
    """EoMT as a user names it; 19 classes are Cityscapes' and 133 COCO's by convention."""
    source.refuse_all_but("config", "masked_attention", "base_weights")
    own = source.own
    config = load_config(own["config"]) if "config" in own else None
    checkpoint = read_checkpoint(source.checkpoint(), source.weights_key)
    base = read_checkpoint(own["base_weights"]).tensors if "base_weights" in own else None
    weights = complete(checkpoint.tensors, base)
    patch_size = shape(weights, "encoder.backbone.patch_embed.proj.weight", rank=4)[2]
    rule = Resize.of(source.resize or _authors_rule(weights, config, patch_size), patch_size)
    if (size := rule.input_size) is None:
        raise UsageError(
            f"EoMT takes pictures of one size, and the rule {rule} brings many: its position embedding is of a fixed "
            "grid of patches",
            "fixed-size",
        )
    masked_attention = own.get("masked_attention", "checkpoint")
    module = build(checkpoint.tensors, size, config, masked_attention, base)
    # Read off the weights, as a checkpoint brings its own.
    mean, std = (tuple(value.flatten().tolist()) for value in (module.encoder.pixel_mean, module.encoder.pixel_std))
    files = [source.checkpoint(), *([own["base_weights"]] if base else [])]
    return Network(
        name=source.name,
        module=module,
        kind="mask",
        channels=conventional_channels(source, module.facts["classes"], ("cityscapes", "coco")),
        weights_sha256=joint_sha256(files),
        preprocessing=Preprocessing(mean, std),
        multiple=module.facts["patch_size"],
        resize=str(rule),
        input_size=size,
        # As upstream evaluates semantic and panoptic networks; squashed pictures are this project's own way.
        sigmoid_at="window" if rule.is_windowed else "picture" if rule.base == "pad" else "masks",
        notes=(*checkpoint.notes, *_attention_notes(checkpoint.tensors, masked_attention)),
    )


def _attention_notes(state: Mapping[str, Tensor], masked_attention: str) -> tuple[str, ...]:
    """Say where masks are off although the weights have some of them on."""
    probs = state.get("attn_mask_probs", torch.zeros(0)).tolist()
    if masked_attention != "checkpoint" or set(probs) <= {0.0, 1.0}:
        return ()
    shown = ", ".join(f"{prob:.3g}" for prob in probs)
    return (f"attn_mask_probs are {shown}: their annealing was not finished, so masked attention is off",)


def _stated_grid(config: Mapping[str, Any] | None, patch_size: int) -> tuple[int, int] | None:
    """Grid of the training's crops, (h, w) in patches, None where no config states it."""
    trained = stated_size(config)
    return trained and (trained[0] // patch_size, trained[1] // patch_size)


def _authors_rule(weights: Mapping[str, Tensor], config: Mapping[str, Any] | None, patch_size: int) -> str:
    """How the authors bring a picture to the input of a network of these weights.

    Upstream trains on squares. It cuts pictures into windows for semantic segmentation, and pads them for panoptic
    and instance segmentation: the config says which it is, or else the number of classes. A network of another shape
    is none of upstream's, and its pictures are squashed.

    The config says the size, or the position embedding does; with a rotary one only the config can.
    """
    if size := stated_size(config):
        h, w = size
    elif POSITIONS in weights:
        grid = embedding_grid(shape(weights, POSITIONS, rank=3)[1], (1, 2), None)
        h, w = grid[0] * patch_size, grid[1] * patch_size
    else:
        raise UsageError("weights without a position embedding tell no size of the input", "give-size-eomt")
    if h != w:
        return f"{h}x{w}"
    # Less the one for no object.
    classes = shape(weights, "class_head.weight", rank=2)[0] - 1
    return f"{'pad' if is_panoptic(config, classes) else 'windows'}:{h}"
