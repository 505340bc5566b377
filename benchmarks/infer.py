"""`pipe infer`: what it adds to the network, and what the network gains from how it is built here."""

import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import count
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional

from benchmarks.real import real_data, real_folder, real_models
from benchmarks.sheet import Sheet
from benchmarks.timing import median, ratio, take_turns
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.data.datasets import DataSet, read_dataset
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.describe import describe
from logitpipe.stages.infer.device.device import side_by_side
from logitpipe.stages.infer.model import Model, load_model
from logitpipe.stages.infer.networks import erfnet
from logitpipe.stages.infer.networks.base import SegmentationNetwork
from logitpipe.stages.infer.networks.enet import ENet
from logitpipe.stages.infer.networks.eomt import network as eomt
from logitpipe.stages.infer.networks.eomt.network import EoMT
from logitpipe.stages.infer.networks.erfnet import ERFNet
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.infer.run import infer_images
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint
from logitpipe.stages.memory import keep_freed_memory

IMAGES = 30
SLOW_IMAGES = 2
ROUNDS = 3
FORWARD_ROUNDS = 3
SIZES = {"erfnet": (512, 1024), "enet": (512, 1024), "eomt": (640, 1280)}
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
"""EoMT base at the end of its training, when masks are off."""

Forward = Callable[[], tuple[Tensor, ...]]
"""One forward pass; its outputs, batch first."""


def made_data(folder: Path, images: int = IMAGES, size: tuple[int, int] = (720, 1280)) -> DataSet:
    """Write smooth pictures of some size with their masks."""
    for kind in ("images", "labels_masks"):
        (folder / "Made" / kind).mkdir(parents=True)

    def make(image: int) -> None:
        coarse = np.random.default_rng(image).integers(0, 256, (23, 40, 3), np.uint8)
        picture = Image.fromarray(coarse).resize(size[::-1], Image.Resampling.BICUBIC)
        picture.save(folder / "Made" / "images" / f"{image}.png")
        Image.fromarray(np.zeros(size, np.uint8)).save(folder / "Made" / "labels_masks" / f"{image}.png")

    with ThreadPoolExecutor() as pool:
        list(pool.map(make, range(images)))
    return read_dataset(folder, "Made", None)


def made_model(folder: Path, name: str) -> Model:
    """Save a network with random weights and load it as `pipe infer` does."""
    torch.manual_seed(0)
    torch.save(_random_weights(name), folder / f"{name}.pth")
    return load_model(Source(name, folder / f"{name}.pth", SIZES[name]), torch.device("cpu"))


