"""Where the network runs."""

import os
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.cores import cores_of_rank
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.ranks import rank_on_node

BATCH_ON_ACCELERATOR = 4
MOST_BACKGROUND_THREADS = 8
"""Most threads that decode or encode on the same cores as the network, which needs these most of the time."""
QUEUE_BYTES = 512 << 20
"""Memory for the images that are decoded and wait for the network, or are computed and wait for an encoder."""
MOST_PASSES = 4
"""Forward passes side by side on a CPU: each has memory of its own for what flows through the network."""


def choose_device(name: str) -> torch.device:
    """Return the device called `name`; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Of several ranks on a machine each takes a GPU of its own, as far as there are any.

    Raises
    ------
    PipeError
        This machine has no such device, there is none of this name, or it cannot be used.
    """
    device = _best() if name == "auto" else _named(name)
    if device.type == "cuda":
        if device.index is None:
            # Without a number every rank would take the first GPU. Ranks beyond the GPUs share them.
            device = torch.device("cuda", rank_on_node() % max(1, torch.cuda.device_count()))
        # Read once, when cuBLAS is first used: products of equal inputs are then added in one order.
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        with device_errors(device):
            # The first call to the device: a driver that is too old or a GPU that is taken is found here.
            torch.cuda.set_device(device)
        with warnings.catch_warnings():
            # torch 2.9 to 2.12 warn, once, of the names that older releases have alone.
            warnings.filterwarnings("ignore", "Please use the new API settings to control TF32")
            set_arithmetic(tf32=False)
    return device


def set_arithmetic(tf32: bool) -> None:
    """Tell CUDA how to compute, whatever a network's own code has told it.

    Convolutions choose their algorithm by rule and not by a race, so that a run gives the logits of the run before.

    Parameters
    ----------
    tf32 : whether products and convolutions of float32 may keep 10 bits of a factor's 23, in TF32; if not, the logits
        agree with a CPU's
    """
    cudnn = torch.backends.cudnn
    cudnn.benchmark, cudnn.deterministic = False, True
    torch.backends.cuda.matmul.allow_tf32 = cudnn.allow_tf32 = tf32
    # Since torch 2.9 "not allowed" is no word by itself: a convolution then does as `torch.backends.fp32_precision`
    # says. All of these names are set, as torch refuses to read those that contradict each other.
    for name in ("conv", "rnn"):
        if hasattr(operation := getattr(cudnn, name, None), "fp32_precision"):
            setattr(operation, "fp32_precision", "tf32" if tf32 else "ieee")  # noqa: B010 (older torch lacks the name)


def on_device(device: torch.device) -> AbstractContextManager[object]:
    """Make a CUDA device the current one of this thread; each thread begins with the first.

    A thread that asks for nothing but another device still makes, when it leaves a stream, a context on its current
    one: some hundred MB on the first GPU for each rank.
    """
    return torch.cuda.device(device) if device.type == "cuda" else nullcontext()


def device_name(device: torch.device) -> str:
    """Return the model of a CUDA device, and of any other its type."""
    return torch.cuda.get_device_name(device) if device.type == "cuda" else device.type


def default_batch_size(device: torch.device) -> int:
    """Return 1 for a CPU, which a single image keeps busy, and more for what it does not."""
    return 1 if device.type == "cpu" else BATCH_ON_ACCELERATOR


def background_threads(device: torch.device) -> int:
    """Return how many threads decode, and how many encode, beside the network: one for each core of this rank."""
    cores = cores_of_rank()
    # Beside an accelerator the cores have nothing else to do.
    return cores if device.type != "cpu" else min(MOST_BACKGROUND_THREADS, cores)


def queue_depth(device: torch.device, batch_size: int, image_bytes: int) -> int:
    """Return how many images may wait before the network, and as many behind it.

    A whole batch must be decoded before the network can start, and each thread has one more image at work; beyond
    that only as many as memory allows. On CUDA computed images wait in page-locked memory, which torch hands out
    again once they are committed; so the bound is also one of that memory, up to a factor of 2, as torch takes it in
    powers of two.

    Parameters
    ----------
    batch_size : images in one forward pass
    image_bytes : decoded size of an image in the store
    """
    wanted = batch_size + background_threads(device)
    return max(batch_size + 1, min(wanted, QUEUE_BYTES // max(1, image_bytes)))


@contextmanager
def side_by_side(device: torch.device) -> Iterator[int]:
    """Split a CPU's cores among several forward passes and yield their number; 1 on other devices.

    A pass that has all cores waits in each layer for the core that a decoder or an encoder has just taken. Passes
    that have a core or a few for themselves do not wait for one another.
    """
    before = torch.get_num_threads()
    # Torch counts the machine's cores; in a container, or beside other ranks, fewer may be granted.
    cores = min(before, cores_of_rank())
    passes = min(cores, MOST_PASSES) if device.type == "cpu" else 1
    # Whole numbers: a core that is left over goes to the threads that decode and encode.
    torch.set_num_threads(cores // passes)
    try:
        yield passes
    finally:
        torch.set_num_threads(before)


def _best() -> torch.device:
    if torch.cuda.is_available():
        return torch.device("cuda")
    return torch.device("mps" if torch.backends.mps.is_available() else "cpu")


def _named(name: str) -> torch.device:
    kind, _, index = name.partition(":")
    counts = {"cpu": 1, "cuda": torch.cuda.device_count(), "mps": int(torch.backends.mps.is_available())}
    if kind not in counts or not (index or "0").isdecimal():
        raise UsageError("expected auto, cpu, cuda, cuda:INDEX or mps", option="device", value=name)
    if int(index or 0) >= counts[kind]:
        raise PipeError(
            f"torch {torch.__version__} finds {counts[kind]} {kind} devices here",
            "device-auto",
            option="device",
            value=name,
        )
    return torch.device(name)
