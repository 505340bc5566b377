"""What a device says when it fails, as errors of the project."""

import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import torch

from logitpipe.cache.errors import PipeError

NO_MEMORY = re.compile(r"out of memory|can't allocate memory|(CUBLAS|CUDNN)_STATUS_\w*ALLOC\w*_FAILED", re.IGNORECASE)
"""In what libraries say of memory that could not be had: only some of it comes as torch.OutOfMemoryError."""

OF_DEVICE = re.compile(
    r"\b(CUDA|CUDNN|CUBLAS|MPS|HIP)(\b|_STATUS)|NVIDIA driver|unable to find an engine", re.IGNORECASE
)
"""In what a device's libraries say of other failures; torch has a class of its own for these from 2.8 on. The last is
what torch says where cuDNN has no way to compute a convolution."""

NOT_WRITTEN = re.compile(r"operator '([\w:.]+)' is not currently implemented for the \w+ device")
"""What torch says of an operation that it has on other devices; on MPS some are missing."""


def is_out_of_memory(error: Exception) -> bool:
    """Whether a device or the host had too little memory."""
    return isinstance(error, torch.OutOfMemoryError) or bool(NO_MEMORY.search(str(error)))


def lacks_operation(error: Exception) -> str | None:
    """Return the operation that torch cannot compute on the device; None for any other error."""
    return found[1] if (found := NOT_WRITTEN.search(str(error))) else None


@contextmanager
def device_errors(device: torch.device, names: Sequence[str] = ()) -> Iterator[None]:
    """Turn what a device raises into one line; what is no device's is left as it is.

    CUDA works behind the program and reports a failure at whatever is asked of it next, so that this stands around
    all that is asked of it.

    Parameters
    ----------
    device : where the network runs
    names : of the pictures that are computed; none while the network is loaded

    Raises
    ------
    PipeError
        The device has too little memory, lacks an operation, or has failed.
    """
    try:
        yield
    # A TypeError is what MPS raises for float64, which it does not have.
    except (RuntimeError, TypeError) as error:
        first = next(iter(str(error).splitlines()), type(error).__name__)
        if is_out_of_memory(error):
            what, remedy = (f"{len(names)} images at once", "smaller-batch") if names else ("the network", "room")
            raise PipeError(f"{device} has too little memory for {what}", remedy) from error
        if operation := lacks_operation(error):
            raise PipeError(
                f"torch {torch.__version__} does not compute {operation} on {device}, and the network needs it",
                "lacks-operation",
            ) from error
        if OF_DEVICE.search(str(error)):
            # "At or shortly before": what was launched asynchronously fails later than it was asked for.
            when = f"at image {names[0]!r} or shortly before" if names else "before any image was computed"
            raise PipeError(f"{device} failed {when} ({first})", "device-failed") from error
        raise
