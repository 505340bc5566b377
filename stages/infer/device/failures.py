"""What a device says when it fails, as errors of the project."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from logitpipe.cache.errors import PipeError

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|CUBLAS_STATUS_ALLOC_FAILED", re.IGNORECASE)
"""In what libraries say of memory that could not be had: only some of it comes as torch.OutOfMemoryError."""

OF_DEVICE = re.compile(r"\b(CUDA|CUDNN|CUBLAS|MPS|HIP)(\b|_STATUS)", re.IGNORECASE)
"""In what a device's libraries say of other failures; torch has a class of its own for these from 2.8 on."""


@contextmanager
def device_errors(device: torch.device, names: Sequence[str]) -> Iterator[None]:
    """Turn what a device raises into one line; what is no device's is left as it is.

    CUDA works behind the program and reports a failure at whatever is asked of it next, so that this stands around
    all that is asked of it.

    Parameters
    ----------
    device : where the network runs
    names : of the pictures that are computed

    Raises
    ------
    PipeError
        The device has too little memory, or has failed.
    """
    try:
        yield
    except RuntimeError as error:
        said = str(error)
        if isinstance(error, torch.OutOfMemoryError) or NO_MEMORY.search(said):
            raise PipeError(
                f"{device} has too little memory for {len(names)} images at once", "smaller-batch"
            ) from error
        # "At or shortly before": what was launched asynchronously fails later than it was asked for.
        if OF_DEVICE.search(said):
            first = next(iter(said.splitlines()), type(error).__name__)
            raise PipeError(
                f"{device} failed at image {names[0]!r} or shortly before ({first})", "device-failed"
            ) from error
        raise
