"""The figures by scikit-learn from every single score: slow, in memory, and a check on the streaming ones."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_curve

from logitpipe.cache import Store
from logitpipe.stages.score.figures.rows import Row
from logitpipe.stages.score.ground_truth import GroundTruth
from logitpipe.stages.score.kernels.counting import ANOMALY, IGNORED
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import Plan


def exact_rows(
    store: Store, plan: Plan, images: Sequence[int], rows: Sequence[Row], advance: Callable[[], None]
) -> list[Row]:
    """Return rows whose AuPRC, FPR95, AUROC and F1 come from scikit-learn, where nothing is left open.

    Memory grows with the pixels of the store times the methods; the store is read once for each temperature.

    Parameters
    ----------
    images : indices of the images that `rows` were computed from
    rows : of the streaming path, in the order of the plan's pairs
    advance : called once for each image and temperature
    """
    found = dict(enumerate(rows))
    truth = GroundTruth(store, plan.protocol, images)
    for temperature in dict.fromkeys(pair.temperature for pair in plan.pairs):
        part = replace(plan, pairs=tuple(pair for pair in plan.pairs if pair.temperature == temperature))
        labels, scores = _pooled(store, part, truth, images, advance)
        for index, pair in enumerate(plan.pairs):
            if pair.temperature == temperature and 0 < labels.sum() < labels.size:
                found[index] = _exact(rows[index], plan, labels, scores[part.pairs.index(pair)])
    return list(found.values())


def _pooled(
    store: Store, plan: Plan, truth: GroundTruth, images: Sequence[int], advance: Callable[[], None]
) -> tuple[np.ndarray, np.ndarray]:
    """Return bool (n,), which pixels are anomalous, and float32 (pairs, n), their ranks."""
    labels: list[np.ndarray] = []
    scores: list[list[np.ndarray]] = [[] for _ in plan.pairs]
    for image in images:
        if picture := read_picture(store, truth, image):
            scored = picture.labels != IGNORED
            labels.append(picture.labels[scored] == ANOMALY)
            for pair, ranks in picture.score_maps(plan, range(len(plan.pairs))):
                scores[pair].append(ranks[scored])
        advance()
    if not labels:
        return np.zeros(0, bool), np.zeros((len(plan.pairs), 0), np.float32)
    return np.concatenate(labels), np.array([np.concatenate(parts) for parts in scores])


def _exact(row: Row, plan: Plan, labels: np.ndarray, scores: np.ndarray) -> Row:
    fpr, tpr, _ = roc_curve(labels, scores, drop_intermediate=False)
    at_95 = {
        "first": lambda: fpr[np.argmax(tpr >= 0.95)],
        "above": lambda: fpr[np.argmax(tpr > 0.95)],
        "linear": lambda: np.interp(0.95, tpr, fpr),
    }
    precision, recall, _ = precision_recall_curve(labels, scores)
    # Where both are 0, F1 is 0 too and not 0 / 0.
    total = np.maximum(precision + recall, np.finfo(np.float64).tiny)
    found: dict[str, Any] = {
        "auprc": float(
            auc(recall, precision) if plan.protocol.auprc == "trapezoid" else average_precision_score(labels, scores)
        ),
        "auroc": float(auc(fpr, tpr)),
        "fpr95": float(at_95[plan.protocol.fpr]()),
        "best_f1": float((2 * precision * recall / total).max()),
    }
    bounds: dict[str, Any] = {f"{name}_{end}": value for name, value in found.items() for end in ("lower", "upper")}
    return replace(row, **found, **bounds)
