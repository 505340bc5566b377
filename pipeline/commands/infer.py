"""`pipe infer`: a network over data sets, its logits into stores."""

import ast
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.cache.files.opening import open_files
from logitpipe.cache.files.places import Place, below
from logitpipe.cache.format import Schema, version1
from logitpipe.cache.format.keys import METADATA
from logitpipe.cache.format.schema import AMP_CHANGE, Precision
from logitpipe.cache.reading.store import stored_bytes
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.commands.completion import complete_datasets, complete_networks
from logitpipe.console.advice import ADVICE
from logitpipe.console.messages import detail, note, word_if_slow
from logitpipe.console.options import STORE, max_pixels_option
from logitpipe.console.progress import Progress
from logitpipe.console.settings import details
from logitpipe.stages.infer.networks import NETWORKS, find_load
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.memory import keep_freed_memory
from logitpipe.stores.data import right_data
from logitpipe.stores.repair import find_damaged, open_mended
from logitpipe.stores.room import warn_of_little_room, warn_unlocked

if TYPE_CHECKING:
    from logitpipe.stages.infer.data.datasets import DataSet
    from logitpipe.stages.infer.data.selection import Selection
    from logitpipe.stages.infer.model import Amp, Model

ALL = "all"

SHARD_VARIABLES = (("RANK", "WORLD_SIZE"), ("SLURM_PROCID", "SLURM_NTASKS"))
"""Which of how many processes this one is: as torchrun says it, and as srun does."""


