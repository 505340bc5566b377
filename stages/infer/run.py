"""Run loop: threads decode pictures ahead of the network and commit logits behind it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.preprocess import Prepared, prepare
from logitpipe.stages.infer.device.device import background_threads, queue_depth, side_by_side
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.infer.device.planes import all_finite, planes
from logitpipe.stages.infer.device.transfer import Transfer
from logitpipe.stages.infer.model import Model
from logitpipe.stages.infer.resume import require_committed, unwritable
from logitpipe.stages.streams import ahead, batched, behind, thread_pool


@dataclass(frozen=True)
class Computed:
    """One image, ready to be committed: its index, its arrays by name, the digests of its files, its sizes."""

    image: int
    values: dict[str, np.ndarray]
    sources: dict[str, str]
    geometry: Geometry


def infer_images(
    model: Model,
    dataset: DataSet,
    writer: StoreWriter,
    images: Sequence[int],
    batch_size: int,
    committed: Callable[[], None],
) -> None:
    """Compute images and commit them to a store.

    The first failure ends the run, whichever thread it comes from; images that were committed stay, and those that
    are computed by then are still committed.

    Parameters
    ----------
    model, dataset : what the store's schema describes
    writer : of the store
    images : indices of the images to compute
    batch_size : images in one forward pass
    committed : called in this thread after each commit

    Raises
    ------
    PipeError
        Another process is writing one of the images, a file cannot be decoded, logits are not finite in the store's
        precision, the device has too little memory, or the store cannot be written. The message names the image.
    IncompleteError
        An image that was committed is not in the store when all are done.
    """
    schema, threads = writer.schema, background_threads(model.device)

    def decoded(image: int) -> tuple[int, Prepared]:
        return image, prepare(dataset.samples[image], schema.input_size, dataset.mask_rules)

    def commit(computed: Computed) -> None:
        try:
            writer.commit(computed.image, computed.values, computed.sources, computed.geometry)
        except OSError as error:
            raise unwritable(writer, computed.image, images, error) from error

    depth = queue_depth(model.device, batch_size, schema.image_bytes())
    with (
        # Outermost: the images stay claimed until the last encoder has finished.
        writer.claimed(images),
        side_by_side(model.device) as passes,
        thread_pool(threads) as decoders,
        thread_pool(passes) as networks,
        # Not a `thread_pool`: after a failure this pool finishes what it has begun, so images that were computed
        # are still committed.
        ThreadPoolExecutor(threads) as encoders,
    ):
        batches = batched(ahead(decoders, decoded, images, depth), batch_size)
        for _ in ahead(encoders, commit, _computed(model, writer, networks, passes, batches), depth):
            committed()
    # Counted in the store itself, and not in this process: an image that got lost in a thread is found here.
    require_committed(writer, images)


def _computed(
    model: Model,
    writer: StoreWriter,
    networks: Executor,
    passes: int,
    batches: Iterable[Sequence[tuple[int, Prepared]]],
) -> Iterator[Computed]:
    transfer = Transfer(model.device)

    def launched(batch: Sequence[tuple[int, Prepared]]) -> tuple[Sequence[tuple[int, Prepared]], Arriving]:
        names = [writer.schema.images[image] for image, _ in batch]
        return batch, launch(model, transfer, [sample.pixels for _, sample in batch], writer.schema.precision, names)

    for batch, logits_of in behind(ahead(networks, launched, batches, passes), transfer.batches_behind):
        # `behind` drew the next batch before this one's copies are waited for: on CUDA the device computes
        # meanwhile.
        logits = logits_of()
        for position, (image, sample) in enumerate(batch):
            own = {name: values[position] for name, values in logits.items()}
            yield Computed(
                image,
                own | {"labels": sample.labels, "preview": sample.preview},
                sample.sources,
                _geometry(model, sample, own),
            )


def _geometry(model: Model, sample: Prepared, logits: Mapping[str, np.ndarray]) -> Geometry:
    height, width = logits["mask_logits" if model.kind == "mask" else "logits"].shape[-2:]
    rows, columns = sample.labels.shape
    preview_height, preview_width, _ = sample.preview.shape
    return Geometry.squashed(
        picture=sample.size,
        padded=model.input_size,
        logits=(height, width),
        labels=(rows, columns),
        preview=(preview_height, preview_width),
    )


Arriving = Callable[[], dict[str, np.ndarray]]
"""Waits for the logits of a batch and returns them by array name, as the store wants them."""


@torch.inference_mode()
def launch(
    model: Model, transfer: Transfer, pixels: Sequence[np.ndarray], precision: str, names: Sequence[str]
) -> Arriving:
    """Run one batch, and begin to copy its logits to the host.

    Parameters
    ----------
    model : the network
    transfer : from its device
    pixels : B pictures, uint8 (H, W, 3)
    precision : dtype of the logits on disk; class logits of mask networks stay float32
    names : of the pictures, for errors

    Raises
    ------
    PipeError
        The device has too little memory or fails; also from what is returned, as a device says late what it failed
        in: or a logit is NaN or infinite, or becomes so in `precision`.
    """
    # All of it: the conversion, the reordering and the page-locked memory can be what no room is left for.
    with device_errors(model.device, names):
        outputs = model.logits(_to_device(pixels, model.device))
        arriving = {name: _begin(transfer, name, output, precision, names) for name, output in outputs.items()}

    def arrived() -> dict[str, np.ndarray]:
        with device_errors(model.device, names):
            return {name: arrive() for name, arrive in arriving.items()}

    return arrived


def _to_device(pixels: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """B pictures, uint8 (H, W, 3) -> float32 [B, 3, H, W] in 0..1, channels innermost.

    They travel as bytes, a quarter of the size.
    """
    batch = torch.from_numpy(np.stack(pixels))
    if device.type == "cuda":
        # A copy from pageable memory is never asynchronous on CUDA, whatever `non_blocking` says.
        batch = batch.pin_memory()
    # Elsewhere an asynchronous copy would read `batch` after it is gone: on MPS that gives wrong logits, silently.
    return batch.to(device, non_blocking=device.type == "cuda").permute(0, 3, 1, 2).float().div_(255)


def _begin(
    transfer: Transfer, array: str, output: Tensor, precision: str, names: Sequence[str]
) -> Callable[[], np.ndarray]:
    # Class logits are few, so half precision would save little.
    dtype = torch.float32 if array == "class_logits" else getattr(torch, precision)
    converted = planes(output.to(dtype))
    # After the conversion: a logit beyond 65504 becomes infinite only in float16.
    finite, values = transfer.begin(all_finite(converted)), transfer.begin(converted)

    def arrive() -> np.ndarray:
        for name, logits, good in zip(names, output, finite().tolist(), strict=True):
            if not good:
                raise _not_finite(name, logits)
        return values().numpy()

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
