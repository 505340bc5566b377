"""Train a small EoMT on drawn scenes: `python -m training.eomt --out eomt.safetensors`."""

from functools import partial
from pathlib import Path

import click
import torch
from torch import Tensor, nn
from torch.nn import functional

from logitpipe.demo.scenes.view import HEIGHT, WIDTH
from logitpipe.stages.infer.networks.eomt.keys import IMAGENET_MEAN, IMAGENET_STD
from logitpipe.stages.infer.networks.eomt.network import EoMT
from training.batches import batches
from training.loop import save, train
from training.measure import CLASSES, mean_iou
from training.options import begun, training_options
from training.set_loss import set_loss

PATCH, PROBS = 16, "attn_mask_probs"
FACTS = {
    "width": 192,
    "depth": 6,
    "mlp_width": 768,
    "patch_size": PATCH,
    "register_tokens": 0,
    "queries": 50,
    "classes": CLASSES,
    PROBS: [0.0, 0.0, 0.0],
}
"""Three of six blocks see the queries, and none masks their attention."""


@click.command()
@training_options(steps=6000, rate=8e-4, seed=2)
def main(
    out: Path,
    steps: int,
    minutes: float | None,
    batch_size: int,
    start: Path | None,
    rate: float,
    seed: int,
    threads: int,
    held_out: int,
) -> None:
    """Train an EoMT of width 192 on drawn scenes without any anomaly, from random weights."""
    network = begun(fresh_network, seed, threads, start)
    data = batches(seed, batch_size)
    optimizer = torch.optim.AdamW(network.parameters(), lr=rate, weight_decay=0.02)

    def report(line: str, network: nn.Module) -> None:
        save(out, network.state_dict() | {PROBS: torch.tensor(FACTS[PROBS])})
        click.echo(f"{line}, mean IoU {mean_iou(network, partial(most_likely, network), held_out):.4f}")

    train(network, partial(loss, network), data, optimizer, steps, minutes, report)


def fresh_network() -> EoMT:
    """EoMT for scenes with random weights, small as vision transformers have them."""
    network = EoMT(FACTS, (HEIGHT // PATCH, WIDTH // PATCH))
    for module in network.modules():
        if isinstance(module, nn.Linear):
            nn.init.trunc_normal_(module.weight, std=0.04)
            nn.init.zeros_(module.bias)
    nn.init.trunc_normal_(network.encoder.backbone.pos_embed, std=0.1)
    nn.init.trunc_normal_(network.encoder.backbone.cls_token, std=0.02)
    network.encoder.pixel_mean.copy_(torch.tensor(IMAGENET_MEAN).view(1, 3, 1, 1))
    network.encoder.pixel_std.copy_(torch.tensor(IMAGENET_STD).view(1, 3, 1, 1))
    return network


def loss(network: nn.Module, images: Tensor, classes: Tensor) -> Tensor:
    """Set loss at the masks' resolution, a quarter of the picture's: the class in the middle of each 4x4 pixels."""
    with torch.autocast("cpu", torch.bfloat16):
        mask_logits, class_logits = network(images)
    return set_loss(mask_logits.float(), class_logits.float(), classes[:, 2::4, 2::4])


def most_likely(network: nn.Module, images: Tensor) -> Tensor:
    """Largest S_k of each pixel, [B, H, W], S upsampled to the picture's size."""
    mask_logits, class_logits = network(images)
    S = torch.einsum("bqk,bqhw->bkhw", class_logits.softmax(-1)[..., :-1], mask_logits.sigmoid())
    return functional.interpolate(S, images.shape[2:], mode="bilinear", align_corners=False).argmax(1)


if __name__ == "__main__":
    main()
