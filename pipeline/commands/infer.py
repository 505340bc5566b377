"""`pipe infer`: a network over data sets, its logits into stores."""

import ast
import re
from pathlib import Path
from typing import TYPE_CHECKING

import click

from logitpipe.cache.errors import UsageError
from logitpipe.cache.files.places import Place
from logitpipe.cache.format.schema import Precision
from logitpipe.commands.completion import complete_datasets, complete_networks
from logitpipe.console.options import STORE, FilePath, max_pixels_option
from logitpipe.console.settings import details
from logitpipe.runs.inference import fill_stores
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.networks import NETWORKS, find_load
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.memory import heaps_beside, keep_freed_memory
from logitpipe.stages.ranks import rank

if TYPE_CHECKING:
    from logitpipe.stages.infer.model import Amp


def parse_size(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int] | None:
    """Read `HxW` as height and width."""
    if text is None:
        return None
    if not (match := re.fullmatch(r"([1-9]\d{0,5})x([1-9]\d{0,5})", text, re.ASCII)):
        raise click.BadParameter(f"expected HEIGHTxWIDTH, such as 512x1024, and found {text!r}")
    return int(match[1]), int(match[2])


def parse_rule(_context: click.Context, _option: click.Parameter, text: str | None) -> str | None:
    """Refuse what is no rule of resizing."""
    if text is not None:
        try:
            Resize.parse(text)
        except UsageError as error:
            raise click.BadParameter(str(error)) from error
    return text


def parse_shard(_context: click.Context, _option: click.Parameter, text: str | None) -> tuple[int, int]:
    """Read `I/N`; without the flag, the variables of torchrun or srun, and without these the whole."""
    where = ""
    if text is None:
        text = "0/1"
        # Only without the flag: what was typed counts more than what a launcher has set.
        if found := rank():
            text, where = f"{found[0]}/{found[1]}", f" in the variables {found[2]}"
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
        # Whatever Python does not read is text; the last two come of deep nesting.
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            values[key] = value
    return values


@click.command()
@click.option(
    "--network",
    required=True,
    shell_complete=complete_networks,
    metavar="NAME",
    help=f"{', '.join(NETWORKS)}, or one of your own as FILE.py:NAME or MODEL.pt2.",
)
@click.option("--weights", type=FilePath(), help="Its checkpoint; for hf a folder of the transformers library.")
@click.option("--weights-key", metavar="KEY", help="Which of several state dicts in the checkpoint, such as teacher.")
@click.option(
    "--classes",
    metavar="cityscapes|coco|FILE",
    help="Names of its channels: those of a data set, or of a file with one name on each line.",
)
@click.option("--void-class", metavar="first|last|NAME|none", help="Which channel stands for what has no class.")
@click.option("--outlier-class", metavar="first|last|NAME|none", help="Which channel was trained on anomalies.")
@click.option(
    "--dataset",
    "names",
    required=True,
    multiple=True,
    metavar="NAME|all",
    shell_complete=complete_datasets,
    help="Data set in --data-root; repeatable.",
)
@click.option("--data-root", required=True, type=FilePath(), help="Folder that holds the data sets.")
@click.option(
    "--out",
    required=True,
    type=STORE,
    help="The store; of several data sets the folder for their NAME.zarr. A path or s3://...",
)
@click.option(
    "--network-options",
    multiple=True,
    callback=parse_values,
    metavar="KEY=VALUE",
    help="For FILE.py:NAME: what it is called with; repeatable.",
)
@click.option(
    "--declare",
    multiple=True,
    callback=parse_values,
    metavar="KEY=VALUE",
    help="For networks of your own: mean, std, range, colour, multiple, resize or output; repeatable.",
)
@click.option("--trust-model", is_flag=True, help="Read MODEL.pt2 although such a file can run code.")
@click.option("--config", type=FilePath(), help="For eomt: the yaml of its training or its config.json.")
@click.option(
    "--masked-attention",
    type=click.Choice(["on", "off", "checkpoint"]),
    help="For eomt: whether its attention is masked; checkpoint: as the weights have it  [default: checkpoint]",
)
@click.option(
    "--base-weights",
    type=FilePath(),
    help="For eomt: the backbone's own weights, where the checkpoint holds differences from them.",
)
@click.option(
    "--resize",
    metavar="RULE",
    callback=parse_rule,
    help="How a picture becomes the network's input: HxW, windows:N, short:N, long:N, pad:N, native, slide:HxW:SHxSW "
    " [default: as its authors do]",
)
@click.option("--input-size", callback=parse_size, metavar="HxW", help="Another name for --resize HxW.")
@click.option(
    "--device", default="auto", show_default=True, metavar="auto|cpu|cuda[:i]|mps", help="Where to compute."
)
@click.option("--batch-size", type=click.IntRange(min=1), help="Images per forward pass  [default: 1 on CPU, else 4]")
@click.option("--precision", type=click.Choice(["float16", "float32"]), default="float16", show_default=True)
@click.option(
    "--amp",
    type=click.Choice(["none", "tf32", "bf16"]),
    default="none",
    show_default=True,
    help="Lower precision, which is faster and gives other logits: tf32 on CUDA, bf16 where bfloat16 is computed.",
)
@click.option(
    "--shard",
    callback=parse_shard,
    metavar="I/N",
    help="Take every N-th image from the I-th, counted from 0  [default: the rank that torchrun or srun gives]",
)
@click.option("--layout", metavar="NAME", help="How the files lie, where that is not clear; see `pipe list layouts`.")
@click.option(
    "--images", "globs", multiple=True, metavar="GLOB", help="Take only pictures of such names; repeatable."
)
@click.option(
    "--select",
    "names_file",
    type=FilePath(),
    metavar="FILE",
    help="Take only the pictures that a file names, one on each line.",
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
    resize: str | None,
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

    \b
    Examples:
      pipe infer --network erfnet --weights weights/erfnet.pth --dataset RoadAnomaly21 --data-root . --out erfnet.zarr
      pipe infer --network erfnet --weights weights/erfnet.pth --dataset all --data-root data --out stores --limit 2
      pipe infer --network mine.py:MyNet --dataset RoadAnomaly21 --data-root . --classes cityscapes --out mine.zarr
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
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
    if resize and input_size:
        raise click.UsageError("--input-size is another name for --resize HxW; give only one of them")
    source = Source(network, weights, resize or input_size, weights_key, classes, void_class, outlier_class, own)
    _refuse_overwrite(overwrite, shard, repair)
    from logitpipe.stages.infer.data.selection import Selection

    # Before any thread and before torch: glibc looks at the number of heaps once.
    keep_freed_memory(heaps_beside(device))
    fill_stores(
        source,
        data_root,
        names,
        out,
        layout=layout,
        selection=Selection(globs, names_file, labelled_only, limit),
        mask_resize=mask_resize is not None,
        device=device,
        amp=amp,
        precision=precision,
        batch_size=batch_size,
        shard=shard,
        overwrite=overwrite,
        repair=repair,
    )


def _refuse_overwrite(overwrite: bool, shard: tuple[int, int], repair: bool) -> None:
    if overwrite and repair:
        raise click.UsageError("--overwrite removes what --repair would mend; give only one of them")
    if overwrite and shard[1] > 1:
        raise click.UsageError(
            f"--overwrite would remove what the other {shard[1] - 1} shards write; "
            "remove the store before they start, and leave --overwrite out"
        )
