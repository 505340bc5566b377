"""Vision transformer with registers, as DINOv2 and DINOv3 have it.

Dosovitskiy et al., "An Image is Worth 16x16 Words", ICLR 2021; Oquab et al., "DINOv2", TMLR 2024; Darcet et al.,
"Vision Transformers Need Registers", ICLR 2024; Simeoni et al., "DINOv3", 2025. State-dict keys are timm's: one fused
query-key-value layer, layer scale, and a position embedding for the patches alone, which DINOv3 does without.
"""

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from logitpipe.cache.errors import PipeError

HEAD_WIDTH = 64
"""Of the backbones that EoMT has: their number of heads is their width over it."""

NORM_EPS = 1e-6
ROTARY_NORM_EPS = 1e-5
"""Of DINOv3's layer norms."""

ROTARY_BASE = 100.0
"""How much slower the slowest of DINOv3's rotations is than the fastest."""

Rotation = tuple[Tensor, Tensor]
"""Cosines and sines, [N, HEAD_WIDTH] each, by which queries and keys of N patches are turned."""


class PatchEmbed(nn.Module):
    """[B, 3, H, W] -> [B, D, h, w], one vector per patch."""

    def __init__(self, width: int, patch_size: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch_size, stride=patch_size)

    def forward(self, images: Tensor) -> Tensor:
        """Project every patch."""
        return self.proj(images)


class Attention(nn.Module):
    """Multi-head self-attention with heads 64 wide."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, mask: Tensor | None, rotation: Rotation | None) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D].

        `mask` says where each may look, [B, 1, N, N] bool, None for everywhere; `rotation` turns the last tokens, the
        patches.
        """
        q, k, v = self.qkv(x).unflatten(2, (3, -1, HEAD_WIDTH)).permute(2, 0, 3, 1, 4)
        if rotation:
            q, k = rotated(q, rotation), rotated(k, rotation)
        y = functional.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        return self.proj(y.transpose(1, 2).flatten(2))


class LayerScale(nn.Module):
    """A learned factor per channel (Touvron et al., "Going deeper with Image Transformers", ICCV 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """Scale the last dimension."""
        return x * self.gamma


class Mlp(nn.Module):
    """Two linear layers with a GELU between them."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        return self.fc2(functional.gelu(self.fc1(x)))


class GatedMlp(nn.Module):
    """SwiGLU (Shazeer, "GLU Variants Improve Transformer", 2020): `fc1` gives gates, then what they gate."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, 2 * hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        """Keep the shape."""
        gates, values = self.fc1(x).chunk(2, dim=-1)
        return self.fc2(functional.silu(gates) * values)


class Block(nn.Module):
    """Pre-norm transformer block with layer scale."""

    def __init__(self, width: int, mlp: nn.Module, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width)
        self.ls1 = LayerScale(width)
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = mlp
        self.ls2 = LayerScale(width)

    def forward(self, x: Tensor, mask: Tensor | None = None, rotation: Rotation | None = None) -> Tensor:
        """Tokens [B, N, D] -> [B, N, D]; `mask` and `rotation` as in `Attention`."""
        x = x + self.ls1(self.attn(self.norm1(x), mask, rotation))
        return x + self.ls2(self.mlp(self.norm2(x)))


class ViT(nn.Module):
    """The backbone's parts; the network that owns it runs the blocks, because it adds tokens half-way.

    Parameters
    ----------
    facts : `read_facts` of the network
    grid : patches of its input, (h, w)
    """

    pos_embed: nn.Parameter

    def __init__(self, facts: Mapping[str, Any], grid: tuple[int, int]) -> None:
        super().__init__()
        width, registers, self.rotary = facts["width"], facts["register_tokens"], facts.get("rotary", False)
        mlp, eps = GatedMlp if facts.get("gated_mlp") else Mlp, ROTARY_NORM_EPS if self.rotary else NORM_EPS
        self.grid = grid
        self.prefix_tokens = 1 + registers
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.reg_token = nn.Parameter(torch.zeros(1, registers, width))
        positions = nn.Parameter(torch.zeros(1, grid[0] * grid[1], width))
        # Registered as None, so that the state dict of a rotary network has no such key and `fit` expects none.
        self.register_parameter("pos_embed", None if self.rotary else positions)
        self.patch_embed = PatchEmbed(width, facts["patch_size"])
        self.blocks = nn.ModuleList(Block(width, mlp(width, facts["mlp_width"]), eps) for _ in range(facts["depth"]))
        self.norm = nn.LayerNorm(width, eps=eps)

    def tokens(self, images: Tensor) -> Tensor:
        """Images [B, 3, H, W] -> tokens [B, 1 + R + N, D]: class, registers, patches row by row.

        Raises PipeError for images of another grid: one of as many patches would get the wrong positions.
        """
        patches = self.patch_embed(images)
        if patches.shape[2:] != self.grid:
            raise PipeError(
                f"Images must have the size that the network was built for, {self.grid[0]}x{self.grid[1]} patches; "
                f"found {patches.shape[2]}x{patches.shape[3]}. Build it for their size."
            )
        prefix = torch.cat([self.cls_token, self.reg_token], dim=1).expand(len(images), -1, -1)
        tokens = patches.flatten(2).transpose(1, 2)
        return torch.cat([prefix, tokens if self.rotary else tokens + self.pos_embed], dim=1)

    def rotation(self, device: torch.device) -> Rotation | None:
        """Rotary position embedding of the grid's patches; None where the network has a learned one."""
        return rotation_of(self.grid, device) if self.rotary else None


