"""The class that a network predicts for each pixel."""

from collections.abc import Iterator
from typing import cast

import numpy as np

from logitpipe.stages.score.kernels.counting.classes import predict_logits
from logitpipe.stages.score.kinds.bands import Band
from logitpipe.stages.score.kinds.mask import MaskLogits
from logitpipe.stages.score.kinds.mask_blocks import Block, JoinedBlock
from logitpipe.stages.score.kinds.pixel import PixelLogits
from logitpipe.stages.score.kinds.planes import softmax
from logitpipe.stages.score.picture import Picture


def predicted_classes(picture: Picture, channels: np.ndarray, groups: np.ndarray, T: float) -> np.ndarray:
    """Return the class of the largest logit, or of the largest S of a mask network: uint8 (H, W).

    Parameters
    ----------
    channels, groups : of `LabelSpace.channels`: which channels take part, and the class of each
    T : temperature of the class logits; it changes what mask networks predict
    """
    height, width = picture.labels.shape
    size, out = (height, width), np.empty((height, width), np.uint8)
    # T divides all logits of a pixel alike, and does not change which is the largest.
    if isinstance(picture.logits, PixelLogits):
        for band in picture.logits.bands(size):
            predict_logits(band.values, channels, groups, band.axes, out[band.rows])
        return out
    for block in cast("MaskLogits", picture.logits).blocks(size):
        for band in class_bands(block, channels, T):
            predict_logits(band.values, np.arange(channels.size), groups, band.axes, out[band.rows])
    return out


def class_bands(block: Block | JoinedBlock, channels: np.ndarray, T: float) -> Iterator[Band]:
    """Yield S_k = sum over queries of softmax(c / T)_qk M_q for some classes: float32 (P, h, w)."""
    # Channels are chosen after the softmax: void and "no object" take their share of each query all the same.
    P = [softmax(each.class_logits / T)[:, channels] for each in block.queries]
    return block.mixed_bands(block.mix([np.ascontiguousarray(each.T, np.float32) for each in P]))
