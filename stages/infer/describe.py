"""What a run is, as the schema of the store that it fills."""

import platform
from importlib.metadata import version

import numpy as np
import PIL
import torch

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.schema import Precision, Schema
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.preprocess import PREPROCESSING
from logitpipe.stages.infer.device.device import device_name
from logitpipe.stages.infer.model import Model


def describe(model: Model, dataset: DataSet, precision: Precision) -> Schema:
    """Return the schema of a network's logits over a data set; PipeError where no store could hold them."""
    shapes = model.output_shapes()
    channels, height, width = shapes["mask_logits" if model.kind == "mask" else "logits"]
    network, named = model.network, model.network.channels
    if named.void is not None and named.outlier is not None:
        raise PipeError(f"{model.name}: a store keeps one class that is not among the known ones, void or outlier")
    try:
        return Schema(
            kind=model.kind,
            network=model.name,
            facts=model.module.facts | ({} if model.amp == "none" else {"amp": model.amp}),
            weights_sha256=network.weights_sha256,
            dataset=dataset.name,
            classes=named.names,
            void_class=named.outlier if named.void is None else named.void,
            input_size=model.input_size,
            logits_shape=(channels, height, width),
            precision=precision,
            preprocessing=PREPROCESSING | ({"mask_resize": "nearest"} if dataset.mask_rules.resize else {}),
            images=tuple(sample.name for sample in dataset.samples),
            label_shape=dataset.label_shape,
            software=software(model.device),
        )
    except ValueError as error:
        raise PipeError(
            f"{model.name} over {dataset.name}: no store can hold these logits ({error}); "
            "choose a smaller --input-size, or take the largest pictures out"
        ) from error


def software(device: torch.device) -> dict[str, str]:
    """Return the versions of what computes the logits, and the device it computes on."""
    return {
        "logitpipe": version("logitpipe"),
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": np.__version__,
        "pillow": PIL.__version__,
        "device": device_name(device),
    }
