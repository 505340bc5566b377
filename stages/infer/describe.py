"""What a run is, as the schema of the store that it fills."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import PIL
import torch

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.schema import Precision
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.preprocess import PREPROCESSING
from logitpipe.stages.infer.device.device import device_name
from logitpipe.stages.infer.model import Model


def describe(model: Model, dataset: DataSet, precision: Precision) -> version2.Schema:
    """Return the schema of a network's logits over a data set; PipeError where no store could hold them."""
    named, (height, width), shape = model.network.channels, model.input_size, _logits_shape(model)
    normal = model.network.preprocessing
    with _fitting(model, dataset):
        return version2.Schema(
            **_common(model, dataset, precision),
            layout=dataset.layout,
            label_codes=dataset.label_codes,
            closed_set_codes=dataset.closed_set_codes or None,
            selection=dataset.selection,
            limit=dataset.limit,
            void_class=named.void,
            outlier_class=named.outlier,
            sigmoid_at="masks" if model.kind == "mask" else None,
            preprocessing={
                "colour": "RGB",
                "resize": f"{height}x{width}",
                "filter": "bilinear",
                "range": normal.range,
                "mean": list(normal.mean),
                "std": list(normal.std),
                **_of_masks(dataset),
            },
            windows=1,
            preview_size=((height + 1) // 2, (width + 1) // 2),
            chunk_rows=version2.chunk_rows(shape, precision),
        )


def describe_earlier(model: Model, dataset: DataSet, precision: Precision) -> version1.Schema:
    """Return the same in format version 1, in which an earlier run may have begun; raises as `describe`."""
    named = model.network.channels
    with _fitting(model, dataset):
        return version1.Schema(
            **_common(model, dataset, precision),
            void_class=named.outlier if named.void is None else named.void,
            preprocessing=PREPROCESSING | _of_masks(dataset),
        )


def _of_masks(dataset: DataSet) -> dict[str, str]:
    return {"mask_resize": "nearest"} if dataset.mask_rules.resize else {}


def _common(model: Model, dataset: DataSet, precision: Precision) -> dict[str, Any]:
    """Return what the schemas of both versions have."""
    named, (height, width) = model.network.channels, dataset.label_shape
    if named.void is not None and named.outlier is not None:
        raise PipeError(f"{model.name}: a store keeps one class that is not among the known ones, void or outlier")
    return {
        "kind": model.kind,
        "network": model.name,
        "facts": model.module.facts | ({} if model.amp == "none" else {"amp": model.amp}),
        "weights_sha256": model.network.weights_sha256,
        "dataset": dataset.name,
        "classes": named.names,
        "input_size": model.input_size,
        "logits_shape": _logits_shape(model),
        "precision": precision,
        "images": tuple(sample.name for sample in dataset.samples),
        "label_shape": (max(1, height), max(1, width)),  # no picture may have a mask
        "software": software(model),
    }


def _logits_shape(model: Model) -> tuple[int, int, int]:
    channels, height, width = model.output_shapes()["mask_logits" if model.kind == "mask" else "logits"]
    return channels, height, width


@contextmanager
def _fitting(model: Model, dataset: DataSet) -> Iterator[None]:
    """Say what to do about logits that no store can hold."""
    try:
        yield
    except ValueError as error:
        raise PipeError(
            f"{model.name} over {dataset.name}: no store can hold these logits ({error})",
            "smaller-pictures",
        ) from error


def software(model: Model) -> dict[str, str]:
    """Return what decides the last bits of the logits: versions, the device, and how it was told to compute."""
    device = model.device
    found = {
        "logitpipe": version("logitpipe"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "device": device_name(device),
    }
    if device.type == "cpu":
        return found | {"instructions": torch.backends.cpu.get_cpu_capability()}
    if device.type == "cuda":
        cudnn = torch.backends.cudnn
        capability = ".".join(map(str, torch.cuda.get_device_capability(device)))
        return found | {
            "cuda": str(torch.version.cuda),
            "cudnn": str(cudnn.version()),
            "compute_capability": capability,
            "tf32": "on" if model.amp == "tf32" else "off",
            "cudnn_algorithms": "deterministic" if cudnn.deterministic and not cudnn.benchmark else "any",
        }
    return found
