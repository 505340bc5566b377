"""How figures are read off a curve: the choices of a protocol that concern no score and no label."""

from typing import Literal, NamedTuple

Rule = Literal["first", "linear", "above"]
Area = Literal["step", "trapezoid"]
Pooling = Literal["pixels", "images"]


class Reading(NamedTuple):
    """How figures are read off curves.

    Parameters
    ----------
    fpr : the FPR at 95 % TPR is that of the "first" point with TPR >= 0.95, of the first "above" it, or "linear"
        between points
    auprc : "step": average precision, the mean over positives of the precision at their rank; "trapezoid": the area
        under straight lines between the points of the precision-recall curve, which begins at recall 0, precision 1
    pooling : "pixels": one curve of all pixels of all images; "images": the mean of the figures of single images, of
        which those without both classes are left out
    """

    fpr: Rule = "first"
    auprc: Area = "step"
    pooling: Pooling = "pixels"
