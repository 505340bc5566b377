"""The plain way: each method at each temperature in torch over the whole image, scikit-learn over all pixels."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from sklearn.metrics import average_precision_score, roc_curve
from torch import Tensor
from torch.nn import functional

Score = Callable[[Tensor, float], Tensor]
MaskScore = Callable[[Tensor, Tensor, float, tuple[int, int]], Tensor]


def entropy(p: Tensor) -> Tensor:
    """-sum p log p over the first axis."""
    return -(p * p.clamp_min(1e-12).log()).sum(0)


PIXEL: dict[str, Score] = {
    "msp": lambda z, T: 1 - (z / T).softmax(0).amax(0),
    "maxlogit": lambda z, _T: -z.amax(0),
    "entropy": lambda z, T: entropy((z / T).softmax(0)),
    "energy": lambda z, T: -T * (z / T).logsumexp(0),
}
"""z: float32 (C, h, w)."""


def class_maps(masks: Tensor, classes: Tensor, T: float) -> Tensor:
    """S_k = sum_q P_qk M_q: (Q, h, w) and (Q, K + 1) -> (K, h, w)."""
    return torch.einsum("qk,qhw->khw", (classes / T).softmax(1)[:, :-1], masks.sigmoid())


def upsampled(maps: Tensor, size: tuple[int, int]) -> Tensor:
    """(P, h, w) -> (P, H, W), bilinear."""
    return functional.interpolate(maps[None], size, mode="bilinear", align_corners=False)[0]


def of_classes(finish: Callable[[Tensor], Tensor]) -> MaskScore:
    """A score that is finished on the K maps at the evaluation size."""
    return lambda masks, classes, T, size: finish(upsampled(class_maps(masks, classes, T), size))


def of_queries(weigh: Callable[[Tensor], Tensor], finish: Callable[[Tensor, Tensor], Tensor]) -> MaskScore:
    """A score that is one map before it is upsampled: weights (Q,) of P (Q, K + 1), mixed with the masks."""

    def score(masks: Tensor, classes: Tensor, T: float, size: tuple[int, int]) -> Tensor:
        M = masks.sigmoid()
        mixed = torch.einsum("q,qhw->hw", weigh((classes / T).softmax(1)), M)
        return upsampled(finish(mixed, M)[None], size)[0]

    return score


MASK: dict[str, MaskScore] = {
    "msp": of_classes(lambda S: 1 - S.amax(0) / S.sum(0)),
    "entropy": of_classes(lambda S: entropy(S / S.sum(0))),
    "maxlogit": lambda masks, classes, _T, size: (
        -upsampled(torch.einsum("qk,qhw->khw", classes[:, :-1], masks.sigmoid()), size).amax(0)
    ),
    "rba": of_classes(lambda S: -S.tanh().sum(0)),
    "rba-normalized": of_queries(lambda P: 1 - P[:, :-1].amax(1), lambda mixed, M: mixed / M.sum(0)),
    "mask2anomaly": of_classes(lambda S: 1 - S.amax(0)),
    "neg-sum": of_classes(lambda S: -S.sum(0)),
    "mask-energy": of_classes(lambda S: -S.logsumexp(0)),
    "eam": of_queries(lambda P: P[:, :-1].amax(1), lambda mixed, _M: 1 - mixed),
    "void": of_queries(lambda P: P[:, -1], lambda mixed, _M: mixed),
}


def figures(scores: Sequence[np.ndarray], labels: Sequence[np.ndarray]) -> tuple[float, float, float]:
    """AuPRC, FPR at 95 % TPR and AUROC of all pixels but void, by scikit-learn: one sort for each of two calls."""
    pooled, truth = np.concatenate([s.ravel() for s in scores]), np.concatenate([t.ravel() for t in labels])
    known = truth != 255
    fpr, tpr, _ = roc_curve(truth[known], pooled[known])
    area = average_precision_score(truth[known], pooled[known])
    return float(area), float(fpr[tpr >= 0.95][0]), float(np.trapezoid(tpr, fpr))
