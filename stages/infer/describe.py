"""What a run is, as the schema of the store that it fills."""

import platform
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from typing import Any

import numpy as np
import PIL
import torch

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.cache.format import version1, version2
from logitpipe.cache.format.geometry import Size, by
from logitpipe.cache.format.schema import Precision
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.geometry import Frame, check_input_size
from logitpipe.stages.infer.data.preprocess import PREPROCESSING
from logitpipe.stages.infer.device.device import device_name
from logitpipe.stages.infer.model import Model


def describe(model: Model, dataset: DataSet, precision: Precision) -> version2.Schema:
    """Return the schema of a network's logits over a data set; PipeError where no store could hold them."""
    named, normal, frames = model.network.channels, model.network.preprocessing, _frames(model, dataset)
    height, width = _largest([frame.resized for frame in frames])
    shape = _logits_shape(model, frames)
    with _fitting(model, dataset):
        return version2.Schema(
            **_common(model, dataset, precision, frames),
            layout=dataset.layout,
            label_codes=dataset.label_codes,
            closed_set_codes=dataset.closed_set_codes or None,
            selection=dataset.selection,
            limit=dataset.limit,
            void_class=named.void,
            outlier_class=named.outlier,
            sigmoid_at=model.network.sigmoid_at if model.kind == "mask" else None,
            preprocessing={
                "colour": normal.colour,
                "resize": str(model.resize),
                "filter": "bilinear",
                "range": normal.range,
                "mean": list(normal.mean),
                "std": list(normal.std),
                **({"multiple": model.network.multiple} if model.resize.input_size is None else {}),
                **({"padding": list(model.padding_colour)} if any(map(_is_padded, frames)) else {}),
                **_of_masks(dataset),
            },
            windows=1 if model.kind == "pixel" else max(len(frame.windows) for frame in frames),
            preview_size=((height + 1) // 2, (width + 1) // 2),
            chunk_rows=version2.chunk_rows(shape, precision),
        )


def describe_earlier(model: Model, dataset: DataSet, precision: Precision) -> version1.Schema | None:
    """Return the same in format version 1, in which an earlier run may have begun; raises as `describe`.

    None where that version has no words for it: it squashed every picture, and took the sigmoid at the masks' size.
    """
    named = model.network.channels
    if model.resize.base != "squash" or model.resize.is_windowed or model.network.sigmoid_at != "masks":
        return None
    with _fitting(model, dataset):
        return version1.Schema(
            # In that version's own words: a store that began in it is compared with this, field by field.
            **_common(model, dataset, precision, _frames(model, dataset)),
            void_class=named.outlier if named.void is None else named.void,
            preprocessing=PREPROCESSING | _of_masks(dataset),
        )


def _frames(model: Model, dataset: DataSet) -> list[Frame]:
    """Return where the pictures of a data set lie in the input, one for each size that they have.

    Raises UsageError for an input that is too large, or that the network does not take.
    """
    frames = [model.resize.frame(size) for size in sorted(dataset.picture_sizes)]
    for frame in frames:
        check_input_size(frame.padded, model.network.multiple)
        if (only := model.network.input_size) and frame.padded != only:
            raise UsageError(
                f"{model.name} takes pictures of {by(only)} (HxW) alone, and the rule {model.resize} makes one of "
                f"{dataset.name} {by(frame.padded)}",
                "fixed-size",
            )
    return frames


def _is_padded(frame: Frame) -> bool:
    height, width = frame.resized
    return any(bottom > height or right > width for _, _, bottom, right in frame.windows)


def _of_masks(dataset: DataSet) -> dict[str, str]:
    return {"mask_resize": "nearest"} if dataset.mask_rules.resize else {}


def _common(model: Model, dataset: DataSet, precision: Precision, frames: Sequence[Frame]) -> dict[str, Any]:
    """Return what the schemas of both versions have."""
    named, (height, width) = model.network.channels, dataset.label_shape
    if named.void is not None and named.outlier is not None:
        raise PipeError(f"{model.name}: a store keeps one class that is not among the known ones, void or outlier")
    return {
        "kind": model.kind,
        "network": model.name,
        # Left out where nothing is mixed, as in stores that were made before there was a choice.
        "facts": model.module.facts | ({} if model.amp == "none" else {"amp": model.amp}),
        "weights_sha256": model.network.weights_sha256,
        "dataset": dataset.name,
        "classes": named.names,
        # Merged windows are those of the resized picture, as if it had been the input.
        "input_size": _largest([frame.resized if model.merges_windows else frame.padded for frame in frames]),
        "logits_shape": _logits_shape(model, frames),
        "precision": precision,
        "images": tuple(sample.name for sample in dataset.samples),
        "label_shape": (max(1, height), max(1, width)),  # no picture may have a mask
        "software": software(model),
    }


def _logits_shape(model: Model, frames: Sequence[Frame]) -> tuple[int, int, int]:
    """Return the channels, or queries, and the largest height and width that logits will have."""
    array = "mask_logits" if model.kind == "mask" else "logits"
    # Of all sizes the tallest and the widest alone are asked for: a foreign network is run to see its outputs.
    tallest = max(frames, key=lambda frame: (frame.padded[0], -frame.padded[1])).padded
    widest = max(frames, key=lambda frame: (frame.padded[1], -frame.padded[0])).padded
    shapes = [model.output_shapes(size)[array] for size in dict.fromkeys((tallest, widest))]
    if model.merges_windows:
        return shapes[0][0], *_largest([frame.resized for frame in frames])
    return shapes[0][0], *_largest([(height, width) for _, height, width in shapes])


def _largest(sizes: Sequence[Size]) -> Size:
    """Return the largest height and the largest width."""
    heights, widths = zip(*sizes, strict=True)
    return max(heights), max(widths)


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
            "cuda": str(torch.version.cuda or f"ROCm {torch.version.hip}"),
            "cudnn": str(cudnn.version()),
            "compute_capability": capability,
            "tf32": "on" if model.amp == "tf32" else "off",
            "cudnn_algorithms": "deterministic" if cudnn.deterministic and not cudnn.benchmark else "any",
        }
    return found
