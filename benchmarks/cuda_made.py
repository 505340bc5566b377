"""What the parts of `benchmarks.cuda` share: the device, made pictures, networks whose weights a rule makes."""

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from importlib.util import module_from_spec, spec_from_file_location
from itertools import count
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor

from benchmarks.infer import made_data
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.data.datasets import DataSet, read_dataset
from logitpipe.stages.infer.describe import describe
from logitpipe.stages.infer.model import TF32_CAPABILITY, Amp, Model, load_model
from logitpipe.stages.infer.networks.enet import ENet
from logitpipe.stages.infer.networks.eomt.network import EoMT
from logitpipe.stages.infer.networks.erfnet import ERFNet
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.infer.run import infer_images

ROOT = Path(__file__).parents[1]


def _golden_rule() -> ModuleType:
    """Load the rule that makes weights from its file: a library may have brought a package called `tests`."""
    specification = spec_from_file_location("golden_rule", ROOT / "tests" / "golden_rule.py")
    assert specification
    assert specification.loader
    module = sys.modules["golden_rule"] = module_from_spec(specification)
    specification.loader.exec_module(module)
    return module


golden_rule = _golden_rule()

EOMT = {
    "patch_size": 16,
    "register_tokens": 4,
    "queries": 100,
    "classes": 19,
    "query_blocks": 3,
    "attn_mask_probs": [0.0] * 3,
    "masked_attention": False,
}
BASE = EOMT | {"width": 768, "depth": 12, "heads": 12, "mlp_width": 3072}
LARGE = EOMT | {"width": 1024, "depth": 24, "heads": 16, "mlp_width": 4096}
SMALL = EOMT | {"width": 64, "depth": 4, "heads": 1, "mlp_width": 64, "queries": 7}


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Parameters
    ----------
    sizes : input (H, W) of each network
    eomt : facts of each size of EoMT
    images, picture : number and (H, W) of the made pictures
    batches : images in one forward pass, the first being the ordinary one
    seconds : that a rate is measured for, at least
    """

    sizes: Mapping[str, tuple[int, int]]
    eomt: Mapping[str, dict[str, Any]]
    images: int
    picture: tuple[int, int]
    batches: Sequence[int]
    seconds: float


FULL = Scale(
    {"erfnet": (512, 1024), "eomt-base": (640, 1280), "enet": (512, 1024), "eomt-large": (640, 1280)},
    {"eomt-base": BASE, "eomt-large": LARGE},
    42,
    (720, 1280),
    (4, 16, 1),
    1.5,
)
TINY = Scale({"erfnet": (16, 32), "eomt-small": (32, 64)}, {"eomt-small": SMALL}, 5, (24, 40), (2,), 0.01)


class Bench:
    """The device, the scale, made pictures, checkpoints that a rule makes.

    Parameters
    ----------
    folder : for checkpoints, pictures and stores; what an earlier process has made there is used again
    device : where the networks run
    scale : how large everything is
    """

    def __init__(self, folder: Path, device: torch.device, scale: Scale) -> None:
        self.folder, self.device, self.scale = folder, device, scale
        # The mark is written last: a process that was ended may have left half of the pictures.
        if (mark := folder / "Made" / "whole").exists():
            self.dataset = read_dataset(folder, "Made", None)
        else:
            self.dataset = made_data(folder, scale.images, scale.picture)
            mark.touch()
        self.places = (path for i in count() if not (path := folder / f"{i}.zarr").exists())

    def source(self, name: str) -> Source:
        """Return a network whose weights follow from their names, so that they are the same everywhere."""
        file, size = self.folder / f"{name}.pth", self.scale.sizes[name]
        if not file.exists():
            torch.save(self._weights(name, size), file.with_suffix(".new"))
            file.with_suffix(".new").rename(file)
        return Source(name.partition("-")[0], file, size)

    def _weights(self, name: str, size: tuple[int, int]) -> dict[str, Tensor]:
        if name not in self.scale.eomt:
            small: dict[str, Tensor] = golden_rule.golden_weights(
                lambda: ERFNet(20) if name == "erfnet" else ENet(20)
            )
            return small
        facts, grid = self.scale.eomt[name], (size[0] // 16, size[1] // 16)
        weights: dict[str, Tensor] = golden_rule.golden_weights(lambda: EoMT(facts, grid))
        return weights | {"attn_mask_probs": torch.tensor(facts["attn_mask_probs"])}

    def model(self, name: str, device: torch.device | None = None, amp: Amp = "none") -> Model:
        """Load a network as `pipe infer` does."""
        return load_model(self.source(name), device or self.device, amp)

    def amps(self) -> list[Amp]:
        """Return the precisions that the device computes in."""
        modern = self.device.type == "cuda" and torch.cuda.get_device_capability(self.device) >= TF32_CAPABILITY
        return ["none", "tf32", "bf16"] if modern else ["none", "bf16"]

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)

    def data(self, images: int) -> DataSet:
        """Return so many pictures; where that is more than there are, they come again under other names."""
        there = self.dataset.samples
        again = (replace(there[i % len(there)], name=f"{i}.png") for i in range(images))
        return replace(self.dataset, samples=tuple(again))


def infer(model: Model, dataset: DataSet, place: Path, batch_size: int, of: Sequence[int] | None = None) -> None:
    """Do what `pipe infer` does once its network is loaded: compute what the store lacks of all or of some."""
    writer = StoreWriter(place, describe(model, dataset, "float16"))
    done = set(writer.completed())
    images = [image for image in (range(len(dataset.samples)) if of is None else of) if image not in done]
    infer_images(model, dataset, writer, images, batch_size, lambda: None)
