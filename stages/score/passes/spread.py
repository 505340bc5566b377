"""How far the logits of a store lie apart, which decides how its scores are computed."""

from contextlib import suppress

import numpy as np

from logitpipe.cache import PipeError, Store

LEAST_SPREAD = 0.5
"""Where the class logits of pixels differ by less, float32 loses digits that order the scores (methods/fine.py)."""

SAMPLED = 128
"""Rows and columns of an image that are looked at, at most."""


def tiny_spread(store: Store) -> float | None:
    """Return by how much the class logits of one pixel differ at most, if that is tiny; None if not.

    The first image of a pixel network's store is looked at, one pixel of every few.
    """
    logits, void = _first_logits(store), store.schema.unknown_class
    if logits is None:
        return None
    rows, columns = (slice(None, None, max(1, size // SAMPLED)) for size in logits.shape[1:])
    seen = logits[:, rows, columns].astype(np.float32)[[c for c in range(len(logits)) if c != void]]
    # The greatest and not the mean: one confident pixel shows that the last layer is not tiny.
    spread = float((seen.max(axis=0) - seen.min(axis=0)).max())
    # Of constant logits there is nothing to tell apart, and NaN are refused where they are scored.
    return spread if 0 < spread < LEAST_SPREAD else None


def is_tiny(store: Store) -> bool:
    """Return whether the class logits of a store's pixels differ by very little."""
    return tiny_spread(store) is not None


def _first_logits(store: Store) -> np.ndarray | None:
    """Return the logits of the first image, (C, h, w); None of mask networks, and where there are none to read."""
    if store.schema.kind != "pixel":
        return None
    # What is wrong with an image is said where it is scored.
    with suppress(PipeError):
        return store.read("logits", 0)
    # Asked only where the first image is not there: a web server is asked for each image.
    with suppress(PipeError):
        for image in store.completed()[:1]:
            return store.read("logits", image)
    return None
