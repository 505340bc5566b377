"""Where in what a foreign network returns its logits are."""

from collections.abc import Mapping

from torch import Tensor

from logitpipe.cache.errors import PipeError, UsageError

PIXEL_NAMES = ("logits", "out", "segmentation_logits")
"""Under which networks return the logits of pixels: transformers', torchvision's."""

SUM_TOLERANCE = 1e-3
"""By how much probabilities in half precision may miss the sum of one."""

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
            single = [key for key in PIXEL_NAMES if key in chosen] if len(chosen) > 1 else [*chosen]
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
        "around" if isinstance(chosen, Tensor) else "choose-output",
    )


def notes_on_scale(logits: Tensor | tuple[Tensor, Tensor], name: str) -> tuple[str, ...]:
    """Return a line about outputs that are logarithms of probabilities, or look as if a sigmoid had made them.

    Parameters
    ----------
    logits : of one picture, as `logits_of` returns them
    name : of the network

    Raises
    ------
    PipeError
        They are probabilities, which no temperature can be applied to.
    """
    # Channels of pixels are the second dimension, classes of queries the third.
    values = logits.flatten(2).transpose(1, 2) if isinstance(logits, Tensor) else logits[1]
    if values.shape[2] < 2:
        return ()
    values = values.float()
    if values.min() >= 0 and _sums_to_one(values):
        raise PipeError(f"{name} gives probabilities, and scores are computed from the logits before", "logits")
    if values.max() <= 0 and _sums_to_one(values.exp()):
        return (
            f"{name}: it gives logarithms of probabilities (log-softmax). Scores that do not change when all logits "
            "grow alike (msp, entropy) are those of its logits; others (maxlogit, energy) are not",
        )
    if 0 <= values.min() < values.max() <= 1:
        return (
            f"{name}: all that it gives lies between 0 and 1, as behind a sigmoid; scores need the logits before",
        )
    return ()


def _sums_to_one(values: Tensor) -> bool:
    return bool(((values.sum(2) - 1).abs() < SUM_TOLERANCE).all())


def _part(outputs: object, step: str, name: str) -> object:
    try:
        if isinstance(outputs, Mapping):
            return outputs[step]
        if step.isdigit() and isinstance(outputs, (tuple, list)):
            return outputs[int(step)]
        # A named tuple, or a class of the network's own.
        if not isinstance(outputs, Tensor):
            return getattr(outputs, step)
    except (KeyError, IndexError, AttributeError):
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