def rotation_of(grid: tuple[int, int], device: torch.device) -> Rotation:
    """Rotary position embedding of DINOv3 for a (h, w) grid: a quarter of a head's numbers for each side, twice over.

    The angle of frequency f at a patch is 2 pi times its centre's place from -1 to 1, divided by base^(4 f / width).
    """
    # 16 frequencies: times two sides, and times two for the pairs in `rotated`, they fill the 64 numbers of a head.
    frequencies = ROTARY_BASE ** -torch.arange(0, 1, 4 / HEAD_WIDTH, dtype=torch.float32, device=device)
    y, x = (2 * (torch.arange(side, dtype=torch.float32, device=device) + 0.5) / side - 1 for side in grid)
    centres = torch.stack(torch.meshgrid(y, x, indexing="ij"), dim=-1).flatten(0, 1)
    angles = (2 * math.pi * centres[:, :, None] * frequencies).flatten(1).tile(2)
    return angles.cos(), angles.sin()


def rotated(x: Tensor, rotation: Rotation) -> Tensor:
    """Turn the last tokens of [B, heads, N, HEAD_WIDTH]; number i of a head makes a pair with number i + half."""
    # Only the patches have a place; class token, registers and queries stand before them and are not turned.
    cos, sin = (values.to(x.dtype) for values in rotation)
    before, patches = x[..., : -len(cos), :], x[..., -len(cos) :, :]
    first, second = patches.chunk(2, dim=-1)
    turned = patches * cos + torch.cat([-second, first], dim=-1) * sin
    return torch.cat([before, turned], dim=-2)


def embedding_grid(tokens: int, grid: tuple[int, int], declared: tuple[int, int] | None) -> tuple[int, int]:
    """Grid (h, w) that a position embedding of that many tokens was trained on.

    That is the `declared` grid where there is one, else one of the same shape as the input's `grid`, else a square.
    Raises PipeError where none of these has that many tokens, or where both of the latter do.
    """
    candidates = {declared} if declared else {_scaled(grid, tokens), _scaled((1, 1), tokens)}
    # Two grids of as many tokens are an error: a wrong one would give wrong logits without any sign.
    fitting = [(h, w) for h, w in candidates if h * w == tokens]
    if len(fitting) != 1:
        tried = " or ".join(f"{h}x{w}" for h, w in sorted(candidates))
        raise PipeError(
            f"The grid of the position embedding must be known; the weights have {tokens} positions, "
            f"which {'may be any' if fitting else 'is none'} of {tried}",
            "state-img-size",
        )
    return fitting[0]


def _scaled(grid: tuple[int, int], tokens: int) -> tuple[int, int]:
    """Largest grid of the same aspect with at most that many tokens."""
    divisor = math.gcd(*grid)
    h, w = grid[0] // divisor, grid[1] // divisor
    unit = math.isqrt(tokens // (h * w))
    return h * unit, w * unit


def resize_position_embedding(embedding: Tensor, old: tuple[int, int], new: tuple[int, int]) -> Tensor:
    """Position embedding [1, h w, D] of an `old` (h, w) grid -> of a `new` one, bicubically; the same if equal."""
    if old == new:
        return embedding
    image = embedding.unflatten(1, old).permute(0, 3, 1, 2)
    image = functional.interpolate(image, size=new, mode="bicubic", align_corners=False)
    return image.flatten(2).transpose(1, 2)
