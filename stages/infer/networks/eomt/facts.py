"""Read the architecture of an EoMT off its weights."""

import re
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.networks.eomt.config import check_config, shown, stated
from logitpipe.stages.infer.networks.eomt.keys import POSITIONS
from logitpipe.stages.infer.networks.eomt.vit import HEAD_WIDTH
from logitpipe.stages.infer.weights.fitting import shape

BACKBONE = "encoder.backbone"

MOST_BLOCKS = 100
"""The deepest published vision transformers have 40; a file may name as many as it has keys."""


def read_facts(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None, masked_attention: str = "checkpoint"
) -> dict[str, Any]:
    """Architecture of the network, from weights in upstream's layout, held against the config.

    Returns
    -------
    dict
        width, depth, heads, mlp_width, patch_size, register_tokens, queries, classes (without "no object"),
        query_blocks, attn_mask_probs (0 or 1 per query block) and masked_attention (whether any is 1); besides, only
        where they hold, gated_mlp (SwiGLU) and rotary (no position embedding in the weights).

    Raises
    ------
    PipeError
        Where a telling key is missing, the sizes are none that an EoMT can have, or the config contradicts them.
    """
    width, _, patch_size, _ = shape(state, f"{BACKBONE}.patch_embed.proj.weight", rank=4)
    probs = attention_mask_probs(state, config, masked_attention)
    mlp_width, mlp_inputs = (shape(state, f"{BACKBONE}.blocks.0.mlp.{fc}.weight", rank=2) for fc in ("fc1", "fc2"))
    facts = {
        "width": width,
        # Numbers counted, not the largest taken: a hostile key "blocks.999999." must not build a million blocks.
        "depth": len({match[1] for key in state if (match := re.match(rf"{BACKBONE}\.blocks\.(\d+)\.", key))}),
        "heads": width // HEAD_WIDTH,
        "mlp_width": mlp_inputs[1],
        "patch_size": patch_size,
        "register_tokens": shape(state, f"{BACKBONE}.reg_token", rank=3)[1],
        "queries": shape(state, "q.weight", rank=2)[0],
        # The class head has one more row than classes, for "no object".
        "classes": shape(state, "class_head.weight", rank=2)[0] - 1,
        "query_blocks": len(probs),
        "attn_mask_probs": probs,
        "masked_attention": any(probs),
    }
    # SwiGLU's first layer gives gates and values at once, so it is twice as wide as the second layer's input.
    if mlp_width[0] == 2 * mlp_inputs[1]:
        facts["gated_mlp"] = True
    if POSITIONS not in state:
        facts["rotary"] = True
    _check_sizes(facts)
    check_config(config, facts)
    return facts


def attention_mask_probs(
    state: Mapping[str, Tensor], config: Mapping[str, Any] | None, masked_attention: str
) -> list[float]:
    """Share of masked queries per query block that the network runs with, each 0 or 1.

    Trainings anneal the shares from 1 to 0, block by block, and evaluate without masks; so weights in which one is
    between, as an unfinished annealing leaves them, run without as well. Weights that have none (conversions drop
    them) tell neither the number of query blocks nor whether masks are on, and a wrong guess would be a wrong result
    without an error: a config must say the one, and a config or a flag the other.

    Parameters
    ----------
    state : weights
    config : parsed yaml of the training, or the config.json of a conversion
    masked_attention : "on", "off" or "checkpoint"
    """
    if "attn_mask_probs" in state:
        shape(state, "attn_mask_probs", rank=1)
        probs = state["attn_mask_probs"].tolist()
        if not all(0 <= prob <= 1 for prob in probs):
            raise PipeError(f"attn_mask_probs must be shares; the weights have {[round(p, 4) for p in probs]}")
    else:
        probs = _stated_probs(config, masked_attention)
    if masked_attention != "checkpoint":
        return [float(masked_attention == "on")] * len(probs)
    return probs if set(probs) <= {0.0, 1.0} else [0.0] * len(probs)


def _stated_probs(config: Mapping[str, Any] | None, masked_attention: str) -> list[float]:
    blocks, masked = stated(config, "query_blocks"), stated(config, "masked_attention")
    masked = masked if masked_attention == "checkpoint" else masked_attention == "on"
    if not (type(blocks) is int and 0 < blocks <= MOST_BLOCKS and type(masked) is bool):
        raise PipeError(
            f"the weights hold no attn_mask_probs, and nothing else states both num_blocks (1 to {MOST_BLOCKS}) and "
            f"masked_attn_enabled: num_blocks is {shown(blocks)}, masked_attn_enabled {shown(masked)}",
            "give-masked-attention",
        )
    return [float(masked)] * blocks


def _check_sizes(facts: Mapping[str, Any]) -> None:
    if empty := [name for name in ("width", "patch_size", "queries", "classes") if facts[name] < 1]:
        raise PipeError(f"EoMT's {empty[0]} must be positive; the weights have {facts[empty[0]]}", "check-weights")
    if facts["width"] % HEAD_WIDTH:
        raise PipeError(
            f"EoMT's attention heads are {HEAD_WIDTH} wide, so its width must be a multiple of that; "
            f"the weights have width {facts['width']}",
            "check-weights",
        )
    if not 1 <= facts["query_blocks"] <= facts["depth"] <= MOST_BLOCKS:
        raise PipeError(
            f"Query blocks must be some of the backbone's blocks, at most {MOST_BLOCKS}; the weights have "
            f"{facts['query_blocks']} query blocks and {facts['depth']} blocks",
            "check-weights-config",
        )
