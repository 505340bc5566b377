"""Convert the key layouts of EoMT weights (upstream, Hugging Face) to upstream's."""

import re
from collections.abc import Mapping

import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError

POSITIONS = "encoder.backbone.pos_embed"

# Hugging Face's preprocessor normalises by ImageNet; upstream keeps the same numbers among the weights.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

# Pattern in a key -> its upstream spelling with a DINOv2 backbone. The first are Hugging Face's, then come those of
# upstream with a DINOv3 backbone, which keeps the names of transformers' DINOv3ViT, and those of that backbone alone.
SPELLINGS = {
    r"^embeddings\.cls_token$": "encoder.backbone.cls_token",
    r"^embeddings\.register_tokens$": "encoder.backbone.reg_token",
    r"^embeddings\.position_embeddings\.weight$": POSITIONS,
    r"^embeddings\.patch_embeddings\.(projection\.)?": "encoder.backbone.patch_embed.proj.",
    r"^layernorm\.": "encoder.backbone.norm.",
    r"^layers\.": "encoder.backbone.blocks.",
    r"\.attention\.(out|o)_proj\.": ".attn.proj.",
    r"\.attention\.qkv\.": ".attn.qkv.",
    r"\.layer_scale([12])\.lambda1$": r".ls\1.gamma",
    r"\.mlp\.(up_proj|weights_in)\.": ".mlp.fc1.",
    r"\.mlp\.(down_proj|weights_out)\.": ".mlp.fc2.",
    r"^query\.": "q.",
    r"^class_predictor\.": "class_head.",
    r"^mask_head\.fc1\.": "mask_head.0.",
    r"^mask_head\.fc2\.": "mask_head.2.",
    r"^mask_head\.fc3\.": "mask_head.4.",
    r"^upscale_block\.block\.": "upscale.",
    r"\.layernorm2d\.": ".norm.",
    r"^encoder\.backbone\.patch_embed\.cls_token$": "encoder.backbone.cls_token",
    r"^encoder\.backbone\.patch_embed\.register_tokens$": "encoder.backbone.reg_token",
    r"^encoder\.backbone\.patch_embed\.patch_embeddings\.": "encoder.backbone.patch_embed.proj.",
    r"^layer\.": "encoder.backbone.blocks.",
    r"^norm\.": "encoder.backbone.norm.",
}


def is_rotary(state: Mapping[str, Tensor]) -> bool:
    """Whether weights are those of a DINOv3 backbone, by a name that no other has: it has no position embedding."""
    return any(".attention.o_proj." in key for key in state)


def upstream_layout(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """State dict with upstream's keys and shapes, from either layout; PipeError where a projection is missing."""
    converted = any(key.startswith("embeddings.") for key in state)
    if not (converted or is_rotary(state)):
        return dict(state)
    # Fused before the renaming: the two functions look for the names as they were.
    fused = _fuse_gates(_fuse_projections(state))
    renamed = {_upstream_key(key): value for key, value in fused.items() if key != "embeddings.mask_token"}
    if POSITIONS in renamed and renamed[POSITIONS].ndim == 2:
        renamed[POSITIONS] = renamed[POSITIONS][None]
    if converted:
        renamed["encoder.pixel_mean"] = torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1)
        renamed["encoder.pixel_std"] = torch.tensor(IMAGENET_STD).view(1, 3, 1, 1)
    return renamed


def _upstream_key(key: str) -> str:
    # All patterns in order, as several parts of one key may need a new spelling.
    for pattern, spelling in SPELLINGS.items():
        key = re.sub(pattern, spelling, key)
    return key


def _fuse_projections(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack each layer's query, key and value projections, in this order, under the key ``qkv``.

    DINOv3's keys have no bias, which is one of zeros.
    """
    fused = dict(state)
    for key in state:
        if ".attention.q_proj." in key:
            parts = [key.replace("q_proj", name) for name in ("q_proj", "k_proj", "v_proj")]
            if key.endswith("bias") and is_rotary(state):
                fused.setdefault(parts[1], torch.zeros_like(state[key]))
            missing = [part for part in parts if part not in fused]
            if missing:
                raise PipeError(f"Attention needs three projections; the weights lack {missing[0]}", "check-weights")
            shapes = {tuple(fused[part].shape) for part in parts}
            if len(shapes) > 1 or () in shapes:
                raise PipeError(
                    f"Attention needs projections of one shape; the weights have {sorted(shapes)} for {parts[0]} "
                    "and its two fellows",
                    "check-weights",
                )
            fused[key.replace("q_proj", "qkv")] = torch.cat([fused.pop(part) for part in parts])
    return fused


def _fuse_gates(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Stack each gated layer's gates and what they gate, in this order, under the key of the latter."""
    fused = dict(state)
    for key in state:
        if ".mlp.gate_proj." in key:
            values = key.replace("gate_proj", "up_proj")
            if values not in fused or fused[values].shape != fused[key].shape:
                raise PipeError(f"{key} and {values} must have one shape, and the weights lack one or the other")
            fused[values] = torch.cat([fused.pop(key), fused[values]])
    return fused
