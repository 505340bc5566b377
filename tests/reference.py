"""Protocols and metrics once more, and scores by the formulas that stand beside the methods: float64 and slow."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from inspect import signature

import numpy as np
from scipy.special import expit, softmax
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.methods.plain import mix, shares

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
    auprc: str = "step"
    pooling: str = "pixels"
    float32_ties: bool = False
    drops_last: bool = False
    epsilon: float = 0.0


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


def pixel_score(
    method: str,
    logits: np.ndarray,
    void: int | None,
    T: float,
    size: tuple[int, int],
    rules: Rules = RULES["standard"],
) -> np.ndarray:
    """Score (C, h, w) logits of a pixel network at a size."""
    z = upsample(logits.astype(np.float64), size)
    classes = [c for c in range(len(z)) if (rules.void_channel and method != "void") or c != void]
    return formula("pixel", method, z=z[classes], T=T, void=z[void or 0])


def mask_score(
    method: str,
    mask_logits: np.ndarray,
    class_logits: np.ndarray,
    T: float,
    size: tuple[int, int],
    rules: Rules = RULES["standard"],
    T_S: float = 1.0,
    T_m: float = 1.0,
) -> np.ndarray:
    """Score (Q, h, w) and (Q, K + 1) logits of a mask network at a size."""
    z, M = class_logits.astype(np.float64), expit(mask_logits.astype(np.float64) / T_m)
    P = softmax(z / T, axis=1)
    S, Z = mix(P[:, :-1], M), mix(z[:, :-1], M)
    if (rules.drops_last or rules.epsilon) and method in ("msp", "entropy"):
        divide = lambda S: S / (S.sum(axis=0) + rules.epsilon)  # noqa: E731
        p = upsample(divide(S), size) if rules.normalise_first else divide(upsample(S, size))
        p = p[:-1] if rules.drops_last else p
        return 1 - p.max(axis=0) if method == "msp" else -(p * np.log(p)).sum(axis=0)
    if rules.normalise_first and method in ("msp", "entropy"):
        S = shares(S)
    score = formula("mask", method, P=P, M=M, S=upsample(S, size), Z=upsample(Z, size), T_S=T_S)
    return score if score.shape == size else upsample(score, size)


def formula(kind: str, method: str, **values: object) -> np.ndarray:
    """Call the float64 formula that stands beside a method with what its parameters ask for, and have no default."""
    reference = METHODS[kind][method].reference
    return reference(**{name: values[name] for name in signature(reference).parameters if name in values})


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
        if rules.float32_ties and method == "msp":
            scores = np.float32(1) - np.float32(1 - scores)
        if method in rules.min_max:
            scores = (scores - scores.min()) / (scores.max() - scores.min())
        yield scores, labels


def fpr95(pool: Pool, kind: str) -> float:
    """FPR at 95 % TPR, by any definition."""
    return figures(pool, kind)["fpr95"]


def figures(pool: Pool, fpr95: str, area: str = "step") -> dict[str, float]:
    """AuPRC, FPR at 95 % TPR ("first" point, first "above" it, or "linear" between points) and AUROC."""
    precision, recall, _ = precision_recall_curve(pool.anomalous, pool.scores)
    fpr, tpr, _ = roc_curve(pool.anomalous, pool.scores, drop_intermediate=False)
    at_95 = {
        "first": lambda: fpr[tpr >= 0.95][0],
        "above": lambda: fpr[tpr > 0.95][0],
        "linear": lambda: np.interp(0.95, tpr, fpr),
    }
    return {
        "auprc": average_precision_score(pool.anomalous, pool.scores) if area == "step" else auc(recall, precision),
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
