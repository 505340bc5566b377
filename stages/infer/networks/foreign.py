"""Networks that were not written for this project: any module becomes one of the seam."""

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.data.geometry import MOST_PIXELS, Resize
from logitpipe.stages.infer.device.failures import is_out_of_memory, lacks_operation
from logitpipe.stages.infer.networks.base import SegmentationNetwork
from logitpipe.stages.infer.networks.outputs import logits_of
from logitpipe.stages.infer.networks.seam import Preprocessing

COLOURS = ("RGB", "BGR")
"""Orders of a picture's channels that networks take."""

MOST_WORDS = 300
"""Of what a foreign network says when it fails, in characters."""


@dataclass(frozen=True)
class Declaration:
    """What must be known of a foreign network, by the keys under which a module or a flag declares it.

    Parameters
    ----------
    mean, std, range, colour : as in `Preprocessing`
    multiple : in pixels, which both sides of its input must be multiples of
    resize : as in `Network`; None where a user must say it
    output : which part of what it returns are its logits, keys or indices with dots between them
    classes, void_class, outlier_class : as for `channels.name_channels`
    """

    mean: tuple[float, float, float] = Preprocessing.mean
    std: tuple[float, float, float] = Preprocessing.std
    range: float = Preprocessing.range
    colour: str = Preprocessing.colour
    multiple: int = 1
    resize: str | None = None
    output: str | int | None = None
    classes: str | tuple[str, ...] | None = None
    void_class: str | None = None
    outlier_class: str | None = None

    def __post_init__(self) -> None:
        for name in ("mean", "std"):
            value = getattr(self, name)
            if not (isinstance(value, tuple) and len(value) == 3 and all(isinstance(n, (int, float)) for n in value)):
                raise UsageError(f"the {name} of a network is three numbers, for red, green and blue, not {value!r}")
        if not (isinstance(self.range, (int, float)) and self.range > 0 and min(self.std) > 0):
            raise UsageError(f"range and std of a network are positive, and {self.range!r} and {self.std!r} are not")
        if self.colour not in COLOURS:
            raise UsageError(f"a network takes pictures as {' or '.join(COLOURS)}, not as {self.colour!r}")
        if not (isinstance(self.multiple, int) and self.multiple > 0):
            raise UsageError(f"sides of a network's input are multiples of some pixels, not of {self.multiple!r}")
        if self.resize is not None:
            Resize.parse(str(self.resize))

    @property
    def preprocessing(self) -> Preprocessing:
        """What the network wants done to a picture's values; UsageError for a mean that no picture has."""
        # Not where it is made: range and mean may be declared by different people, one after the other.
        if max(self.mean) > self.range:
            raise UsageError(f"the mean of pictures is at most their range, {self.range:g}, not {self.mean}", "range")
        return Preprocessing(self.mean, self.std, self.range, self.colour)

    def with_values(self, values: Mapping[str, Any], who: str) -> "Declaration":
        """Return the declaration with what somebody else declares; UsageError for keys that mean nothing.

        Parameters
        ----------
        values : by key; lists count as tuples
        who : declares them, for errors
        """
        known = [each.name for each in fields(self)]
        if unknown := [key for key in values if key not in known]:
            raise UsageError(f"{who} declares {unknown[0]!r}, and what can be declared is {', '.join(known)}")
        changed: dict[str, Any] = {key: tuple(v) if isinstance(v, list) else v for key, v in values.items()}
        return replace(self, **changed)


class Foreign(SegmentationNetwork):
    """A module of someone else's, in evaluation mode, that takes pictures in 0..1 and gives its logits alone.

    Parameters
    ----------
    module : the network
    name : of it, for errors
    preprocessing : what it wants done to a picture's values
    output : which part of what it returns are its logits, as in `Declaration`
    facts : about it, plain enough for JSON
    """

    mean: Tensor
    std: Tensor

    def __init__(
        self,
        module: nn.Module,
        name: str,
        preprocessing: Preprocessing,
        output: str | int | None,
        facts: dict[str, Any],
    ) -> None:
        super().__init__()
        self.module, self.name, self.preprocessing, self.output = module, name, preprocessing, output
        # RGB goes without saying: stores that were begun before networks could declare it are still finished.
        self.facts = facts | {k: v for k, v in asdict(preprocessing).items() if (k, v) != ("colour", "RGB")}
        self.register_buffer("mean", torch.tensor(preprocessing.mean).view(1, 3, 1, 1))
        self.register_buffer("std", torch.tensor(preprocessing.std).view(1, 3, 1, 1))
        self.shapes: dict[tuple[int, int], tuple[tuple[int, ...], ...]] = {}

    def forward(self, images: Tensor) -> Tensor | tuple[Tensor, Tensor]:
        """Images [B, 3, H, W], RGB in 0..1 -> logits as `Network` has them; PipeError for whatever goes wrong."""
        ordered = images.flip(1) if self.preprocessing.colour == "BGR" else images
        pictures = (ordered * self.preprocessing.range - self.mean) / self.std
        try:
            outputs = self.module(pictures)
        except Exception as error:
            if is_out_of_memory(error) or lacks_operation(error):
                raise  # that is the device's, and has a remedy: `device_errors` tells it
            raise PipeError(f"{self.name} fails on pictures of {_size(images)}: {told(error)}") from error
        logits = logits_of(outputs, self.output, self.name)
        # What it first gives for a size is what it must give for that size from then on.
        self.shapes.setdefault((images.shape[2], images.shape[3]), _shapes(logits))
        return logits

    def output_shapes(self, input_size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
        """Shapes of what `forward` gives for one image of (H, W) pixels; it is run once to see."""
        if input_size not in self.shapes:
            self.probe(input_size)
        return self.shapes[input_size]

    def probe(self, input_size: tuple[int, int]) -> Tensor | tuple[Tensor, Tensor]:
        """Return what `forward` gives for one black image of (H, W) pixels."""
        if input_size[0] * input_size[1] > MOST_PIXELS:
            raise UsageError(f"the network's input may have at most {MOST_PIXELS} pixels")
        with torch.inference_mode():
            return self(torch.zeros(1, 3, *input_size, device=self.mean.device))


def _shapes(outputs: Tensor | tuple[Tensor, Tensor]) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(each.shape[1:]) for each in (outputs if isinstance(outputs, tuple) else (outputs,)))


def _size(images: Tensor) -> str:
    return f"{images.shape[2]}x{images.shape[3]} (HxW), {len(images)} at once"


def told(error: BaseException) -> str:
    """Return what an error of foreign code says, in one line, and where in that code it arose."""
    words = " ".join(str(error).split())
    shown = f"{words[:MOST_WORDS]} ..." if len(words) > MOST_WORDS else words
    return f"{type(error).__name__}{': ' if shown else ''}{shown}{_place(error)}"


def _place(error: BaseException) -> str:
    """File and line of the innermost call that is in no installed package."""
    place, trace = "", error.__traceback__
    while trace:
        file = Path(trace.tb_frame.f_code.co_filename)
        if file.suffix == ".py" and file.exists() and not {"site-packages", "logitpipe"} & set(file.parts):
            place = f" ({file.name}, line {trace.tb_lineno})"
        trace = trace.tb_next
    return place


def state_sha256(module: nn.Module) -> str:
    """SHA-256 over the names, kinds, shapes and bytes of a module's weights, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    # By name: the order of a state dict is that in which a module was put together.
    for key, value in sorted(module.state_dict().items()):
        if isinstance(value, Tensor):
            digest.update(f"{key} {value.dtype} {tuple(value.shape)}\n".encode())
            digest.update(value.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()
