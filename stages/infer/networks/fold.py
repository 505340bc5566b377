"""Batch norms into the convolutions before them: the same function, fewer passes over the features."""

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Foldable = nn.Conv2d | nn.ConvTranspose2d


def fold_batch_norms(network: nn.Module) -> None:
    """Fold, in place, every batch norm that a module's `folds` pairs with a convolution, by attribute names.

    The network must be in evaluation mode. Jacob et al., "Quantization and Training of Neural Networks for Efficient
    Integer-Arithmetic-Only Inference", CVPR 2018, section 3.2.
    """
    for module in list(network.modules()):
        for convolution, norm in getattr(module, "folds", ()):
            _fold(module, convolution, norm)


def _fold(module: nn.Module, convolution: str, norm: str) -> None:
    before, after = module.get_submodule(convolution), module.get_submodule(norm)
    assert isinstance(before, Foldable)
    assert isinstance(after, nn.BatchNorm2d)
    folded = fuse_conv_bn_eval(before, after, transpose=isinstance(before, nn.ConvTranspose2d))
    setattr(module, convolution, folded)
    setattr(module, norm, nn.Identity())
