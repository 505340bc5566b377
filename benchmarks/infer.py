"""`pipe infer`: what it adds to the network, and what the network gains from how it is built here."""

import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.sheet import Sheet
from benchmarks.timing import median, ratio, take_turns
from cache.commit import StoreWriter
from stages.infer.datasets import DataSet, read_dataset
from stages.infer.describe import describe
from stages.infer.device import default_batch_size
from stages.infer.model import Model, load_model
from stages.infer.networks.enet import ENet
from stages.infer.networks.eomt import EoMT
from stages.infer.networks.erfnet import ERFNet
from stages.infer.preprocess import prepare
from stages.infer.run import infer_images, stored_logits

IMAGES = 6
ROUNDS = 3
BASE = {
    "width": 768,
    "depth": 12,
    "mlp_width": 3072,
    "patch_size": 16,
    "register_tokens": 4,
    "queries": 100,
    "classes": 19,
    "attn_mask_probs": [0.0, 0.0, 0.0],
}
"""EoMT base with annealed masks."""


def made_data(folder: Path) -> DataSet:
    """Write pictures of noise at 720x1280 with their masks."""
    for kind in ("images", "labels_masks"):
        (folder / "Made" / kind).mkdir(parents=True)
    for image in range(IMAGES):
        noise = np.random.default_rng(image)
        coarse = noise.integers(0, 256, (90, 160, 3), np.uint8)
        picture = Image.fromarray(coarse).resize((1280, 720), Image.Resampling.BICUBIC)
        picture.save(folder / "Made" / "images" / f"{image}.png")
        Image.fromarray(np.zeros((720, 1280), np.uint8)).save(folder / "Made" / "labels_masks" / f"{image}.png")
    return read_dataset(folder, "Made", None)


def made_model(folder: Path, name: str) -> Model:
    """Save a network with random weights and load it as `pipe infer` does."""
    torch.manual_seed(0)
    build: dict[str, Callable[[], nn.Module]] = {
        "erfnet": lambda: ERFNet(20),
        "enet": lambda: ENet(20),
        "eomt": lambda: EoMT(BASE, (40, 80)),
    }
    module = build[name]()
    for parameter in module.parameters():
        if parameter.dim() == 0:
            nn.init.ones_(parameter)
    torch.save(module.state_dict() | _annealed(name), folder / f"{name}.pth")
    return load_model(name, folder / f"{name}.pth", None, None, torch.device("cpu"))


def _annealed(name: str) -> dict[str, Tensor]:
    return {"attn_mask_probs": torch.tensor(BASE["attn_mask_probs"])} if name == "eomt" else {}


def measure_overhead(sheet: Sheet, folder: Path, dataset: DataSet, models: dict[str, Model]) -> None:
    """`infer_images` into a fresh store beside the forward passes of the same batches."""
    lines = []
    for name, model in models.items():
        pixels = [prepare(sample, model.input_size, (8, 8)).pixels for sample in dataset.samples]
        stores = iter(range(10**6))

        def infer(model: Model = model, name: str = name, stores: object = stores) -> None:
            path = folder / f"{name}{next(stores)}.zarr"  # type: ignore[call-overload]
            writer = StoreWriter(path, describe(model, dataset, "float16"))
            infer_images(model, dataset, writer, range(IMAGES), default_batch_size(model.device), lambda: None)

        def forward(model: Model = model, pixels: list[np.ndarray] = pixels) -> None:
            for image in pixels:
                stored_logits(model, [image], "float16", ["made"])

        seconds = take_turns({"infer": infer, "forward": forward}, ROUNDS)
        wall, alone = median(seconds, "infer") / IMAGES, median(seconds, "forward") / IMAGES
        lines.append([name, "x".join(map(str, model.input_size)), wall, alone, ratio(seconds, "infer", "forward")])
    header = ("network", "input", "pipe infer, s per image", "forward alone", "ratio")
    sheet.table(f"pipe infer over its forward passes, {IMAGES} images, CPU", header, lines)


def measure_forward(sheet: Sheet, folder: Path, models: dict[str, Model]) -> None:
    """The networks as `pipe infer` runs them beside the plain modules."""
    torch.manual_seed(0)
    lines = []
    for name, plain in (("erfnet", _plain(ERFNet(20), folder, "erfnet")), ("eomt", _upstream(models["eomt"]))):
        images = torch.rand(1, 3, *models[name].input_size)
        ours, fast = models[name].module, images.to(memory_format=torch.channels_last)
        found, expected = _first(_run(ours, fast)), _first(_run(plain, images))
        seconds = take_turns({"ours": partial(_run, ours, fast), "plain": partial(_run, plain, images)}, 5)
        apart = float((found - expected).abs().max() / expected.std())
        lines.append(
            [name, median(seconds, "ours"), median(seconds, "plain"), ratio(seconds, "ours", "plain"), f"{apart:.1e}"]
        )
    header = ("network", "ours, s", "plain, s", "ratio", "largest difference over standard deviation")
    sheet.table("One forward pass in float32, CPU", header, lines)


class Upstream(nn.Module):
    """EoMT as its authors' code runs it: predictions before each block with queries, and a mask, here all true."""

    def __init__(self, network: EoMT) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Give the last predictions."""
        network = self.network
        blocks = list(network.encoder.backbone.blocks)
        first, x = len(blocks) - len(network.masked), network.encoder(images)
        for block in blocks[:first]:
            x = block(x)
        x = torch.cat([network.q.weight.expand(len(x), -1, -1), x], dim=1)
        for block in blocks[first:]:
            queries, patches = network._normed(x)
            masks, _ = network._mask_logits(queries, patches), network.class_head(queries)
            functional.interpolate(masks, network.encoder.backbone.grid, mode="bilinear")
            x = block(x, torch.ones(len(x), 1, x.shape[1], x.shape[1], dtype=torch.bool))
        queries, patches = network._normed(x)
        return network._mask_logits(queries, patches), network.class_head(queries)


def _upstream(model: Model) -> nn.Module:
    assert isinstance(model.module, EoMT)
    return Upstream(model.module).eval()


def _plain(module: nn.Module, folder: Path, name: str) -> nn.Module:
    """Return the module with the same weights, as torch runs it by default."""
    module.load_state_dict(torch.load(folder / f"{name}.pth", weights_only=True))
    return module.eval()


@torch.inference_mode()
def _run(module: nn.Module, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
    return module(images)


def _first(outputs: Tensor | tuple[Tensor, Tensor]) -> Tensor:
    return outputs if isinstance(outputs, Tensor) else outputs[0]


def main() -> None:
    """Measure, print and save."""
    sheet = Sheet("infer")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = made_data(folder)
        models = {name: made_model(folder, name) for name in ("erfnet", "enet", "eomt")}
        measure_forward(sheet, folder, models)
        measure_overhead(sheet, folder, dataset, models)
    sheet.save()


if __name__ == "__main__":
    main()
