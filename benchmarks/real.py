"""Real pictures and weights, where the variable PIPE_REAL_DATA says that there are some."""

import os
from collections.abc import Iterator
from pathlib import Path

import torch

from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.data.datasets import DataSet, read_dataset
from logitpipe.stages.infer.describe import describe
from logitpipe.stages.infer.model import Model, load_model
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.infer.run import infer_images

DATASETS = ("RoadAnomaly21", "fs_static")
"""Ten pictures of 720x1280, and thirty of 1024x2048."""
WEIGHTS = {"erfnet": "erfnet_cityscapes.pth", "enet": "enet_cityscapes_void.pth"}


def real_folder() -> Path | None:
    """Return the folder of real data, or None."""
    folder = os.environ.get("PIPE_REAL_DATA")
    return Path(folder) if folder else None


def real_data(folder: Path, dataset: str = DATASETS[0]) -> DataSet:
    """Return the pictures of one of DATASETS."""
    return read_dataset(folder, dataset, None)


def real_models(folder: Path) -> Iterator[Model]:
    """Load the networks whose trained weights there are."""
    for name, file in WEIGHTS.items():
        yield load_model(Source(name, folder / "weights" / file), torch.device("cpu"))


def real_store(folder: Path, path: Path, dataset: str = DATASETS[0]) -> Path:
    """Make a store of ENet's logits over the pictures of one of DATASETS; return its path."""
    model, data = next(model for model in real_models(folder) if model.name == "enet"), real_data(folder, dataset)
    writer = StoreWriter(path, describe(model, data, "float16"))
    infer_images(model, data, writer, range(len(data.samples)), 1, lambda: None)
    return path