def parse_size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read `HxW` as height and width."""
    if text is None:
        return None
    if not (match := re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text, re.ASCII)):
        raise click.BadParameter(f"expected HEIGHTxWIDTH, such as 512x1024, and found {text!r}")
    return int(match[1]), int(match[2])


def parse_shard(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int]:
    """Read `I/N`; without the flag, the variables of torchrun or Slurm, and without these the whole."""
    where = ""
    if text is None:
        text = "0/1"
        for variables in SHARD_VARIABLES:
            values = [os.environ.get(name) for name in variables]
            if all(values):
                text, where = "/".join(map(str, values)), f" in the variables {' and '.join(variables)}"
                break
    match = re.fullmatch(r"(\d{1,9})/(\d{1,9})", text, re.ASCII)
    if not (match and int(match[1]) < int(match[2])):
        raise click.BadParameter(f"expected I/N with 0 <= I < N, such as 0/4, and found {text!r}{where}")
    return int(match[1]), int(match[2])


def parse_values(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, object]:
    """Read `KEY=VALUE`, each value as Python spells it or as text."""
    values = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not (key.isidentifier() and equals):
            raise click.BadParameter(f"expected KEY=VALUE, and found {text!r}")
        try:
            values[key] = ast.literal_eval(value)
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values[key] = value
    return values


@click.command()
@click.option(
    "--network",
    required=True,
    shell_complete=complete_networks,
    metavar="NAME",
    help=f"One of {', '.join(NETWORKS)}.",
)
@click.option("--weights", type=click.Path(path_type=Path), help="Its checkpoint file.")
@click.option("--weights-key", metavar="KEY", help="Which of several state dicts in the checkpoint, such as teacher.")
@click.option("--classes", metavar="cityscapes|coco|FILE", help="Names of its channels, in a file one on each line.")
@click.option("--void-class", metavar="first|last|NAME|none", help="Its channel for what has no class.")
@click.option("--outlier-class", metavar="first|last|NAME|none", help="Its channel for outliers.")
@click.option(
    "--dataset",
    "names",
    required=True,
    multiple=True,
    metavar="NAME|all",
    shell_complete=complete_datasets,
    help="Data set; may be repeated.",
)
@click.option("--data-root", required=True, type=click.Path(path_type=Path), help="Folder that holds the data sets.")
@click.option(
    "--out", required=True, type=STORE, help="The store; a folder for NAME.zarr of several. A path or s3://..."
)
@click.option(
    "--network-options",
    multiple=True,
    callback=parse_values,
    metavar="KEY=VALUE",
    help="For FILE.py:NAME, what it is called with; may be repeated.",
)
@click.option(
    "--declare",
    multiple=True,
    callback=parse_values,
    metavar="KEY=VALUE",
    help="For networks of your own: mean, std, range, multiple, resize or output; may be repeated.",
)
@click.option("--trust-model", is_flag=True, help="Read MODEL.pt2, which can run code.")
@click.option("--config", type=click.Path(path_type=Path), help="YAML file to check an EoMT checkpoint against.")
@click.option(
    "--masked-attention",
    type=click.Choice(["on", "off", "checkpoint"]),
    help="Of EoMT; checkpoint: as its weights have it  [default: checkpoint]",
)
@click.option(
    "--base-weights", type=click.Path(path_type=Path), help="Backbone to which an EoMT checkpoint is differences."
)
@click.option("--input-size", callback=parse_size, metavar="HxW", help="Input of the network, if not its default.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]|mps", help="Where to compute."
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per forward pass  [default: 1 on CPU, else 4]")
@click.option("--precision", type=click.Choice(["float16", "float32"]), default="float16", show_default=True)
@click.option(
    "--amp",
    type=click.Choice(["none", "bf16"]),
    default="none",
    show_default=True,
    help="Mixed precision: bf16 is faster where the device computes in bfloat16, and gives other logits.",
)
@click.option(
    "--shard",
    callback=parse_shard,
    metavar="I/N",
    help="Every N-th image from the I-th  [default: RANK/WORLD_SIZE or SLURM_PROCID/SLURM_NTASKS]",
)
@click.option("--layout", metavar="NAME", help="How the files lie, where that is not clear; see `pipe list layouts`.")
@click.option("--images", "globs", multiple=True, metavar="GLOB", help="Take only pictures so called; repeatable.")
@click.option(
    "--select",
    "names_file",
    type=click.Path(path_type=Path),
    metavar="FILE",
    help="Take the pictures that a file names.",
)
@click.option("--labelled-only/--all-pictures", help="Leave out pictures that have no mask.")
@click.option("--limit", type=click.IntRange(min=1), help="Take only so many images of each data set, for a trial.")
@click.option("--mask-resize", type=click.Choice(["nearest"]), help="Bring masks of another size to their picture's.")
@max_pixels_option
@click.option("--overwrite", is_flag=True, help="Start anew where a store exists, instead of going on.")
@click.option("--repair", is_flag=True, help="Read all of the store first, and compute damaged images again.")
def infer(
    network: str,
    weights: Path | None,
    weights_key: str | None,
    classes: str | None,
    void_class: str | None,
    outlier_class: str | None,
    names: tuple[str, ...],
    data_root: Path,
    out: Place,
    network_options: dict[str, object],
    declare: dict[str, object],
    trust_model: bool,
    config: Path | None,
    masked_attention: str | None,
    base_weights: Path | None,
    input_size: tuple[int, int] | None,
    device: str,
    batch_size: int | None,
    precision: Precision,
    amp: "Amp",
    shard: tuple[int, int],
    layout: str | None,
    globs: tuple[str, ...],
    names_file: Path | None,
    labelled_only: bool,
    limit: int | None,
    mask_resize: str | None,
    overwrite: bool,
    repair: bool,
) -> None:
    """Run a network over data sets once and keep its logits.

    The same command again goes on where the last one stopped. A store that another network, other weights,
    another data set or another setting made is refused; --overwrite starts it anew.
    """
    details(click.get_current_context())
    find_load(network)  # a name that is none is refused before torch is loaded
    given = {
        "config": config,
        "masked_attention": masked_attention,
        "base_weights": base_weights,
        "network_options": network_options,
        "declare": declare,
        "trust_model": trust_model,
    }
    own = {name: value for name, value in given.items() if value}
    source = Source(network, weights, input_size, weights_key, classes, void_class, outlier_class, own)
    _refuse_overwrite(overwrite, shard, repair)
    from logitpipe.stages.infer.data.selection import Selection

    selection = Selection(globs, names_file, labelled_only, limit)
    datasets = _read_datasets(data_root, names, layout, selection, mask_resize is not None)
    paths = _store_paths(out, datasets, several=len(names) > 1 or ALL in names)
    writers: list[StoreWriter] = []
    with _told_how_to_go_on(writers):
        with _torch_at_hand():
            from logitpipe.stages.infer.device.device import choose_device
            from logitpipe.stages.infer.model import load_model
        keep_freed_memory()
        model = load_model(source, choose_device(device), amp)
        for line in (f"{model.name}: {model.network.channels}", *model.network.notes):
            note(line)
        # In place, not a new list: `_told_how_to_go_on` holds this very list.
        writers += _open_writers(model, datasets, paths, precision, overwrite, repair)
        from logitpipe.stages.infer.resume import remaining

        # After all stores are open: the room that is needed is the sum over all of them.
        warn_of_little_room(writers, [len(remaining(writer, shard)) for writer in writers])
        for dataset, writer in zip(datasets, writers, strict=True):
            _fill(model, dataset, writer, shard, batch_size, repair)


@contextmanager
def _torch_at_hand() -> Iterator[None]:
    """Say in one line what to install where an import of the networks' libraries fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        raise PipeError(
            f"`pipe infer` needs {error.name}, which is not installed: pip install 'logitpipe[infer]'"
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


