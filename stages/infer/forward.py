"""One pass of pictures through the network: their windows in, their logits on the way to the host."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import Size
from logitpipe.stages.infer.data.geometry import Frame
from logitpipe.stages.infer.data.preprocess import Prepared
from logitpipe.stages.infer.device.device import on_device
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.infer.device.planes import all_finite, planes
from logitpipe.stages.infer.device.transfer import Transfer
from logitpipe.stages.infer.model import Model

Arriving = Callable[[], dict[str, np.ndarray]]
"""Waits for the logits of an image and returns them by array name, as the store wants them."""


class _Crop(NamedTuple):
    """A window of one of the pictures of a batch."""

    picture: int
    pixels: np.ndarray
    padded: Size


@torch.inference_mode()
def launch(
    model: Model,
    transfer: Transfer,
    batch: Sequence[Prepared],
    precision: str,
    names: Sequence[str],
    at_once: int | None = None,
) -> list[Arriving]:
    """Run some pictures, and begin to copy their logits to the host.

    Parameters
    ----------
    model : the network
    transfer : from its device
    batch : B pictures
    precision : dtype of the logits on disk; class logits of mask networks stay float32
    names : of the pictures, for errors
    at_once : windows in each pass through the network; where there are fewer, copies fill it up. None: as many as are
        of one size, but not more than there are pictures

    Returns
    -------
    for each picture what gives its logits: (C, h, w); or mask logits (Q, h, w) and class logits (Q, K + 1), where
    pictures are cut into windows with these in front

    Raises
    ------
    PipeError
        The device has too little memory or fails; also from what is returned, as a device says late what it failed
        in: or a logit is NaN or infinite, or becomes so in `precision`.
    """
    crops = [_Crop(i, crop, each.frame.padded) for i, each in enumerate(batch) for crop in each.crops()]
    found: list[list[Mapping[str, Tensor]]] = [[] for _ in batch]
    # All of it: the conversion, the reordering and the page-locked memory can be what no room is left for.
    with device_errors(model.device, names), on_device(model.device):
        for part in _passes(crops, at_once or len(batch)):
            pixels = [crop.pixels for crop in part]
            pixels += pixels[-1:] * ((at_once or 0) - len(part))
            outputs = model.logits(_to_device(pixels, model.device, part[0].padded, model.padding_colour))
            for place, crop in enumerate(part):
                found[crop.picture].append({name: each[place : place + 1] for name, each in outputs.items()})
        joined = [_joined(model, each.frame, windows) for each, windows in zip(batch, found, strict=True)]
        return [
            _all(
                {array: _begin(transfer, array, output, precision, name) for array, output in each.items()},
                model.device,
                names,
            )
            for each, name in zip(joined, names, strict=True)
        ]


def _all(arriving: Mapping[str, Callable[[], np.ndarray]], device: torch.device, names: Sequence[str]) -> Arriving:
    def arrived() -> dict[str, np.ndarray]:
        with device_errors(device, names):
            return {name: arrive() for name, arrive in arriving.items()}

    return arrived


def _passes(crops: Sequence[_Crop], most: int) -> Iterator[list[_Crop]]:
    """Divide windows into parts of one size and at most so many."""
    part: list[_Crop] = []
    for crop in crops:
        if part and (len(part) == most or crop.padded != part[0].padded):
            yield part
            part = []
        part.append(crop)
    if part:
        yield part


def _to_device(
    pixels: Sequence[np.ndarray],
    device: torch.device,
    size: Size | None = None,
    colour: tuple[float, float, float] = (0, 0, 0),
) -> Tensor:
    """B pictures, uint8 (h, w, 3) -> float32 [B, 3, H, W] in 0..1, channels innermost.

    They travel as bytes, a quarter of the size. Those that are smaller than `size`, (H, W), are padded right and
    below with a colour, which is in 0..1 as well.
    """
    size = size or (pixels[0].shape[0], pixels[0].shape[1])
    if is_whole := all(each.shape[:2] == size for each in pixels):
        batch = torch.from_numpy(np.stack(pixels))
    else:
        batch = torch.zeros(len(pixels), *size, 3, dtype=torch.uint8)
        for place, each in zip(batch, pixels, strict=True):
            place[: each.shape[0], : each.shape[1]] = torch.from_numpy(each.copy())
    if device.type == "cuda":
        # A copy from pageable memory is never asynchronous on CUDA, whatever `non_blocking` says.
        batch = batch.pin_memory()
    # Elsewhere an asynchronous copy would read `batch` after it is gone: on MPS that gives wrong logits, silently.
    pictures = batch.to(device, non_blocking=device.type == "cuda").permute(0, 3, 1, 2).float().div_(255)
    if not is_whole:
        # In float32, as the mean colour is no whole number of 8 bits; and number by number, as a tensor of them would
        # come from pageable memory, and CUDA waits for such a copy until all that was launched before it is done.
        for picture, each in zip(pictures, pixels, strict=True):
            for plane, value in zip(picture, colour, strict=True):
                plane[each.shape[0] :] = value
                plane[:, each.shape[1] :] = value
    return pictures


def _joined(model: Model, frame: Frame, windows: Sequence[Mapping[str, Tensor]]) -> dict[str, Tensor]:
    """Join the outputs of a picture's windows, [1, ...] each: merged as logits, or one behind the other."""
    if model.merges_windows:
        return {"logits": merged([each["logits"] for each in windows], frame)}
    if len(windows) == 1:
        return dict(windows[0])
    return {name: torch.cat([each[name] for each in windows]) for name in windows[0]}