def _random_weights(name: str) -> dict[str, Tensor]:
    if name != "eomt":
        return (ERFNet(20) if name == "erfnet" else ENet(20)).state_dict()
    height, width = (side // 16 for side in SIZES[name])
    return EoMT(BASE, (height, width)).state_dict() | {"attn_mask_probs": torch.tensor(BASE["attn_mask_probs"])}


def measure_overhead(sheet: Sheet, folder: Path, dataset: DataSet, models: dict[str, Model]) -> None:
    """`infer_images` into a fresh store beside the forward passes of the same batches."""
    cases = [(model, _part(dataset, SLOW_IMAGES if name == "eomt" else IMAGES)) for name, model in models.items()]
    lines = [_overhead(folder, model, data) for model, data in cases]
    if real := real_folder():
        lines += [_overhead(folder, model, real_data(real)) for model in real_models(real)]
    header = ("network", "input", "images", "pipe infer, s per image", "forward passes alone")
    more = ("pipe infer over them", "over its own forward passes")
    sheet.table("pipe infer beside its forward passes, float32, CPU", (*header, *more), lines)


def _part(dataset: DataSet, images: int) -> DataSet:
    return replace(dataset, samples=dataset.samples[:images])


def _overhead(folder: Path, model: Model, dataset: DataSet) -> list[object]:
    watched, images = Watched(model.module), len(dataset.samples)
    places = (folder / f"{model.name} {dataset.name} {i}.zarr" for i in count())
    ways = {
        "infer": partial(infer, replace(model, network=replace(model.network, module=watched)), dataset, places),
        "forward": partial(forward_alone, model, batches(model, dataset)),
    }
    seconds = take_turns(ways, ROUNDS)
    with side_by_side(model.device) as passes:
        own = watched.seconds / (ROUNDS + 1) / passes
    each = [median(seconds, way) / images for way in ways]
    what = [model.name, _by(model.input_size), f"{images} of {dataset.name}"]
    return [*what, *each, ratio(seconds, "infer", "forward"), median(seconds, "infer") / own]


class Watched(SegmentationNetwork):
    """A network that notes how long its forward passes take, each in its own thread."""

    def __init__(self, network: SegmentationNetwork) -> None:
        super().__init__()
        self.network, self.facts = network, network.facts
        self.seconds, self.lock = 0.0, Lock()

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, ...]:
        """Run the network."""
        started = time.perf_counter()
        outputs = self.network(images)
        with self.lock:
            self.seconds += time.perf_counter() - started
        return outputs

    def output_shapes(self, input_size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shapes of one image's outputs."""
        return self.network.output_shapes(input_size)


def infer(model: Model, dataset: DataSet, places: Iterator[Path]) -> None:
    """Do what `pipe infer` does once its network is loaded."""
    writer = StoreWriter(next(places), describe(model, dataset, "float16"))
    infer_images(model, dataset, writer, range(len(dataset.samples)), 1, lambda: None)


def batches(model: Model, dataset: DataSet) -> list[Tensor]:
    """Return the pictures as `pipe infer` hands them to the network, one to a batch."""
    pixels = [prepare(sample, model.input_size).pixels for sample in dataset.samples]
    return [torch.from_numpy(image.copy())[None].permute(0, 3, 1, 2).float().div_(255) for image in pixels]


@torch.inference_mode()
def forward_alone(model: Model, images: list[Tensor]) -> None:
    """Run the network, and nothing else."""
    for image in images:
        model.logits(image)


def measure_forward(sheet: Sheet, folder: Path, models: dict[str, Model]) -> None:
    """The networks as `pipe infer` runs them beside the plain modules."""
    lines = []
    for name in ("erfnet", "eomt"):
        images = torch.rand(1, 3, *SIZES[name])
        ours = partial(_ours, models[name], images.to(memory_format=torch.channels_last))
        tensors = read_checkpoint(folder / f"{name}.pth").tensors
        plain = erfnet.build(tensors) if name == "erfnet" else eomt.build(tensors, SIZES[name])
        module = Upstream(plain).eval() if isinstance(plain, EoMT) else plain
        lines.append([name, _by(SIZES[name]), *_beside(ours, partial(_run, module, images))])
    header = ("network", "input", "ours, s", "plain, s", "ours over plain", DIFFERENCE)
    sheet.table("One forward pass in float32, CPU; plain EoMT is as its authors run it", header, lines)


def measure_amp(sheet: Sheet, models: dict[str, Model]) -> None:
    """The networks with `--amp bf16` beside the same in float32.

    A processor without arithmetic in bfloat16 takes minutes for a pass of EoMT, and is not asked for one.
    """
    lines: list[list[object]] = []
    for name in ("erfnet", "eomt"):
        images = torch.rand(1, 3, *SIZES[name]).to(memory_format=torch.channels_last)
        half, full = (partial(_ours, model, images) for model in (replace(models[name], amp="bf16"), models[name]))
        lines.append([name, _by(SIZES[name]), *_beside(half, full)])
        if median(take_turns({"half": half}, 1), "half") > median(take_turns({"full": full}, 1), "full"):
            break
    header = ("network", "input", "bf16, s", "float32, s", "bf16 over float32", DIFFERENCE)
    sheet.table("One forward pass with --amp bf16, CPU", header, lines)


DIFFERENCE = "largest difference over standard deviation"


def _beside(run: Forward, other: Forward) -> list[object]:
    """Return the times of two ways, the one over the other, and how far apart their logits are."""
    apart = max(float((a - b).abs().max() / b.std()) for a, b in zip(run(), other(), strict=True))
    seconds = take_turns({"run": run, "other": other}, FORWARD_ROUNDS)
    return [median(seconds, "run"), median(seconds, "other"), ratio(seconds, "run", "other"), f"{apart:.1e}"]


class Upstream(nn.Module):
    """EoMT as its authors' code runs it at inference once masks are off.

    Before each block with queries it predicts masks and classes from what there is so far, turns the masks into one
    for the attention, and then lets every query look everywhere all the same: the attention gets a mask that is true
    throughout. Of the same weights, the outputs are those of `network`.
    """

    def __init__(self, network: EoMT) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Images [B, 3, H, W] -> mask logits and class logits, the last of as many as there are predictions."""
        network = self.network
        blocks = list(network.encoder.backbone.blocks)
        first, x = len(blocks) - len(network.masked), network.encoder(images)
        for block in blocks[:first]:
            x = block(x)
        x = torch.cat([network.q.weight.expand(len(x), -1, -1), x], dim=1)
        for block in blocks[first:]:
            x = block(x, self._mask(x, self._predict(x)[0]))
        return self._predict(x)

    def _predict(self, x: Tensor) -> tuple[Tensor, Tensor]:
        queries, patches = self.network._normed(x)
        return self.network._mask_logits(queries, patches), self.network.class_head(queries)

    def _mask(self, x: Tensor, masks: Tensor) -> Tensor:
        """Tokens [B, N, D] and mask logits -> where each token may look, [B, 1, N, N] bool: everywhere."""
        Q, backbone = self.network.q.num_embeddings, self.network.encoder.backbone
        allowed = torch.ones(len(x), x.shape[1], x.shape[1], dtype=torch.bool)
        of_queries = allowed[:, :Q, Q + backbone.prefix_tokens :]
        of_queries[...] = functional.interpolate(masks, backbone.grid, mode="bilinear").flatten(2) > 0
        of_queries[torch.rand(len(x), Q) >= 0] = True  # a mask stays with the probability that training ended on, 0
        return allowed[:, None]


def _ours(model: Model, images: Tensor) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        return tuple(model.logits(images).values())


def _run(module: nn.Module, images: Tensor) -> tuple[Tensor, ...]:
    with torch.inference_mode():
        outputs = module(images)
    return outputs if isinstance(outputs, tuple) else (outputs,)


def _by(size: tuple[int, int]) -> str:
    return "x".join(map(str, size))


def main() -> None:
    """Measure, print and save."""
    sheet = Sheet("infer")
    keep_freed_memory()  # as `pipe infer` does
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        dataset = made_data(folder)
        models = {name: made_model(folder, name) for name in SIZES}
        measure_forward(sheet, folder, models)
        measure_amp(sheet, models)
        measure_overhead(sheet, folder, dataset, models)
    sheet.save()


if __name__ == "__main__":
    main()
