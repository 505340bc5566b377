"""What formulas are made of, in float64 and one step at a time; classes are the first axis."""

import numpy as np


def log_sum_exp(z: np.ndarray) -> np.ndarray:
    """Return log sum exp z over the classes."""
    largest = z.max(axis=0)
    return largest + np.log(np.exp(z - largest).sum(axis=0))


def softmax(z: np.ndarray) -> np.ndarray:
    """Return exp z / sum exp z over the classes."""
    e = np.exp(z - z.max(axis=0))
    return e / e.sum(axis=0)


def not_largest(p: np.ndarray) -> np.ndarray:
    """Return 1 - max p, as the sum of the others, which does not cancel."""
    return np.sort(p, axis=0)[:-1].sum(axis=0)


def entropy(p: np.ndarray) -> np.ndarray:
    """Return -sum p log p, 0 log 0 = 0; log max p is log1p(-(1 - max p)), which does not cancel."""
    others = np.sort(p, axis=0)[:-1]
    rest = others.sum(axis=0)
    logs = np.log(others, out=np.zeros_like(others), where=others > 0)
    return -(others * logs).sum(axis=0) - (1 - rest) * np.log1p(-rest)


def ratio(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    """Return a / b, or what is agreed on where no query claims a pixel and it would be 0 / 0."""
    return np.divide(a, b, out=np.full_like(a, otherwise), where=b > 0)


def shares(S: np.ndarray) -> np.ndarray:
    """Return S / sum S, all equal where all are 0."""
    return ratio(S, np.broadcast_to(S.sum(axis=0), S.shape), 1 / len(S))


def mix(weights: np.ndarray, M: np.ndarray) -> np.ndarray:
    """Return the sum over queries of (Q, ...) weights and (Q, h, w) masks: (..., h, w)."""
    return np.tensordot(weights, M, axes=(0, 0))


def not_best(P: np.ndarray) -> np.ndarray:
    """Return 1 - max_k P_qk over the classes of (Q, K + 1), as the sum of what is left, which does not cancel."""
    best = P[:, :-1].argmax(axis=1)
    return np.where(np.arange(P.shape[1]) == best[:, None], 0, P).sum(axis=1)


def renyi(p: np.ndarray, alpha: float) -> np.ndarray:
    """Return log(sum p^alpha) / (1 - alpha) over the classes, relative to the largest p, which does not cancel."""
    others, largest = np.sort(p, axis=0)[:-1], p.max(axis=0)
    return (
        np.log1p(((others / largest) ** alpha).sum(axis=0)) - alpha * np.log1p((others / largest).sum(axis=0))
    ) / (1 - alpha)


def most(weights: np.ndarray, M: np.ndarray) -> np.ndarray:
    """Return the maximum over queries of (Q,) weights times (Q, h, w) masks, 0 where there is no query: (h, w)."""
    return (weights[:, None, None] * M).max(axis=0, initial=0)


def not_each(p: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return probabilities by falling size, and 1 - p of each, of the largest as the sum of the others."""
    largest = np.sort(p, axis=0)[::-1]
    left = 1 - largest
    left[0] = not_largest(p)
    return largest, left


def gini(p: np.ndarray) -> np.ndarray:
    """Return 1 - sum p^2 as sum p (1 - p), which does not cancel."""
    largest, left = not_each(p)
    return (largest * left).sum(axis=0)


def gen(z: np.ndarray, gamma: float, top: float | None) -> np.ndarray:
    """Return sum over the `top` largest p = softmax(z), or over all, of p^gamma (1 - p)^gamma.

    By logarithms, as a power makes a p count that float64 does not hold.
    """
    log_p = np.sort(z - log_sum_exp(z), axis=0)[::-1]
    log_left = np.log1p(-np.exp(log_p[1:]))
    terms = np.exp(gamma * (log_p + np.concatenate([log_sum_exp(log_p[1:])[None], log_left])))
    return terms[: None if top is None else int(top)].sum(axis=0)
