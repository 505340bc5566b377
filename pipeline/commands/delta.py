"""`pipe delta`: what each choice of a protocol changes."""

from typing import TYPE_CHECKING

import click

from logitpipe.commands.completion import complete_methods
from logitpipe.console.options import metrics_option, require_temperature, stores_argument
from logitpipe.console.scoring import workers_option
from logitpipe.tables.formats import writer

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place

FORMATS = ("table", "markdown", "latex", "csv")


@click.command()
@stores_argument()
@click.option(
    "--methods",
    default="msp,maxlogit,entropy",
    show_default=True,
    metavar="ID,...",
    shell_complete=complete_methods,
    help="Methods to compute.",
)
@click.option(
    "--temperature",
    type=float,
    default=1.0,
    show_default=True,
    callback=lambda _context, _option, value: require_temperature(value),
    help="For the methods that have one.",
)
@metrics_option("auprc,fpr95")
@workers_option
@click.option("--format", "format_name", type=click.Choice(FORMATS), default="table", show_default=True)
def delta(
    stores: "tuple[Place, ...]",
    methods: str,
    temperature: float,
    metrics: tuple[str, ...],
    workers: int,
    format_name: str,
) -> None:
    """Print what each choice of a protocol changes.

    One table for each store: the figures under `standard`, under `standard` with one choice changed at a time, and
    under the other protocols. Of two stores of one network in float16 and in float32 the table also says what the
    precision changes. Each line is a sweep over the store.

    \b
    Examples:
      pipe delta enet.zarr
      pipe delta eomt.zarr eomt-float32.zarr --methods msp,rba-normalized --format latex
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    from logitpipe.runs.delta import score_all_choices
    from logitpipe.stages.score.methods.names import split_list
    from logitpipe.tables.delta import delta_table
    from logitpipe.tables.metrics import metrics_named

    shown = metrics_named(metrics)
    tables = [
        delta_table(each, shown) for each in score_all_choices(stores, split_list(methods), temperature, workers)
    ]
    click.echo("\n\n".join(map(writer(format_name), tables)))
