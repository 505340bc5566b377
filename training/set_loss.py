"""The loss of mask networks: queries matched to the segments of a picture, and the map they compose.

Cheng et al., "Masked-attention Mask Transformer for Universal Image Segmentation", CVPR 2022, with their weights.
A segment here is all that a picture has of one class. The last term, of the composed map, is ours: from random
weights it breaks the symmetry of the queries in a fraction of the steps.
"""

import torch
from scipy.optimize import linear_sum_assignment
from torch import Tensor
from torch.nn import functional

from logitpipe.demo.scenes.classes import VOID

CLASS_TERM, CROSS_ENTROPY_TERM, DICE_TERM, COMPOSED_TERM = 2.0, 5.0, 5.0, 5.0
NO_OBJECT_WEIGHT = 0.1


def set_loss(mask_logits: Tensor, class_logits: Tensor, classes: Tensor) -> Tensor:
    """Return the loss of a batch.

    Parameters
    ----------
    mask_logits : [B, Q, h, w]
    class_logits : [B, Q, K + 1], the last one "no object"
    classes : int64 [B, h, w], 255 where void: there masks may be what they like
    """
    known = classes != VOID
    pairs = zip(mask_logits, class_logits, classes, known, strict=True)
    # One by one, as every picture has another number of segments and of known pixels.
    matched = [_matched_loss(m[:, k], c, t[k]) for m, c, t, k in pairs]
    return torch.stack(matched).mean() + COMPOSED_TERM * composed_loss(mask_logits, class_logits, classes)


def composed_loss(mask_logits: Tensor, class_logits: Tensor, classes: Tensor) -> Tensor:
    """Negative log likelihood of the pixels under S / sum S, with S_k = sum_q P_qk M_q."""
    P, M = class_logits.softmax(-1)[..., :-1], mask_logits.sigmoid()
    # 1e-6: where no query claims a pixel S is 0, and its logarithm would make the whole loss infinite.
    S = torch.einsum("bqk,bqhw->bkhw", P, M) + 1e-6
    return functional.nll_loss((S / S.sum(1, keepdim=True)).log(), classes, ignore_index=VOID)


def _matched_loss(mask_logits: Tensor, class_logits: Tensor, classes: Tensor) -> Tensor:
    """Loss of one picture: mask logits [Q, N] and classes [N] of its known pixels, class logits [Q, K + 1]."""
    present = classes.unique()
    masks = (classes == present[:, None]).float()
    queries, segments = match(mask_logits, class_logits, masks, present)
    targets = torch.full((len(class_logits),), class_logits.shape[1] - 1)
    targets[queries] = present[segments]
    weights = torch.ones(class_logits.shape[1])
    # Most queries match no segment; with full weight "no object" would be the easiest answer for all of them.
    weights[-1] = NO_OBJECT_WEIGHT
    found, true = mask_logits[queries], masks[segments]
    return (
        CLASS_TERM * functional.cross_entropy(class_logits, targets, weights)
        + CROSS_ENTROPY_TERM * functional.binary_cross_entropy_with_logits(found, true)
        + DICE_TERM * _dice(found.sigmoid(), true).mean()
    )


@torch.no_grad()
def match(mask_logits: Tensor, class_logits: Tensor, masks: Tensor, present: Tensor) -> tuple[Tensor, Tensor]:
    """Return the queries and the segments that belong together, one query for each segment at the least cost.

    Parameters
    ----------
    mask_logits, class_logits : [Q, N] and [Q, K + 1]
    masks, present : [G, N], 0 or 1, and the G classes of the segments
    """
    likely = class_logits.softmax(-1)[:, present]
    # A query's cross entropy against a mask: softplus(z) where the mask is 0, softplus(z) - z where it is 1.
    entropy = (functional.softplus(mask_logits).sum(1)[:, None] - mask_logits @ masks.T) / masks.shape[1]
    M = mask_logits.sigmoid()
    dice = 1 - (2 * M @ masks.T + 1) / (M.sum(1)[:, None] + masks.sum(1) + 1)
    cost = CROSS_ENTROPY_TERM * entropy + DICE_TERM * dice - CLASS_TERM * likely
    queries, segments = linear_sum_assignment(cost.numpy())
    return torch.from_numpy(queries), torch.from_numpy(segments)


def _dice(M: Tensor, masks: Tensor) -> Tensor:
    return 1 - (2 * (M * masks).sum(1) + 1) / (M.sum(1) + masks.sum(1) + 1)
