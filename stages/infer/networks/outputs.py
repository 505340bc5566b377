"""Where in what a foreign network returns its logits are."""

from collections.abc import Mapping

from torch import Tensor

from logitpipe.cache.errors import PipeError, UsageError

PIXEL_NAMES = ("logits", "out")
"""Under which networks return the logits of pixels: transformers', torchvision's."""

MASK_NAMES = (
    ("masks_queries_logits", "class_queries_logits"),
    ("pred_masks", "pred_logits"),
    ("mask_logits", "class_logits"),
)
"""Under which mask networks return mask logits and class logits: transformers', DETR's and its followers', ours."""


def logits_of(outputs: object, output: str | int | None, name: str) -> Tensor | tuple[Tensor, Tensor]:
    """Return a network's logits: [B, C, h, w]; or [B, Q, h, w] of masks and [B, Q, K + 1] of classes.

    Parameters
    ----------
    outputs : what the network returned
    output : which part of it is meant, keys or indices with dots between them; None where it is plain
    name : of the network, for errors

    Raises
    ------
    PipeError
        These are no logits, or several that might be.
    """
    chosen = outputs
    for step in [] if output is None else str(output).split("."):
        chosen = _part(chosen, step, name)
    if isinstance(chosen, Mapping):
        for masks, classes in MASK_NAMES:
            if masks in chosen and classes in chosen:
                chosen = (chosen[masks], chosen[classes])
                break
        else:
            single = [key for key in PIXEL_NAMES if key in chosen]
            chosen = chosen[single[0]] if len(single) == 1 else chosen
    if isinstance(chosen, (tuple, list)) and len(chosen) == 1:
        chosen = chosen[0]
    if isinstance(chosen, Tensor) and _is_tensor(chosen, 4):
        return chosen
    if isinstance(chosen, (tuple, list)) and len(chosen) == 2:
        # In either order, as their numbers of dimensions tell them apart.
        for masks, classes in (chosen, chosen[::-1]):
            if _is_tensor(masks, 4) and _is_tensor(classes, 3) and masks.shape[:2] == classes.shape[:2]:
                return masks, classes
    raise PipeError(
        f"a network returns logits [B, C, h, w], or of masks [B, Q, h, w] and of classes [B, Q, K + 1], and {name} "
        f"returns {_described(chosen)}",
        "choose-output",
    )


def _part(outputs: object, step: str, name: str) -> object:
    try:
        if isinstance(outputs, Mapping):
            return outputs[step]
        if isinstance(outputs, (tuple, list)):
            return outputs[int(step)]
    except (KeyError, IndexError, ValueError):
        pass
    raise UsageError(f"{name} returns {_described(outputs)}, which has no part {step!r}", "choose-output")


def _is_tensor(value: object, rank: int) -> bool:
    return isinstance(value, Tensor) and value.ndim == rank and value.is_floating_point()


def _described(outputs: object, depth: int = 2) -> str:
    """Say in a few words what an output is."""
    if isinstance(outputs, Tensor):
        return f"{tuple(outputs.shape)} {str(outputs.dtype).removeprefix('torch.')}"
    if isinstance(outputs, Mapping) and depth:
        return "{" + ", ".join(f"{key}: {_described(value, depth - 1)}" for key, value in outputs.items()) + "}"
    if isinstance(outputs, (tuple, list)) and depth:
        return "(" + ", ".join(_described(value, depth - 1) for value in outputs) + ")"
    return f"a {type(outputs).__name__}"
