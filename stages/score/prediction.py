"""The class that a network predicts for each pixel."""

from typing import cast

import numpy as np

from logitpipe.stages.score.kernels.classes import predict_logits
from logitpipe.stages.score.kinds.mask import MaskLogits, softmax
from logitpipe.stages.score.kinds.pixel import PixelLogits, axes
from logitpipe.stages.score.picture import Picture


def predicted_classes(picture: Picture, channels: np.ndarray, groups: np.ndarray, T: float) -> np.ndarray:
    """Return the class of the largest logit, or of the largest S of a mask network: uint8 (H, W).

    Parameters
    ----------
    channels, groups : of `LabelSpace.channels`: which channels take part, and the class of each
    T : temperature of the class logits; it changes what mask networks predict
    """
    out = np.empty(picture.labels.shape, np.uint8)
    if isinstance(picture.logits, PixelLogits):
        values = picture.logits.values
        predict_logits(values, channels, groups, axes(values.shape[1:], out.shape), out)
        return out
    scores = class_scores(cast("MaskLogits", picture.logits), channels, T)
    predict_logits(scores, np.arange(channels.size), groups, axes(scores.shape[1:], out.shape), out)
    return out


def class_scores(logits: MaskLogits, channels: np.ndarray, T: float) -> np.ndarray:
    """Return S_k = sum over queries of softmax(c / T)_qk M_q for some classes: float32 (P, h, w)."""
    P = softmax(logits.class_logits / T)[:, channels].astype(np.float32)
    return np.ascontiguousarray((P.T @ logits.M.reshape(len(P), -1)).reshape(-1, *logits.M.shape[1:]))
