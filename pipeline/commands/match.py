"""`pipe match`: which method, temperature and protocol prints some numbers."""

import json
from typing import TYPE_CHECKING

import click

from logitpipe.commands.completion import complete_methods
from logitpipe.commands.score import MOST_WORKERS, parse_temperatures
from logitpipe.console.options import PROTOCOL_NAMES, STORE
from logitpipe.runs.matching import match_stores
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place

PERCENT = click.FloatRange(0, 100)


@click.command()
@click.argument("stores", nargs=-1, required=True, type=STORE, metavar="STORE...")
@click.option("--auprc", type=PERCENT, metavar="X", help="AuPRC that was printed, in per cent.")
@click.option("--fpr95", type=PERCENT, metavar="Y", help="FPR at 95 % TPR that was printed, in per cent.")
@click.option("--auroc", type=PERCENT, metavar="Z", help="AUROC that was printed, in per cent.")
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="all|ID,...",
    shell_complete=complete_methods,
    help="Methods to try.",
)
@click.option(
    "--temperatures",
    callback=parse_temperatures,
    default="0.1,0.2,0.25,0.3,0.4,0.5,0.6,0.7,0.75,0.8,0.9,1,1.1,1.2,1.3,1.4,1.5,1.6,1.7,1.8,1.9,2,3,5,10",
    show_default="25 from 0.1 to 10",
    metavar="T,...|START:STOP:STEP",
    help="Temperatures to try.",
)
@click.option(
    "--protocol",
    "protocol_names",
    type=click.Choice(PROTOCOL_NAMES),
    multiple=True,
    help="Protocols to try, each also with any one field changed; repeatable  [default: all]",
)
@click.option("--limit", type=click.IntRange(1, 100), default=10, show_default=True, help="How many to list.")
@click.option("--json/--no-json", "as_json", help="Print one JSON array.")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=lambda: min(available_cores(), MOST_WORKERS),
    show_default="number of cores",
    help="Threads that score.",
)
def match(
    stores: "tuple[Place, ...]",
    auprc: float | None,
    fpr95: float | None,
    auroc: float | None,
    methods: str,
    temperatures: tuple[float, ...],
    protocol_names: tuple[str, ...],
    limit: int,
    as_json: bool,
    workers: int,
) -> None:
    """Find the method and protocol that print given numbers.

    Every method is computed at every temperature under every protocol, and under each protocol with any one of its
    fields changed. The nearest are listed with their distance and, in words, with what they compute. First a part of
    the pixels is scored, then the nearest 48 are on all of them.

    \b
    Examples:
      pipe match enet.zarr --auprc 12.348 --fpr95 84.774
      pipe match eomt.zarr --auprc 17.15 --methods msp,entropy --temperatures 0.5:2:0.05
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    given = {"auprc": auprc, "fpr95": fpr95, "auroc": auroc}
    target = {name: value / 100 for name, value in given.items() if value is not None}
    if not target:
        raise click.UsageError("say what was printed, with --auprc, --fpr95 or --auroc")
    from logitpipe.cache.reading.store import open_store
    from logitpipe.stages.score.methods.names import split_list
    from logitpipe.stages.score.protocols import PROTOCOLS
    from logitpipe.tables.matches import match_record, matches_table

    opened = [open_store(path) for path in dict.fromkeys(stores)]
    for store in opened:
        store.require_complete()
    protocols = [PROTOCOLS[name] for name in protocol_names or PROTOCOL_NAMES]
    found = match_stores(opened, target, split_list(methods), temperatures, protocols, limit, workers)
    if as_json:
        click.echo(json.dumps([match_record(each, target) for each in found], indent=1))
    else:
        click.echo(matches_table(found, target))
