"""How far the logits of a store lie apart, which decides how its scores are computed."""

from contextlib import suppress

import numpy as np

from logitpipe.cache import PipeError, Store

LEAST_SPREAD = 0.5
"""Where the class logits of pixels differ by less, float32 loses digits that order the scores (methods/fine.py)."""

SAMPLED = 128
"""Rows and columns of an image that are looked at, at most."""


def tiny_spread(store: Store) -> float | None:
    """Return by how much the class logits of one pixel differ at most, if that is tiny in some image; None if not.

    The first, the middle and the last image of a pixel network's store are looked at, one pixel of every few. Scores
    of larger logits lose nothing by being computed as those of tiny ones, but time.
    """
    if store.schema.kind != "pixel":
        return None
    last = len(store.schema.images) - 1
    found = [_spread(store, image) for image in dict.fromkeys((0, last // 2, last))]
    if found[0] is None:
        # Asked only where the first image is not there: a web server is asked for each image.
        with suppress(PipeError):
            found += [_spread(store, image) for image in store.completed()[:1]]
    return max((spread for spread in found if spread is not None and spread < LEAST_SPREAD), default=None)


def _spread(store: Store, image: int) -> float | None:
    """Return the largest difference of one pixel's class logits; None where there is none, or no image to read."""
    # What is wrong with an image is said where it is scored.
    with suppress(PipeError):
        logits, void = store.read("logits", image), store.schema.unknown_class
        rows, columns = (slice(None, None, max(1, size // SAMPLED)) for size in logits.shape[1:])
        seen = logits[:, rows, columns].astype(np.float32)[[c for c in range(len(logits)) if c != void]]
        # The greatest and not the mean: one confident pixel shows that the last layer is not tiny.
        spread = float((seen.max(axis=0) - seen.min(axis=0)).max())
        # Of constant logits there is nothing to tell apart, and NaN are refused where they are scored.
        return spread if spread > 0 else None
    return None


def is_tiny(store: Store) -> bool:
    """Return whether the class logits of a store's pixels differ by very little."""
    return tiny_spread(store) is not None
