"""How well a network knows the classes: mean intersection over union on held-out scenes."""

from collections.abc import Callable

import torch
from torch import Tensor, nn

from logitpipe.demo.scenes.classes import VOID
from training.batches import HELD_OUT, batch

CLASSES = 19
Classes = Callable[[Tensor], Tensor]
"""Images [B, 3, H, W] -> the most likely class of each pixel [B, H, W]."""


def mean_iou(network: nn.Module, classes: Classes, count: int) -> float:
    """Mean over the 19 classes of `class_iou`, of a network that is in training and stays so."""
    network.eval()
    found = class_iou(classes, count).nanmean().item()
    network.train()
    return found


@torch.no_grad()
def class_iou(classes: Classes, count: int) -> Tensor:
    """IoU of each class, [19], pixels pooled over `count` held-out scenes, void left out."""
    confusion = torch.zeros(CLASSES, CLASSES, dtype=torch.int64)
    for seed in range(HELD_OUT, HELD_OUT + count):
        images, truth = batch([seed])
        confusion += confusion_of(classes(images), truth)
    return iou(confusion)


def iou(confusion: Tensor) -> Tensor:
    """Counts [true class, found class] -> IoU of each class; NaN for one that neither was nor was found."""
    hits = confusion.diagonal().double()
    return hits / (confusion.sum(0) + confusion.sum(1) - hits)


def confusion_of(found: Tensor, truth: Tensor) -> Tensor:
    """Count pixels by true and found class, [19, 19]; those that are truly void count nowhere."""
    known = truth != VOID
    pairs = CLASSES * truth[known] + found[known]
    return torch.bincount(pairs, minlength=CLASSES**2).view(CLASSES, CLASSES)
