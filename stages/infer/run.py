"""Run loop: threads decode pictures ahead of the network and commit logits behind it."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.cache.format.geometry import Geometry
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.geometry import Frame
from logitpipe.stages.infer.data.preprocess import Prepared, prepare
from logitpipe.stages.infer.device.device import background_threads, queue_depth, side_by_side
from logitpipe.stages.infer.device.transfer import Transfer
from logitpipe.stages.infer.forward import Arriving, launch
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
        return image, prepare(dataset.samples[image], model.resize, dataset.mask_rules)

    def commit(computed: Computed) -> None:
        """Put an image into the store, and name it in what goes wrong."""
        try:
            writer.commit(computed.image, computed.values, computed.sources, computed.geometry)
        except OSError as error:
            raise unwritable(writer, computed.image, images, error) from error
        except ValueError as error:
            # Sizes were foreseen from the headers of the pictures and from what the network gave at the largest.
            raise PipeError(
                f"{writer.path}: image {schema.images[computed.image]!r} does not fit the store ({error}): the "
                f"picture or the outputs of {model.name} have other sizes than when the run began",
                "same-sizes",
            ) from error

    # By bytes: decoded pictures and logits that wait are what takes memory, and large ones take much of it.
    depth = queue_depth(model.device, batch_size, schema.image_bytes())
    with writer.claimed(images):
        with (
            side_by_side(model.device) as passes,
            thread_pool(threads) as decoders,
            thread_pool(passes) as networks,
            # Not a `thread_pool`: after a failure this pool finishes what it has begun, so images that were computed
            # are still committed.
            ThreadPoolExecutor(threads) as encoders,
        ):
            batches = batched(ahead(decoders, decoded, images, depth), batch_size)
            at_once = windows_in_a_pass(model, dataset, batch_size)
            for _ in ahead(encoders, commit, _computed(model, writer, networks, passes, batches, at_once), depth):
                committed()
        # Counted in the store itself, and not in this process: an image that got lost in a thread is found here.
        # While they are still claimed: a command that waits for them may write them anew, and removes records first.
        require_committed(writer, images)


def windows_in_a_pass(model: Model, dataset: DataSet, batch_size: int) -> int | None:
    """Return how many windows every pass takes; None where that may differ from one to the next.

    Libraries choose their algorithms by the shape of what they are given, and with them the last bits. So that these
    depend neither on the shard nor on where an earlier run was interrupted, passes that come out shorter are filled
    up: one or two at the end of a data set. Of pictures of several sizes most would come out shorter, and are not.
    """
    sizes = {model.resize.frame(size).padded for size in dataset.picture_sizes}
    return min(batch_size, len(dataset.samples)) if len(sizes) == 1 else None


def _computed(
    model: Model,
    writer: StoreWriter,
    networks: Executor,
    passes: int,
    batches: Iterable[Sequence[tuple[int, Prepared]]],
    at_once: int | None,
) -> Iterator[Computed]:
    transfer = Transfer(model.device)

    def launched(batch: Sequence[tuple[int, Prepared]]) -> tuple[Sequence[tuple[int, Prepared]], list[Arriving]]:
        names = [writer.schema.images[image] for image, _ in batch]
        samples = [sample for _, sample in batch]
        return batch, launch(model, transfer, samples, writer.schema.precision, names, at_once)

    for batch, arriving in behind(ahead(networks, launched, batches, passes), transfer.batches_behind):
        # `behind` drew the next batch before this one's copies are waited for: on CUDA the device computes
        # meanwhile.
        for (image, sample), logits_of in zip(batch, arriving, strict=True):
            logits = logits_of()
            yield Computed(
                image,
                logits | {"labels": sample.labels, "preview": sample.preview},
                sample.sources,
                _geometry(model, sample, logits),
            )


def _geometry(model: Model, sample: Prepared, logits: Mapping[str, np.ndarray]) -> Geometry:
    height, width = logits["mask_logits" if model.kind == "mask" else "logits"].shape[-2:]
    rows, columns = sample.labels.shape
    preview_height, preview_width, _ = sample.preview.shape
    frame = sample.frame
    if model.merges_windows:  # the logits are those of the resized picture now
        frame = Frame(frame.resized, frame.resized, ((0, 0, *frame.resized),))
    return Geometry(
        picture=sample.size,
        resized=frame.resized,
        padded=frame.padded,
        logits=(height, width),
        labels=(rows, columns),
        preview=(preview_height, preview_width),
        windows=frame.windows,
    )
