"""Scores, protocols and metrics once more: float64, slow, written from the formulas and not from the kernels."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit, logsumexp, softmax
from sklearn.metrics import auc, average_precision_score, roc_curve

NORMAL, ANOMALY, VOID = 0, 1, 2


@dataclass(frozen=True)
class Scene:
    """One image: its logits by array name, as they lie in a store, and the raw codes (H, W) of its mask."""

    name: str
    values: dict[str, np.ndarray]
    codes: np.ndarray


@dataclass(frozen=True)
class Rules:
    """The table of protocols, a field for each row of it."""

    void_is_anomaly_on: tuple[str, ...] = ()
    skips: bool = False
    network_size: bool = False
    void_channel: bool = False
    normalise_first: bool = False
    min_max: tuple[str, ...] = ()
    thin_above: float = np.inf
    fpr: str = "first"


RULES = {
    "standard": Rules(),
    "course": Rules(skips=True, network_size=True, fpr="linear"),
    "legacy": Rules(
        void_is_anomaly_on=("fs_static", "FS_LostFound_full"),
        skips=True,
        network_size=True,
        void_channel=True,
        normalise_first=True,
        min_max=("maxlogit", "entropy", "rba-normalized"),
        thin_above=20e6,
        fpr="linear",
    ),
}


def upsample(planes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(..., h, w) -> (..., H, W), bilinear, align_corners=False."""

    def between(source: int, target: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        position = np.clip((np.arange(target) + 0.5) * source / target - 0.5, 0, source - 1)
        first = np.floor(position).astype(int)
        return first, np.minimum(first + 1, source - 1), position - first

    above, below, y = between(planes.shape[-2], size[0])
    left, right, x = between(planes.shape[-1], size[1])
    rows = planes[..., above, :] * (1 - y[:, None]) + planes[..., below, :] * y[:, None]
    return rows[..., left] * (1 - x) + rows[..., right] * x


def nearest(codes: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """(h, w) -> (H, W), each target pixel from the source pixel that its centre lies in."""
    rows, columns = ((2 * np.arange(n) + 1) * m // (2 * n) for m, n in zip(codes.shape, size, strict=True))
    return codes[rows[:, None], columns]


def not_largest(p: np.ndarray) -> np.ndarray:
    """1 - max p over the first axis, as the sum of the others, which does not cancel."""
    return np.sort(p, axis=0)[:-1].sum(axis=0)


def entropy(p: np.ndarray) -> np.ndarray:
    """-sum p log p over the first axis, 0 log 0 = 0; log max p = log1p(-(1 - max p)), which does not cancel."""
    others = np.sort(p, axis=0)[:-1]
    rest = others.sum(axis=0)
    logs = np.log(others, out=np.zeros_like(others), where=others > 0)
    return -(others * logs).sum(axis=0) - (1 - rest) * np.log1p(-rest)


PIXEL: dict[str, Callable[[np.ndarray, float], np.ndarray]] = {
    "msp": lambda z, T: not_largest(softmax(z / T, axis=0)),
    "maxlogit": lambda z, _T: -z.max(axis=0),
    "entropy": lambda z, T: entropy(softmax(z / T, axis=0)),
    "energy": lambda z, T: -T * logsumexp(z / T, axis=0),
}
"""z: the channels that count, (C, H, W)."""

MIXED: dict[str, Callable[[np.ndarray], np.ndarray]] = {
    "msp": lambda S: not_largest(shares(S)),
    "entropy": lambda S: entropy(shares(S)),
    "rba": lambda S: -np.tanh(S).sum(axis=0),
    "mask2anomaly": lambda S: 1 - S.max(axis=0),
    "neg-sum": lambda S: -S.sum(axis=0),
    "mask-energy": lambda S: -logsumexp(S, axis=0),
}
"""S: one map for each class, (K, H, W)."""

SINGLE: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "rba-normalized": lambda P, M: ratio(mix(not_best(P), M), M.sum(axis=0), 1),
    "eam": lambda P, M: 1 - mix(P[:, :-1].max(axis=1), M),
    "void": lambda P, M: mix(P[:, -1], M),
}
"""P: (Q, K + 1), M: (Q, h, w); the score is a single map before it is resampled."""


def ratio(a: np.ndarray, b: np.ndarray, otherwise: float) -> np.ndarray:
    """a / b, or what is agreed on where no query claims a pixel and it would be 0 / 0."""
    return np.divide(a, b, out=np.full_like(a, otherwise), where=b > 0)


def shares(S: np.ndarray) -> np.ndarray:
    """S / sum S, all equal where all are 0."""
    return ratio(S, np.broadcast_to(S.sum(axis=0), S.shape), 1 / len(S))


def not_best(P: np.ndarray) -> np.ndarray:
    """1 - max_k P_qk over the K classes, as the sum of what is left, which does not cancel."""
    best = P[:, :-1].argmax(axis=1)
    return np.where(np.arange(P.shape[1]) == best[:, None], 0, P).sum(axis=1)


def mix(weights: np.ndarray, M: np.ndarray) -> np.ndarray:
    """Sum over queries: (Q, ...) and (Q, h, w) -> (..., h, w)."""
    return np.tensordot(weights, M, axes=(0, 0))


def pixel_score(
    method: str, logits: np.ndarray, void: int | None, T: float, size: tuple[int, int], rules: Rules = Rules()
) -> np.ndarray:
    """Score (C, h, w) logits of a pixel network at a size."""
    z = upsample(logits.astype(np.float64), size)
    if method == "void":
        return softmax(z / T, axis=0)[void]
    channels = [c for c in range(len(z)) if rules.void_channel or c != void]
    return PIXEL[method](z[channels], T)


def mask_score(
    method: str,
    mask_logits: np.ndarray,
    class_logits: np.ndarray,
    T: float,
    size: tuple[int, int],
    rules: Rules = Rules(),
) -> np.ndarray:
    """Score (Q, h, w) and (Q, K + 1) logits of a mask network at a size."""
    z, M = class_logits.astype(np.float64), expit(mask_logits.astype(np.float64))
    P = softmax(z / T, axis=1)
    if method == "maxlogit":
        return -upsample(mix(z[:, :-1], M), size).max(axis=0)
    if method in SINGLE:
        return upsample(SINGLE[method](P, M), size)
    S = mix(P[:, :-1], M)
    if rules.normalise_first and method in ("msp", "entropy"):
        return MIXED[method](upsample(shares(S), size))
    return MIXED[method](upsample(S, size))


def label(codes: np.ndarray, void_is_anomaly: bool) -> np.ndarray:
    """What the codes 0, 1, 2 and 255 mean."""
    meaning = {0: NORMAL, 1: ANOMALY, 2: ANOMALY, 255: ANOMALY if void_is_anomaly else VOID}
    return np.vectorize(meaning.get, otypes=[np.uint8])(codes)


@dataclass(frozen=True)
class Pool:
    """All scored pixels of a data set, and the number of images that they come from."""

    scores: np.ndarray
    anomalous: np.ndarray
    images: int


def pool(scenes: Sequence[Scene], dataset: str, rules: Rules, method: str, T: float, void: int | None = None) -> Pool:
    """Score a data set as a protocol has it, all pixels in memory."""
    kept = list(_evaluated(scenes, dataset, rules, method, T, void))
    scores = np.concatenate([scores.ravel() for scores, _ in kept] or [np.zeros(0)])
    labels = np.concatenate([labels.ravel() for _, labels in kept] or [np.zeros(0)])
    if "mask_logits" in scenes[0].values and len(scores) > rules.thin_above:
        scores, labels = scores[::10], labels[::10]
    return Pool(scores[labels != VOID], labels[labels != VOID] == ANOMALY, len(kept))


def _evaluated(
    scenes: Sequence[Scene], dataset: str, rules: Rules, method: str, T: float, void: int | None
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    for scene in sorted(scenes, key=lambda scene: scene.name):
        codes, logits = scene.codes, scene.values.get("logits")
        if rules.network_size and logits is not None:
            codes = nearest(codes, logits.shape[1:])
        labels = label(codes, dataset in rules.void_is_anomaly_on)
        if rules.skips and ANOMALY not in labels:
            continue
        if logits is not None:
            scores = pixel_score(method, logits, void, T, labels.shape, rules)
        else:
            scores = mask_score(method, **scene.values, T=T, size=labels.shape, rules=rules)
        if method in rules.min_max:
            scores = (scores - scores.min()) / (scores.max() - scores.min())
        yield scores, labels


def fpr95(pool: Pool, kind: str) -> float:
    """FPR at 95 % TPR, by any definition."""
    return figures(pool, kind)["fpr95"]


def figures(pool: Pool, fpr95: str) -> dict[str, float]:
    """AuPRC, FPR at 95 % TPR ("first" point, first "above" it, or "linear" between points) and AUROC."""
    fpr, tpr, _ = roc_curve(pool.anomalous, pool.scores, drop_intermediate=False)
    at_95 = {
        "first": lambda: fpr[tpr >= 0.95][0],
        "above": lambda: fpr[tpr > 0.95][0],
        "linear": lambda: np.interp(0.95, tpr, fpr),
    }
    return {
        "auprc": average_precision_score(pool.anomalous, pool.scores),
        "fpr95": float(at_95[fpr95]()),
        "auroc": auc(fpr, tpr),
    }


def best_f1(pool: Pool) -> float:
    """The largest F1 over all thresholds that are scores."""
    return max(_f1(pool.scores >= threshold, pool.anomalous) for threshold in np.unique(pool.scores))


def _f1(called: np.ndarray, anomalous: np.ndarray) -> float:
    return 2 * (called & anomalous).sum() / (called.sum() + anomalous.sum())


def iou(pool: Pool, threshold: float) -> dict[str, float | None]:
    """Intersection over union of both classes, and their mean."""
    called = pool.scores >= threshold
    found = {"normal": _overlap(~called, ~pool.anomalous), "anomaly": _overlap(called, pool.anomalous)}
    known = [value for value in found.values() if value is not None]
    return {**found, "mean": sum(known) / 2 if len(known) == 2 else None}


def _overlap(a: np.ndarray, b: np.ndarray) -> float | None:
    return (a & b).sum() / (a | b).sum() if (a | b).any() else None
