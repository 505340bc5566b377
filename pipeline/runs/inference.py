"""A run of a network: its logits over data sets, into stores."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from logitpipe.cache.errors import IntegrityError, PipeError, UsageError
from logitpipe.cache.files.opening import open_files
from logitpipe.cache.files.places import Place, below
from logitpipe.cache.format import Schema, version1
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.schema import AMP_CHANGE, Precision
from logitpipe.cache.reading.store import stored_bytes
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.console.advice import ADVICE
from logitpipe.console.messages import detail, note, word_if_slow
from logitpipe.console.output import refuse_in_store
from logitpipe.console.progress import Progress
from logitpipe.console.text import ordinal
from logitpipe.stores.data import right_data
from logitpipe.stores.repair import find_damaged, open_mended
from logitpipe.stores.room import warn_of_little_room, warn_unlocked

if TYPE_CHECKING:
    from logitpipe.stages.infer.data.datasets import DataSet
    from logitpipe.stages.infer.data.selection import Selection
    from logitpipe.stages.infer.model import Amp, Model
    from logitpipe.stages.infer.networks.seam import Source

ALL = "all"


def fill_stores(
    source: "Source",
    data_root: Path,
    names: Sequence[str],
    out: Place,
    *,
    layout: str | None,
    selection: "Selection",
    mask_resize: bool,
    device: str,
    amp: "Amp",
    precision: Precision,
    batch_size: int | None,
    shard: tuple[int, int],
    overwrite: bool,
    repair: bool,
) -> list[Place]:
    """Run a network over data sets, go on with what stores there are, and return where they lie.

    Parameters
    ----------
    source : the network, and what it is made from
    data_root, names : folder of the data sets, and their names; `all` stands for all of them
    out : the store of one data set, or the folder for those of several
    layout : of all data sets; None: as their files lie
    selection : which pictures
    mask_resize : whether masks of another size are brought to their picture's
    device : auto, cpu, cuda, cuda:INDEX or mps
    batch_size : pictures in a forward pass; None: what suits the device
    shard : (i, n): every n-th picture from the i-th on
    overwrite, repair : whether stores are begun anew, or read whole and mended

    Raises
    ------
    PipeError
        Network, weights, data and stores do not fit each other, or one of them cannot be read or written.
    """
    # Files first, then torch, then the network: what is wrong with a folder is said at once, before seconds of
    # loading.
    # Every name is listed before anything is written: of five data sets none shall turn out missing after four.
    datasets = _read_datasets(data_root, names, layout, selection, mask_resize)
    paths = _store_paths(out, datasets, several=len(names) > 1 or ALL in names)
    # Empty at first, so that an interruption while the network loads is answered too.
    writers: list[StoreWriter] = []
    with _told_how_to_go_on(writers):
        with torch_at_hand(), word_if_slow("loading torch"):
            from logitpipe.stages.infer.device.device import choose_device
            from logitpipe.stages.infer.model import load_model
        model = load_model(source, choose_device(device), amp)
        for line in (f"{model.name}: {model.network.channels}", *model.network.notes):
            note(line)
        # In place, not a new list: `_told_how_to_go_on` holds this very list.
        writers += _open_writers(model, datasets, paths, precision, overwrite, repair)
        from logitpipe.stages.infer.resume import remaining

        # After all stores are open: the room that is needed is the sum over all of them.
        warn_of_little_room(writers, [len(remaining(writer, shard)) for writer in writers])
        for i, (dataset, writer) in enumerate(zip(datasets, writers, strict=True)):
            _fill(model, dataset, writer, shard, batch_size, repair, ordinal(i, len(datasets), "data set"))
    return paths


@contextmanager
def torch_at_hand() -> Iterator[None]:
    """Say in one line what to install where an import of the networks' libraries fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PipeError(
            f"a network needs {error.name}, which is not installed", "install", extra="'.[infer]'"
        ) from error


@contextmanager
def _told_how_to_go_on(writers: Sequence[StoreWriter]) -> Iterator[None]:
    """Let an interruption say which command continues; `writers` may still be filled meanwhile."""
    try:
        yield
    except KeyboardInterrupt as interruption:
        from logitpipe.stages.infer.resume import how_to_go_on

        interruption.args = (ADVICE[how_to_go_on(writers)],)
        raise


def _read_datasets(
    root: Path, names: Sequence[str], layout: str | None, selection: "Selection", mask_resize: bool
) -> "list[DataSet]":
    """List and check every data set, and say what is peculiar about its files."""
    from logitpipe.stages.infer.data.datasets import canonical, dataset_names, read_dataset
    from logitpipe.stages.infer.data.layouts import LAYOUTS

    # `all` and a name, or two spellings of one name, may mean one data set twice; dict.fromkeys keeps the first.
    wanted = (name for each in names for name in (dataset_names(root, layout) if each == ALL else [canonical(each)]))
    datasets = []
    for name in dict.fromkeys(wanted):
        with word_if_slow(f"{name}: looking at its files"):
            dataset = read_dataset(root, name, None, layout, selection, mask_resize)
        found = f"{name}: layout {dataset.layout}, label codes {dataset.label_codes}"
        # A special layout was recognised, which may be a surprise and changes what codes mean; plain folders are as
        # they look.
        (detail if LAYOUTS[dataset.layout].general else note)(found)
        for remark in dataset.remarks:
            note(f"{name}: {remark}")
        datasets.append(dataset)
    return datasets


