"""`pipe score`: stores in, every method at every temperature out."""

import math
import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logitpipe.cache.errors import IncompleteError
from logitpipe.commands.completion import complete_methods
from logitpipe.console.messages import word_if_slow
from logitpipe.console.options import (
    FilePath,
    dask_option,
    metrics_option,
    overwrite_option,
    protocol_option,
    statistics_option,
    stores_argument,
)
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.scoring import (
    also_option,
    class_codes_option,
    label_space_option,
    map_temperatures_option,
    mask_temperatures_option,
    parse_fitted,
    workers_option,
)
from logitpipe.console.settings import WORDS, details, resolved
from logitpipe.runs.also import refuse
from logitpipe.runs.planning import count_missing, plan_stores
from logitpipe.runs.scoring import ScoredRun, describe_run, score_stores
from logitpipe.tables.formats import FORMATS, choose_format, formatted

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.passes.sweep import Resolve
    from logitpipe.stages.score.plan import Plan


def parse_choices(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read FIELD=VALUE, several times."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected FIELD=VALUE, and found {text!r}")
    return dict(text.split("=", 1) for text in texts)


@click.command()
@stores_argument()
@click.option(
    "--methods",
    default="core",
    show_default=True,
    metavar="core|all|ID,...",
    shell_complete=complete_methods,
    help="Methods to compute: those of `pipe list methods`, or functions of your own as FILE.py:FUNCTION.",
)
@click.option(
    "--temperatures",
    callback=parse_fitted,
    default="1",
    show_default=True,
    metavar="T,...|START:STOP:STEP",
    help="Temperatures of the class logits, for the methods that have one; fit:FILE is that of least NLL.",
)
@statistics_option
@map_temperatures_option
@mask_temperatures_option
@protocol_option
@click.option(
    "--set",
    "choices",
    multiple=True,
    callback=parse_choices,
    metavar="FIELD=VALUE",
    help="Change one field of the protocol (`pipe list protocols`); repeatable.",
)
@click.option(
    "--label-codes",
    multiple=True,
    metavar="[DATASET:]normal=0,anomaly=1-2,void=255",
    help="What the codes of the masks mean, of all data sets or of one; repeatable  [default: as the stores say]",
)
@click.option(
    "--threshold",
    "thresholds",
    multiple=True,
    type=float,
    metavar="X",
    help="Also print the IoU at this score; repeatable.",
)
@click.option(
    "--resolve",
    type=click.Choice(["summary", "all", "none"]),
    default="summary",
    show_default=True,
    help="Rows whose printed digits are made certain: T = 1 and the best temperature of each method, all, or none.",
)
@click.option(
    "--exact/--no-exact", help="Compute the figures from every single score, sorted on disk: slow, a check."
)
@workers_option
@dask_option
@click.option(
    "--allow-incomplete", is_flag=True, help="Score what a store has, and exit with 3 if images are missing."
)
@click.option("--out", type=FilePath(file_okay=False), help="Folder for the results as files.")
@overwrite_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(FORMATS),
    default="table",
    show_default=True,
    help="How to print the results.",
)
@click.option("--json/--no-json", "as_json", help="The same as --format json: one JSON object.")
@metrics_option("auprc,fpr95,auroc")
@click.option(
    "--summary/--no-summary", help="In tables, of each method only T = 1 and the temperature of the best AuPRC."
)
@also_option
@label_space_option
@class_codes_option
@click.pass_context
def score(
    ctx: click.Context,
    stores: "tuple[Place, ...]",
    methods: str,
    temperatures: "tuple[float | str, ...]",
    statistics: Path | None,
    map_temperatures: tuple[float, ...],
    mask_temperatures: tuple[float, ...],
    protocol_name: str,
    choices: dict[str, str],
    label_codes: tuple[str, ...],
    thresholds: tuple[float, ...],
    resolve: "Resolve",
    exact: bool,
    workers: int,
    dask: str | None,
    allow_incomplete: bool,
    out: Path | None,
    overwrite: bool,
    format_name: str,
    as_json: bool,
    metrics: tuple[str, ...],
    summary: bool,
    also: tuple[str, ...],
    label_space: str,
    class_codes: str | None,
) -> None:
    """Score stores with every method at every temperature.

    STORES are what `pipe infer` made, or folders of stores. Figures go to stdout; with --out also to files, which
    `pipe table`, `compare`, `figure` and `report` read.

    \b
    Examples:
      pipe score enet.zarr erfnet.zarr
      pipe score stores --temperatures 0.1:2:0.1 --summary --out results
      pipe score eomt.zarr --methods all --protocol course --format latex
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    printed_as = choose_format(ctx, format_name, as_json)
    details(ctx)
    _refuse_what_is_no_number(thresholds)
    if exact and dask:
        raise click.UsageError("--exact sorts every score on the disk of one machine; leave --dask or --exact out")
    with word_if_slow("loading numba"):
        from logitpipe.stages.score.methods.names import split_list
        from logitpipe.stages.score.protocols import PROTOCOLS, with_choices
        from logitpipe.tables.metrics import metrics_named
    shown = metrics_named(metrics)
    protocol = with_choices(PROTOCOLS[protocol_name], choices)
    plans = plan_stores(
        stores,
        split_list(methods),
        temperatures,
        protocol,
        label_codes,
        thresholds,
        map_temperatures=map_temperatures,
        mask_temperatures=mask_temperatures,
        statistics=statistics,
    )
    missing = count_missing(plans, allow_incomplete)
    # Whatever can be refused is refused before the first image is read: scoring may take hours.
    refuse(also, plans, label_space, class_codes)
    if out:
        _prepare(out, overwrite)
    found = score_stores(
        plans,
        workers=workers,
        exact=exact,
        into_files=bool(out),
        resolve=resolve,
        dask=dask,
        also=also,
        label_space=label_space,
        class_codes=class_codes,
    )
    try:
        if out:
            _write(out, found, _settings(ctx, exact, plans), overwrite)
    finally:  # hours of work may stand behind the figures: they are shown whatever became of the files
        click.echo(formatted(found.rows, printed_as, summary, shown, found.also), nl=False)
    # Last, so that the figures of the images that are there have been printed and written.
    if missing:
        raise IncompleteError(f"{missing} images were missing; the figures are those of the others")


def _prepare(out: Path, overwrite: bool) -> None:
    from logitpipe.results.benchmarks import FILES as BENCHMARKS
    from logitpipe.results.columns import FILES

    refuse_to_replace((out / name for name in (*FILES, *BENCHMARKS)), overwrite)
    prepare_folder(out)


def _write(out: Path, found: ScoredRun, settings: dict[str, Any], overwrite: bool) -> None:
    from logitpipe.results.writing import write_results

    with word_if_slow(f"writing the results to {out}"):
        write_results(out, found.rows, found.sketches, settings, found.images, found.also.records(), overwrite)


def _refuse_what_is_no_number(thresholds: Sequence[float]) -> None:
    for threshold in thresholds:
        # click reads `nan` as a float like any other.
        if math.isnan(threshold):
            raise click.BadParameter("NaN is no threshold", param_hint="'--threshold'")


def _settings(context: click.Context, exact: bool, plans: "Sequence[tuple[Store, Plan]]") -> dict[str, Any]:
    """Return what the command was called with and what it ran on, for whoever reads the results later."""
    file = context.find_root().params.get("settings")
    called = {
        "command": "pipe score",
        "settings_file": None if file is None else str(file),
        "settings": resolved(context),
    }
    return describe_run(shlex.join(["pipe", *context.meta[WORDS]]), exact, plans, called)
