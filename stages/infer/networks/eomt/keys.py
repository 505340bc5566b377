"""The two layouts in which EoMT weights are shared: the authors' (upstream) and Hugging Face's."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError

POSITIONS = "encoder.backbone.pos_embed"

# Hugging Face's preprocessor normalises by ImageNet; upstream keeps the same numbers among the weights.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Pattern in a Hugging Face key -> its upstream spelling.
SPELLINGS = {
    r"^embeddings\.cls_token$": "encoder.backbone.cls_token",
    r"^embeddings\.register_tokens$": "encoder.backbone.reg_token",
    r"^embeddings\.position_embeddings\.weight$": POSITIONS,
    r"^embeddings\.patch_embeddings\.projection\.": "encoder.backbone.patch_embed.proj.",
    r"^layernorm\.": "encoder.backbone.norm.",
    r"^layers\.": "encoder.backbone.blocks.",
    r"\.attention\.out_proj\.": ".attn.proj.",
    r"\.attention\.qkv\.": ".attn.qkv.",
    r"\.layer_scale([12])\.lambda1$": r".ls\1.gamma",
    r"^query\.": "q.",
    r"^class_predictor\.": "class_head.",
    r"^mask_head\.fc1\.": "mask_head.0.",
    r"^mask_head\.fc2\.": "mask_head.2.",
    r"^mask_head\.fc3\.": "mask_head.4.",
    r"^upscale_block\.block\.": "upscale.",
    r"\.layernorm2d\.": ".norm.",
}


def upstream_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict with upstream's keys and shapes, from either layout; PipeError where a projection is missing."""
    if not any(key.startswith("embeddings.") for key in state):
        return dict(state)
    renamed = {_upstream_key(key): value for key, value in _fuse_projections(state).items()}
    if POSITIONS in renamed and renamed[POSITIONS].ndim == 2:
        renamed[POSITIONS] = renamed[POSITIONS][None]
    renamed["encoder.pixel_mean"] = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
    renamed["encoder.pixel_std"] = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return renamed


def _upstream_key(key: str) -> str:
    for pattern, spelling in SPELLINGS.items():
        key = re.sub(pattern, spelling, key)
    return key


def _fuse_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack each layer's query, key and value projections, in this order, under the key ``qkv``."""
    fused = dict(state)
    for key in state:
        if ".attention.q_proj." in key:
            parts = [key.replace("q_proj", name) for name in ("q_proj", "k_proj", "v_proj")]
            missing = [part for part in parts if part not in state]
            if missing:
                raise PipeError(f"Attention needs three projections; the weights lack {missing[0]}. Check --weights.")
            shapes = {tuple(state[part].shape) for part in parts}
            if len(shapes) > 1 or () in shapes:
                raise PipeError(
                    f"Attention needs projections of one shape; the weights have {sorted(shapes)} for {parts[0]} "
                    "and its two fellows. Check --weights."
                )
            fused[key.replace("q_proj", "qkv")] = torch.cat([fused.pop(part) for part in parts])
    return fused