def _store_paths(out: Place, datasets: "Sequence[DataSet]", several: bool) -> list[Place]:
    if isinstance(out, Path):
        _require_room_for(out)
    if not several:
        return [out]
    # Stores within a store would be stray files of it, and `pipe pack` would leave them out.
    if open_files(out).read(METADATA) is not None:
        raise UsageError("it is a store; several data sets need a folder for their stores", option="out", value=out)
    return [below(out, f"{dataset.name}.zarr") for dataset in datasets]


def _require_room_for(out: Path) -> None:
    """Refuse a place in a store, and one that cannot be made: the writer finds out after the first image alone."""
    refuse_in_store(out.parent)
    above = next(folder for folder in out.absolute().parents if folder.exists())
    if not out.exists() and above.is_dir() and not os.access(above, os.W_OK):
        raise PipeError(f"nothing can be made in {above}, which may only be read", option="out", value=out)


def _open_writers(
    model: "Model",
    datasets: "Sequence[DataSet]",
    paths: Sequence[Place],
    precision: Precision,
    overwrite: bool,
    repair: bool,
) -> list[StoreWriter]:
    """Open every store before the first image is computed: a store that must be refused is refused at once."""
    from logitpipe.stages.infer.amp import with_change
    from logitpipe.stages.infer.describe import describe, describe_earlier

    writers = []
    for path, dataset in zip(paths, datasets, strict=True):
        schema, earlier = describe(model, dataset, precision), describe_earlier(model, dataset, precision)
        if repair:  # metadata that is gone can be written anew if all of it is known
            software = with_change(schema, model, dataset).software
            schema, earlier = replace(schema, software=software), earlier and replace(earlier, software=software)
            writers.append(open_mended(path, schema, earlier))
        else:
            writers.append(_open_writer(path, schema, overwrite, earlier))
    return writers


def _open_writer(path: Place, schema: Schema, overwrite: bool, earlier: version1.Schema | None) -> StoreWriter:
    try:
        return StoreWriter(path, schema, overwrite, lambda: warn_unlocked(path), earlier)
    except IntegrityError as error:
        raise IntegrityError(error.fault, error.store, error.image, error.file, "repair") from error


def _fill(
    model: "Model",
    dataset: "DataSet",
    writer: StoreWriter,
    shard: tuple[int, int],
    batch_size: int | None,
    repair: bool,
    which: str,
) -> None:
    from logitpipe.stages.infer.device.device import default_batch_size
    from logitpipe.stages.infer.resume import of_shard, refuse_changed, remaining
    from logitpipe.stages.infer.run import infer_images

    with word_if_slow(f"{dataset.name}: comparing files with those that the store was made from"):
        refuse_changed(writer, dataset, repair, shard)
    images = remaining(writer, shard, find_damaged(writer, of_shard(writer, shard)) if repair else ())
    if images:
        batch_size = batch_size or default_batch_size(model.device)
        # Only where something is computed: a command that finds all images there need not run the network for it.
        if model.amp != "none":
            _tell_change(model, dataset, writer)
        detail(f"{dataset.name}: {len(images)} images to compute, {batch_size} at a time, into {writer.path}")
        index, count = shard
        # The total is that of this shard: images of other shards are neither done nor left to do here.
        total = len(range(index, len(writer.schema.images), count))
        label = f"{model.name} on {model.device}, {dataset.name}{which}"
        with Progress(label, total, already=total - len(images)) as progress:
            infer_images(model, dataset, writer, images, batch_size, progress.advance)
    note(_summary(writer, len(images)))
    if writer.store and (sentence := right_data(writer.store)):
        note(f"{dataset.name}: {sentence}")


def _tell_change(model: "Model", dataset: "DataSet", writer: StoreWriter) -> None:
    """Say how far mixed precision moves the logits: as the store has it, else as measured now and kept in it."""
    from logitpipe.stages.infer.amp import with_change

    # Measured once per store: a later run continues it under the figure that is already written in it.
    store = writer.store
    if store is None:
        writer.schema = with_change(writer.schema, model, dataset)
    if change := (store or writer).schema.software.get(AMP_CHANGE):
        when = ", as measured when the store was made" if store else ""
        note(f"{dataset.name}: --amp {model.amp} changes {change}{when}")


def _summary(writer: StoreWriter, new: int) -> str:
    done, total = len(writer.completed()), len(writer.schema.images)
    megabytes = (stored_bytes(writer.store) or 0) / 1e6 if writer.store else 0.0
    line = (
        f"{writer.schema.dataset}: {done} of {total} images ({new} new, {done - new} already there), "
        f"{megabytes:.1f} MB in {writer.path}"
    )
    return f"{line}; left to other shards: {total - done}" if done < total else line