def _refuse_overwrite(overwrite: bool, shard: tuple[int, int], repair: bool) -> None:
    if overwrite and repair:
        raise click.UsageError("--overwrite removes what --repair would mend; give only one of them")
    if overwrite and shard[1] > 1:
        raise click.UsageError(
            f"--overwrite would remove what the other {shard[1] - 1} shards write; "
            "remove the store before they start, and leave --overwrite out"
        )


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
        (detail if LAYOUTS[dataset.layout].general else note)(found)
        for remark in dataset.remarks:
            note(f"{name}: {remark}")
        datasets.append(dataset)
    return datasets


def _store_paths(out: Place, datasets: "Sequence[DataSet]", several: bool) -> list[Place]:
    if not several:
        return [out]
    if open_files(out).read(METADATA) is not None:
        raise click.UsageError(
            f"--out {out} is a store; for several data sets it must name a folder for their stores"
        )
    return [below(out, f"{dataset.name}.zarr") for dataset in datasets]


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
            schema, earlier = replace(schema, software=software), replace(earlier, software=software)
            writers.append(open_mended(path, schema, earlier))
        else:
            writers.append(_open_writer(path, schema, overwrite, earlier))
    return writers


def _open_writer(path: Place, schema: Schema, overwrite: bool, earlier: version1.Schema) -> StoreWriter:
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
) -> None:
    from logitpipe.stages.infer.device.device import default_batch_size
    from logitpipe.stages.infer.resume import of_shard, refuse_changed, remaining
    from logitpipe.stages.infer.run import infer_images

    with word_if_slow(f"{dataset.name}: comparing files with those that the store was made from"):
        refuse_changed(writer, dataset, repair, shard)
    images = remaining(writer, shard, find_damaged(writer, of_shard(writer, shard)) if repair else ())
    if images:
        batch_size = batch_size or default_batch_size(model.device)
        if model.amp != "none":
            _tell_change(model, dataset, writer)
        detail(f"{dataset.name}: {len(images)} images to compute, {batch_size} at a time, into {writer.path}")
        index, count = shard
        # The total is that of this shard: images of other shards are neither done nor left to do here.
        total = len(range(index, len(writer.schema.images), count))
        label = f"{model.name} on {model.device}, {dataset.name}"
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
