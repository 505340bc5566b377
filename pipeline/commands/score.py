"""`pipe score`: stores in, every method at every temperature out."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logitpipe.cache.errors import IncompleteError, UsageError
from logitpipe.commands.also import also_option, class_codes_option, compute, label_space_option, refuse
from logitpipe.commands.completion import complete_methods
from logitpipe.console.messages import caution, detail, note, word_if_slow
from logitpipe.console.options import STORE, metrics_option, overwrite_option, protocol_option, require_temperature
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.progress import Progress
from logitpipe.console.settings import details, resolved
from logitpipe.console.text import byte_size, listed
from logitpipe.results.record import describe_run
from logitpipe.stages.cores import available_cores
from logitpipe.stores.data import unlabelled
from logitpipe.tables.formats import FORMATS, choose_format, formatted

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.results.per_image import ImageCounts
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.stages.score.passes.sweep import Resolve
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol
    from logitpipe.stages.score.statistics.histograms import Scored
    from logitpipe.tables.metrics import Metric

MOST_TEMPERATURES = 10_000
MOST_WORKERS = 256
MOST_HISTOGRAMS = 200_000
"""Of single images times pairs, 8 kB each: beyond that they are not kept."""


def parse_temperatures(_context: click.Context, _option: click.Parameter, text: str) -> tuple[float, ...]:
    """Read `0.5,1,2` or `START:STOP:STEP`, the end included where a step reaches it."""
    try:
        values = _range(text) if ":" in text else tuple(float(part) for part in text.split(","))
    except (ValueError, OverflowError):
        raise click.BadParameter(f"expected 0.5,1,2 or START:STOP:STEP, and found {text!r}") from None
    return tuple(require_temperature(T) for T in values)


def _range(text: str) -> tuple[float, ...]:
    # A wrong number of parts or text that is no number raises ValueError, which the caller words.
    start, stop, step = (float(part) for part in text.split(":"))
    if not (math.isfinite(start + stop + step) and step > 0 and stop >= start):
        raise ValueError
    # 1e-9 is slack for binary fractions: without it (2 - 0.5) / 0.1 could fall just short of 15 and lose the stop.
    count = math.floor((stop - start) / step + 1e-9) + 1
    if count > MOST_TEMPERATURES:
        raise click.BadParameter(f"{text} makes {count} temperatures; {MOST_TEMPERATURES} are the most")
    # Ten digits drop what repeated steps add: 0.1:0.3:0.1 means 0.3, not 0.30000000000000004.
    return tuple(float(f"{start + i * step:.10g}") for i in range(count))


def parse_choices(_context: click.Context, _option: click.Parameter, texts: tuple[str, ...]) -> dict[str, str]:
    """Read FIELD=VALUE, several times."""
    for text in texts:
        if "=" not in text:
            raise click.BadParameter(f"expected FIELD=VALUE, and found {text!r}")
    return dict(text.split("=", 1) for text in texts)


@click.command()
@click.argument("stores", nargs=-1, required=True, type=STORE, metavar="STORE...")
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="all|ID,...",
    shell_complete=complete_methods,
    help="Methods to compute.",
)
@click.option(
    "--temperatures",
    callback=parse_temperatures,
    default="1",
    show_default=True,
    metavar="T,...|START:STOP:STEP",
    help="Temperatures for the methods that have one.",
)
@protocol_option
@click.option(
    "--set", "choices", multiple=True, callback=parse_choices, metavar="FIELD=VALUE", help="One choice anew."
)
@click.option(
    "--label-codes",
    multiple=True,
    metavar="[DATASET:]normal=0,anomaly=1-2,void=255",
    help="What the codes of the masks mean, of all data sets or of one; repeatable  [default: as the stores say]",
)
@click.option(
    "--threshold", "thresholds", multiple=True, type=float, metavar="X", help="IoU at this score; repeatable."
)
@click.option(
    "--resolve",
    type=click.Choice(["summary", "all", "none"]),
    default="summary",
    show_default=True,
    help="Pairs whose digits are made certain: T = 1 and the best temperature of each method, all, or none.",
)
@click.option("--exact/--no-exact", help="Let scikit-learn compute the figures from every single score.")
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=lambda: min(available_cores(), MOST_WORKERS),
    show_default="number of cores",
    help="Threads that score.",
)
@click.option("--allow-incomplete", is_flag=True, help="Score what a store has, and exit with 3.")
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Folder for the results as files.")
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
    temperatures: tuple[float, ...],
    protocol_name: str,
    choices: dict[str, str],
    label_codes: tuple[str, ...],
    thresholds: tuple[float, ...],
    resolve: "Resolve",
    exact: bool,
    workers: int,
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
    """Score stores with every method at every temperature."""
    printed_as = choose_format(ctx, format_name, as_json)
    details(ctx)
    _refuse_what_is_no_number(thresholds)
    shown = _metrics(metrics)
    protocol = _protocol(protocol_name, choices)
    plans = _plans(stores, methods, temperatures, protocol, label_codes, thresholds)
    missing = _missing(plans, allow_incomplete)
    # Whatever can be refused is refused before the first image is read: scoring may take hours.
    refuse(also, printed_as, plans, label_space, class_codes)
    if out:
        _prepare(out, overwrite)
    scored = [_score(store, plan, workers, exact, bool(out), resolve) for store, plan in plans]
    rows = [each.row for part in scored for each in part]
    of_stores = [
        (store, plan, [each.row for each in part]) for (store, plan), part in zip(plans, scored, strict=True)
    ]
    more = compute(also, of_stores, label_space, class_codes, workers)
    try:
        if out:
            from logitpipe.results.writing import write_results

            sketches = [each.sketch for part in scored for each in part if each.sketch]
            images = [_image_counts(store, part) for (store, _), part in zip(plans, scored, strict=True)]
            write_results(
                out, rows, sketches, _settings(ctx, plans), [each for each in images if each], more.records()
            )
    finally:  # hours of work may stand behind the figures: they are shown whatever became of the files
        click.echo(formatted(rows, printed_as, summary, shown, more), nl=False)
    # Last, so that the figures of the images that are there have been printed and written.
    if missing:
        raise IncompleteError(f"{missing} images were missing; the figures are those of the others")


def _prepare(out: Path, overwrite: bool) -> None:
    from logitpipe.results.benchmarks import FILES as BENCHMARKS
    from logitpipe.results.columns import FILES

    refuse_to_replace((out / name for name in (*FILES, *BENCHMARKS)), overwrite)
    prepare_folder(out)


def _metrics(names: Sequence[str]) -> "tuple[Metric, ...]":
    from logitpipe.tables.metrics import metrics_named

    return metrics_named(names)


def _refuse_what_is_no_number(thresholds: Sequence[float]) -> None:
    for threshold in thresholds:
        if math.isnan(threshold):
            raise click.BadParameter("NaN is no threshold", param_hint="'--threshold'")


def _protocol(name: str, choices: dict[str, str]) -> "Protocol":
    from logitpipe.stages.score.protocols import PROTOCOLS, with_choices

    return with_choices(PROTOCOLS[name], choices)


def _plans(
    paths: "Sequence[Place]",
    methods: str,
    temperatures: Sequence[float],
    protocol: "Protocol",
    label_codes: Sequence[str],
    thresholds: Sequence[float],
) -> "list[tuple[Store, Plan]]":
    """Open every store and plan its run, so that what is wrong with any is said before the first is scored."""
    from logitpipe.cache.reading.pinned import PinnedStore
    from logitpipe.cache.reading.store import Store, open_store
    from logitpipe.stages.score.plan import make_plan, method_names

    wanted = None if methods == "all" else method_names([name.strip() for name in methods.split(",")])
    # A store that is named twice would give every row twice, and rows are told apart by their store.
    opened = [open_store(path) for path in dict.fromkeys(paths)]
    # Pinned: a store that is rewritten during the run must end in an error, not in figures of old and new images.
    stores: list[Store] = [PinnedStore(store.files, store.schema) for store in opened]
    protocols = _by_dataset(protocol, label_codes, [store.schema.dataset for store in stores])
    plans = [
        (store, make_plan(store.schema, protocols[store.schema.dataset], wanted, temperatures, thresholds))
        for store in stores
    ]
    # A method may serve one kind of network alone. It is refused only if no store of this run can serve it.
    served = {pair.method for _, plan in plans for pair in plan.pairs}
    for name in wanted or ():
        if name not in served:
            kinds = " and ".join(sorted({store.schema.kind for store in stores}))
            raise UsageError(f"--methods: {name!r} cannot be computed from these {kinds} stores; leave it out")
    return plans


def _by_dataset(protocol: "Protocol", label_codes: Sequence[str], datasets: Sequence[str]) -> "dict[str, Protocol]":
    """Return the protocol of each data set, with the label codes that the command line gives for it or for all."""
    from logitpipe.stages.score.protocols import with_choices

    # rpartition, as the codes hold no colon but the name of a data set may. None stands for all data sets.
    told = {name or None: codes for name, _, codes in (text.rpartition(":") for text in label_codes)}
    if strange := [name for name in told if name is not None and name not in datasets]:
        known = ", ".join(dict.fromkeys(datasets))
        raise UsageError(f"--label-codes: no store is of the data set {strange[0]!r}; there are {known}")
    own = {name: told.get(name, told.get(None)) for name in datasets}
    return {
        name: protocol if codes is None else with_choices(protocol, {"label-codes": codes})
        for name, codes in own.items()
    }


def _missing(plans: "Sequence[tuple[Store, Plan]]", allow_incomplete: bool) -> int:
    """Return how many images the stores lack; without --allow-incomplete that is an error."""
    missing = 0
    for store, _ in plans:
        if not allow_incomplete:
            store.require_complete()
        missing += len(store.missing())
        if not store.completed():
            raise IncompleteError(f"{store.path}: no image is in the store; run the same `pipe infer` again")
    return missing


def _score(
    store: "Store", plan: "Plan", workers: int, exact: bool, into_files: bool, resolve: "Resolve"
) -> "list[Scored]":
    """Return the figures of each pair and, where they go into files, its curves and histograms of single images."""
    from logitpipe.cache.reading.store import stored_bytes
    from logitpipe.stages.score.passes.sweep import compile_kernels, sweep, walks

    images, name = store.completed(), f"{store.schema.network} on {store.schema.dataset}"
    size = byte_size(stored_bytes(store))
    detail(f"{store.path}: {len(images)} images of {name}, {size}; {len(plan.pairs)} pairs of method and temperature")
    # Before the progress bar: compiling takes seconds, and inside it would spoil the first rate and time left.
    with word_if_slow("compiling the scoring kernels; their code is kept for the next run"):
        compile_kernels(plan)
    # The limit is on all histograms of a store together: they are held in memory until the results are written.
    per_image = into_files and len(images) * len(plan.pairs) <= MOST_HISTOGRAMS
    if into_files and not per_image:
        note(f"{store.path}: no histograms of single images are kept, as {len(images)} images are too many for that")
    with Progress(f"scoring {name}", len(walks(plan)) * len(images)) as progress:
        scored = sweep(
            store, plan, images, workers, progress.advance, into_files, resolve, per_image, progress.extend
        )
    if lacking := unlabelled(store):
        caution(
            f"{store.path}: {len(lacking)} of {len(images)} pictures have no mask and are left out of the figures: "
            f"{listed(lacking)}"
        )
    if not exact:
        return scored
    from logitpipe.stages.score.passes.exact import exact_rows  # scikit-learn, which is slow to import

    rows, passes = [each.row for each in scored], len({pair.temperature for pair in plan.pairs})
    with Progress(f"scoring {name} exactly", passes * len(images), unit="readings") as progress:
        found = exact_rows(store, plan, images, rows, progress.advance)
    note(_agreement(rows, found))
    return [each._replace(row=row) for each, row in zip(scored, found, strict=True)]


def _image_counts(store: "Store", scored: "Sequence[Scored]") -> "ImageCounts | None":
    """Return the histograms of single images of a store; None where there are none."""
    import numpy as np

    from logitpipe.results.per_image import ImageCounts

    found = [each.images for each in scored if each.images]
    if not found:
        return None
    names = tuple(store.schema.images[image] for image in found[0].indices)
    return ImageCounts(names, np.stack([each.counts for each in found]))


def _agreement(streamed: "Sequence[Row]", exact: "Sequence[Row]") -> str:
    def largest(figure: str) -> float:
        pairs = ((getattr(a, figure), getattr(b, figure)) for a, b in zip(streamed, exact, strict=True))
        return max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=0.0)

    figures = ", ".join(f"{name} {largest(key):.1e}" for name, key in _COMPARED.items())
    return f"largest difference between streaming and exact figures: {figures}"


_COMPARED = {"AuPRC": "auprc", "FPR95": "fpr95", "AUROC": "auroc"}


def _settings(context: click.Context, plans: "Sequence[tuple[Store, Plan]]") -> dict[str, Any]:
    """Return what the command was called with and what it ran on, for whoever reads the results later."""
    from importlib.metadata import version

    file = context.find_root().params.get("settings")
    return {
        "command": "pipe score",
        "version": version("logitpipe"),
        "settings_file": None if file is None else str(file),
        "settings": resolved(context),
        "run": describe_run(context, plans),
    }
