"""The loop: decode ahead, run the network, write behind."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor

from cache.commit import StoreWriter
from cache.errors import PipeError
from stages.infer.datasets import DataSet
from stages.infer.device import background_threads
from stages.infer.imagefile import read_bytes
from stages.infer.model import Model
from stages.infer.preprocess import Prepared, prepare, sha256
from stages.streams import ahead, batched


@dataclass(frozen=True)
class Computed:
    """One image, ready to be committed: its index, its arrays by name, the digests of its files."""

    image: int
    values: dict[str, np.ndarray]
    sources: dict[str, str]


def remaining(writer: StoreWriter, shard: tuple[int, int] = (0, 1)) -> list[int]:
    """Return the images that a run has to compute: those of its shard that the store lacks.

    Parameters
    ----------
    writer : of the store
    shard : (I, N): every N-th image from the I-th on, so that shards are of one size and of one mixture
    """
    index, count = shard
    completed = set(writer.completed())
    return [image for image in range(index, len(writer.schema.images), count) if image not in completed]


def refuse_changed(writer: StoreWriter, dataset: DataSet) -> None:
    """Refuse to go on with a store of which a committed image came from other files than lie there now.

    Raises
    ------
    PipeError
        A picture or a mask has changed; the message names it.
    """
    if writer.store is None:
        return
    for image in writer.store.completed():
        committed, sample = writer.store.record(image).sources, dataset.samples[image]
        for source, path in (("image_sha256", sample.image), ("mask_sha256", sample.mask)):
            if source in committed and sha256(read_bytes(path)) != committed[source]:
                raise PipeError(
                    f"{writer.path}: image {sample.name!r} was computed from another {path} than lies there now. "
                    "Restore the file, choose another --out, or start anew with --overwrite"
                )


def infer_images(
    model: Model,
    dataset: DataSet,
    writer: StoreWriter,
    images: Sequence[int],
    batch_size: int,
    committed: Callable[[], None],
) -> None:
    """Compute images and commit them to a store.

    The first failure ends the run, whichever thread it comes from; images that were committed stay.

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
    """
    schema, threads = writer.schema, background_threads()

    def decoded(image: int) -> tuple[int, Prepared]:
        return image, prepare(dataset.samples[image], schema.input_size, schema.preview_shape[:2])

    depth = batch_size + threads
    with (
        writer.claimed(images),
        ThreadPoolExecutor(threads) as decoders,
        ThreadPoolExecutor(threads) as encoders,
    ):
        batches = batched(ahead(decoders, decoded, images, depth), batch_size)
        for _ in ahead(encoders, partial(_commit, writer), _computed(model, writer, batches), depth):
            committed()


def _computed(
    model: Model, writer: StoreWriter, batches: Iterable[Sequence[tuple[int, Prepared]]]
) -> Iterator[Computed]:
    for batch in batches:
        images = [image for image, _ in batch]
        names = [writer.schema.images[image] for image in images]
        logits = stored_logits(model, [sample.pixels for _, sample in batch], writer.schema.precision, names)
        for position, (image, sample) in enumerate(batch):
            own = {name: values[position] for name, values in logits.items()}
            yield Computed(image, own | {"labels": sample.labels, "preview": sample.preview}, sample.sources)


@torch.inference_mode()
def stored_logits(
    model: Model, pixels: Sequence[np.ndarray], precision: str, names: Sequence[str]
) -> dict[str, np.ndarray]:
    """Run one batch and return its logits by array name, as the store wants them.

    Parameters
    ----------
    model : the network
    pixels : B pictures, uint8 (H, W, 3)
    precision : dtype of the logits on disk; class logits of mask networks stay float32
    names : of the pictures, for errors

    Raises
    ------
    PipeError
        A logit is NaN or infinite, or becomes so in `precision`; or the device has too little memory.
    """
    try:
        outputs = model.named(model.module(_to_device(pixels, model.device)))
    except torch.OutOfMemoryError as error:
        raise PipeError(
            f"{model.device} has too little memory for {len(names)} images at once; choose a smaller --batch-size"
        ) from error
    return {name: _stored(name, output, precision, names) for name, output in outputs.items()}


def _to_device(pixels: Sequence[np.ndarray], device: torch.device) -> Tensor:
    """B pictures, uint8 (H, W, 3) -> float32 [B, 3, H, W] in 0..1, channels innermost.

    They travel as bytes, a quarter of the size.
    """
    batch = torch.from_numpy(np.stack(pixels))
    if device.type == "cuda":
        batch = batch.pin_memory()
    return batch.to(device, non_blocking=True).permute(0, 3, 1, 2).float().div_(255)


def _stored(array: str, output: Tensor, precision: str, names: Sequence[str]) -> np.ndarray:
    dtype = torch.float32 if array == "class_logits" else getattr(torch, precision)
    converted = output.to(dtype, memory_format=torch.contiguous_format)
    finite = converted.isfinite().flatten(1).all(1).tolist()
    for name, values, good in zip(names, output, finite, strict=True):
        if not good:
            raise _not_finite(name, values)
    return converted.cpu().numpy()


def _not_finite(name: str, logits: Tensor) -> PipeError:
    broken = int((~logits.isfinite()).sum())
    if broken:
        return PipeError(
            f"image {name!r}: {broken} of {logits.numel()} logits are NaN or infinite, so the network and its "
            "--weights do not belong together, or the weights are damaged; the image was not stored"
        )
    return PipeError(
        f"image {name!r}: a logit of magnitude {logits.abs().max().item():g} does not fit float16, which ends at "
        "65504; the image was not stored. Use --precision float32, with another --out or --overwrite"
    )


def _commit(writer: StoreWriter, computed: Computed) -> None:
    try:
        writer.commit(computed.image, computed.values, computed.sources)
    except OSError as error:
        name = writer.schema.images[computed.image]
        raise PipeError(
            f"{writer.path}: image {name!r} cannot be written ({error.strerror}); make room or choose another --out. "
            "The same command goes on where this one stopped"
        ) from error
