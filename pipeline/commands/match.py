"""`pipe match`: which method, temperature and protocol prints some numbers."""

import json
import math
from typing import TYPE_CHECKING

import click

from logitpipe.commands.completion import complete_methods
from logitpipe.console.options import PROTOCOL_NAMES, stores_argument
from logitpipe.console.scoring import parse_temperatures, workers_option
from logitpipe.runs.matching import TEMPERATURES, match_stores

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place


PERCENT = click.FloatRange(0, 100)


def _refuse_nan(_context: click.Context, _option: click.Parameter, value: float | None) -> float | None:
    """Refuse what is no number: a range of click lets it through."""
    if value is not None and math.isnan(value):
        raise click.BadParameter("NaN is no per cent")
    return value


@click.command()
@stores_argument()
@click.option("--auprc", type=PERCENT, callback=_refuse_nan, metavar="X", help="AuPRC that was printed, in per cent.")
@click.option(
    "--fpr95", type=PERCENT, callback=_refuse_nan, metavar="Y", help="FPR at 95 % TPR that was printed, in per cent."
)
@click.option("--auroc", type=PERCENT, callback=_refuse_nan, metavar="Z", help="AUROC that was printed, in per cent.")
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
    default=",".join(f"{T:g}" for T in TEMPERATURES),
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
@workers_option
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
    from logitpipe.stages.score.methods.names import split_list
    from logitpipe.tables.matches import match_record, matches_table

    found = match_stores(stores, target, split_list(methods), temperatures, protocol_names, limit, workers)
    if as_json:
        click.echo(json.dumps([match_record(each, target) for each in found], indent=1))
    else:
        click.echo(matches_table(found, target))
