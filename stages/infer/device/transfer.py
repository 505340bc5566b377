"""Copies of logits from the device to the host."""

from collections.abc import Callable

import torch
from torch import Tensor

Arrival = Callable[[], Tensor]
"""Waits for a tensor and returns it, on the host."""


class Transfer:
    """Copies from one device to the host, asynchronous on CUDA.

    From CUDA they go into page-locked memory on a stream of their own, so that the network's next batch does not
    wait for them. Other devices copy at once.

    Parameters
    ----------
    device : where the tensors are
    """

    def __init__(self, device: torch.device) -> None:
        self._stream = torch.cuda.Stream(device) if device.type == "cuda" else None

    @property
    def batches_behind(self) -> int:
        """Batches to launch before waiting for the oldest copy; 0 = synchronous."""
        return 0 if self._stream is None else 1

    def begin(self, tensor: Tensor) -> Arrival:
        """Start to copy a tensor to the host, after the device has computed it."""
        if self._stream is None:
            host = tensor.cpu()
            return lambda: host
        return _begin_on(self._stream, tensor)


def _begin_on(stream: torch.cuda.Stream, tensor: Tensor) -> Arrival:
    # The copy must not start before the network has computed the tensor.
    stream.wait_stream(torch.cuda.current_stream(tensor.device))
    with torch.cuda.stream(stream):
        # No ring of buffers of our own: torch keeps page-locked memory that was freed, and gives it to the next
        # tensor of about that size once the copies that it knows of have ended. How much of it is in use at a time
        # is bounded by how many images may wait, see `device.queue_depth`.
        host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=True)
        host.copy_(tensor, non_blocking=True)
        arrived = stream.record_event()
    tensor.record_stream(stream)  # or its memory would be given to the next batch while it is read

    def wait() -> Tensor:
        arrived.synchronize()
        return host

    return wait