def merged(logits: Sequence[Tensor], frame: Frame) -> Tensor:
    """Logits of windows, [1, C, h, w] each -> their average on the resized picture, [1, C, H, W].

    As mmsegmentation has it: each window's logits are resampled to its size, summed, and divided by how many windows
    cover a pixel. All of that is linear, and comes before any temperature.
    """
    # In float32 whatever the network computes in: sums of several windows in half precision would lose digits.
    total = logits[0].new_zeros((1, logits[0].shape[1], *frame.resized), dtype=torch.float32)
    count = total.new_zeros(frame.resized)
    for each, (top, left, bottom, right) in zip(logits, frame.windows, strict=True):
        # To the padded size, and cut below: resampled to the picture's own size, pixels would shift.
        window = functional.interpolate(each.float(), frame.padded, mode="bilinear", align_corners=False)
        part = total[:, :, top:bottom, left:right]
        part += window[:, :, : part.shape[2], : part.shape[3]]
        count[top:bottom, left:right] += 1
    return total / count


def _begin(transfer: Transfer, array: str, output: Tensor, precision: str, name: str) -> Callable[[], np.ndarray]:
    """Begin to copy the logits of one picture, [W, ...] of its W windows."""
    # Class logits are few, so half precision would save little.
    dtype = torch.float32 if array == "class_logits" else getattr(torch, precision)
    converted = planes(output.to(dtype))
    # After the conversion: a logit beyond 65504 becomes infinite only in float16.
    finite, values = transfer.begin(all_finite(converted)), transfer.begin(converted)

    def arrive() -> np.ndarray:
        if not finite().all():
            raise _not_finite(name, output)
        found = values().numpy()
        return found[0] if len(found) == 1 else found

    return arrive


def _not_finite(name: str, logits: Tensor) -> PipeError:
    # On the network's own output: this tells a network that gives NaN from one whose logits do not fit float16.
    broken = int((~logits.isfinite()).sum())
    if broken:
        return PipeError(
            f"image {name!r}: {broken} of {logits.numel()} logits are NaN or infinite, so the network and its "
            "weights do not belong together, or the weights are damaged; the image was not stored"
        )
    return PipeError(
        f"image {name!r}: a logit of magnitude {logits.abs().max().item():g} does not fit float16, which ends at "
        "65504; the image was not stored",
        "store-float32",
    )
