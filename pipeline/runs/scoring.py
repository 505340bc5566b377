"""A run of scores: stores opened and planned, scored one after another, and what was run as a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from logitpipe.cache.errors import IncompleteError, UsageError
from logitpipe.console.messages import COMPILING, caution, detail, is_verbose, note, word_if_slow
from logitpipe.console.progress import Progress
from logitpipe.console.text import byte_size, listed, ordinal
from logitpipe.results import record
from logitpipe.runs.also import Also, compute
from logitpipe.runs.cluster import walk_by
from logitpipe.runs.fitting import numbers, statistics_of
from logitpipe.stores.data import unlabelled

if TYPE_CHECKING:
    from pathlib import Path

    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.results.per_image.histograms import ImageCounts
    from logitpipe.stages.score.figures.curves import Sketch
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.stages.score.methods import Method
    from logitpipe.stages.score.passes.sweep import Resolve
    from logitpipe.stages.score.passes.walk import Walk
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol
    from logitpipe.stages.score.statistics.histograms import Scored

MOST_HISTOGRAMS = 200_000
"""Of single images times pairs, 8 kB each: beyond that they are not kept."""


def plan_stores(
    places: "Sequence[Place]",
    methods: "Sequence[str] | None",
    temperatures: "Sequence[float | str]",
    protocol: "Protocol",
    label_codes: Sequence[str],
    thresholds: Sequence[float],
    functions: "Mapping[str, Method]" = MappingProxyType({}),
    *,
    map_temperatures: Sequence[float] = (1.0,),
    mask_temperatures: Sequence[float] = (1.0,),
    statistics: "Path | None" = None,
) -> "list[tuple[Store, Plan]]":
    """Open every store and plan its run, so that what is wrong with any is said before the first is scored.

    Parameters
    ----------
    places : paths and URLs of the stores
    methods : as people type them, see `methods.names`; None for the core
    label_codes : `CODES` for the masks of all data sets, `DATASET:CODES` for those of one
    functions : methods of one's own by name, beside `methods`
    temperatures, map_temperatures, mask_temperatures : T, T_S and T_m; among the first may be fit:FILE
    statistics : file of `pipe fit`, for the methods that need it
    """
    from logitpipe.cache.reading.pinned import open_pinned
    from logitpipe.stages.score.methods.names import asked
    from logitpipe.stages.score.passes.spread import tiny_spread
    from logitpipe.stages.score.plan import make_plan

    named = [name for name in methods or () if name not in functions]
    for each in asked(named):
        if each.note:
            note(each.note)
    # Pinned: a store that is rewritten during the run ends in an error, not in figures of old and new images.
    stores = open_pinned(places)
    protocols = _by_dataset(protocol, label_codes, [store.schema.dataset for store in stores])
    plans = []
    for store in stores:
        schema = store.schema
        T, T_S = numbers(schema, temperatures, map_temperatures)
        # Decided here, once: whoever scores a part of the images has it from the plan.
        if (spread := tiny_spread(store)) is not None:
            note(
                f"{store.path}: the class logits of a pixel differ by {spread:.2g} at most; scores are computed in "
                "float64, which is slower"
            )
        plan = make_plan(
            schema,
            protocols[schema.dataset],
            methods,
            T,
            thresholds,
            functions,
            map_temperatures=T_S,
            mask_temperatures=mask_temperatures,
            statistics=statistics_of(schema, statistics, temperatures),
            fine=spread is not None,
        )
        plans.append((store, plan))
    _require_served(plans, named, functions)
    return plans


def _require_served(
    plans: "Sequence[tuple[Store, Plan]]", named: Sequence[str], functions: "Mapping[str, Method]"
) -> None:
    """Refuse a method that no store of the run can serve; it may be for one kind of network alone."""
    from logitpipe.stages.score.methods.names import GROUPS, asked

    served = {pair.method for _, plan in plans for pair in plan.pairs}
    # Of a group, such as all, each store serves what it can.
    single = [each.name for each in asked([text for text in named if text.strip().casefold() not in GROUPS])]
    for name in (*single, *functions):
        if name not in served:
            kinds = " and ".join(sorted({store.schema.kind for store, _ in plans}))
            raise UsageError(f"{name!r} cannot be computed from these {kinds} stores; leave it out", option="methods")


def _by_dataset(protocol: "Protocol", label_codes: Sequence[str], datasets: Sequence[str]) -> "dict[str, Protocol]":
    """Return the protocol of each data set, with the label codes that are given for it or for all."""
    from logitpipe.stages.score.protocols import with_choices

    # rpartition, as the codes hold no colon but the name of a data set may. None stands for all data sets.
    told = {name or None: codes for name, _, codes in (text.rpartition(":") for text in label_codes)}
    if strange := [name for name in told if name is not None and name not in datasets]:
        known = ", ".join(dict.fromkeys(datasets))
        raise UsageError(f"no store is of the data set {strange[0]!r}; there are {known}", option="label_codes")
    own = {name: told.get(name, told.get(None)) for name in datasets}
    return {
        name: protocol if codes is None else with_choices(protocol, {"label-codes": codes})
        for name, codes in own.items()
    }


def count_missing(plans: "Sequence[tuple[Store, Plan]]", allow_incomplete: bool) -> int:
    """Return how many images the stores lack; unless that is allowed, it is an error."""
    missing = 0
    for store, _ in plans:
        with word_if_slow(f"asking for the images of {store.path}"):  # a web server is asked for each of them
            store.completed()
        if not allow_incomplete:
            store.require_complete()
        missing += len(store.missing())
        # Also where missing images are allowed: of no image there are no figures.
        if not store.completed():
            raise IncompleteError(f"{store.path}: no image is in the store", "infer")
    return missing


@dataclass(frozen=True)
class ScoredRun:
    """What a run of scores has found.

    Parameters
    ----------
    rows : figures of each pair, those of each store together
    sketches : curves of the rows; none where nobody keeps them
    images : histograms of single images, of each store that has them
    also : the benchmarks' own figures
    """

    rows: "list[Row]"
    sketches: "list[Sketch]"
    images: "list[ImageCounts]"
    also: Also


def score_stores(
    plans: "Sequence[tuple[Store, Plan]]",
    *,
    workers: int,
    exact: bool,
    into_files: bool,
    resolve: "Resolve",
    dask: str | None,
    also: Sequence[str],
    label_space: str,
    class_codes: str | None,
) -> ScoredRun:
    """Score stores one after another, then compute what benchmarks add to that.

    Parameters
    ----------
    plans : of `plan_stores`
    workers : threads
    exact : whether the figures are those of every single score, sorted on disk
    into_files : whether curves and histograms of single images are kept
    resolve : see `sweep`
    dask : see `walk_by`
    also, label_space, class_codes : see `also.compute`
    """
    with walk_by(dask) as walker:
        found = [
            _score_store(store, plan, workers, exact, into_files, resolve, walker, ordinal(i, len(plans)))
            for i, (store, plan) in enumerate(plans)
        ]
        of_stores = [
            (store, plan, [each.row for each in of_store])
            for (store, plan), of_store in zip(plans, found, strict=True)
        ]
        more = compute(also, of_stores, label_space, class_codes, workers, walker)
    images = [_image_counts(store, of_store) for (store, _), of_store in zip(plans, found, strict=True)]
    every = [each for of_store in found for each in of_store]
    return ScoredRun(
        [each.row for each in every],
        [each.sketch for each in every if each.sketch],
        [each for each in images if each],
        more,
    )


def _score_store(
    store: "Store",
    plan: "Plan",
    workers: int,
    exact: bool,
    into_files: bool,
    resolve: "Resolve",
    walker: "Walk",
    which: str,
) -> "list[Scored]":
    """Return the figures of each pair and, where they go into files, its curves and histograms of single images.

    `which` says which of several stores it is, for the progress.
    """
    from logitpipe.cache.reading.store import stored_bytes
    from logitpipe.stages.score.passes.sweep import compile_kernels, sweep, walks

    images, name = store.completed(), f"{store.schema.network} on {store.schema.dataset}"
    # A server is not asked for sizes that nobody reads.
    size = stored_bytes(store) if is_verbose() else None
    held = f"{len(images)} images of {name}" + ("" if size is None else f", {byte_size(size)}")
    detail(f"{store.path}: {held}; {len(plan.pairs)} pairs of method and temperature")
    # Before the progress bar: compiling takes seconds, and inside it would spoil the first rate and time left.
    with word_if_slow(COMPILING):
        compile_kernels(plan)
    # The limit is on all histograms of a store together: they are held in memory until the results are written.
    per_image = into_files and len(images) * len(plan.pairs) <= MOST_HISTOGRAMS
    if into_files and not per_image:
        note(f"{store.path}: no histograms of single images are kept, as {len(images)} images are too many for that")
    with Progress(f"scoring {name}{which}", len(walks(plan)) * len(images)) as progress:
        scored = sweep(
            store,
            plan,
            images,
            workers,
            progress.advance,
            sketched=into_files,
            resolve=resolve,
            per_image=per_image,
            extend=progress.extend,
            walker=walker,
        )
    # After the figures, where it is read: it says what they are of.
    if lacking := unlabelled(store):
        caution(
            f"{store.path}: {len(lacking)} of {len(images)} pictures have no mask and are left out of the figures: "
            f"{listed(lacking)}"
        )
    return _exactly(store, plan, images, scored, f"scoring {name}{which} exactly") if exact else scored


def _exactly(
    store: "Store", plan: "Plan", images: Sequence[int], scored: "Sequence[Scored]", what: str
) -> "list[Scored]":
    """Return what was found with the figures of every single score in order, and say how far the others were off."""
    from logitpipe.stages.score.passes.exact import exact_rows

    rows, passes = [each.row for each in scored], len({pair.temperatures for pair in plan.pairs})
    with Progress(what, passes * len(images), unit="readings") as progress:
        found = exact_rows(store, plan, images, rows, progress.advance)
    note(_agreement(rows, found))
    return [each._replace(row=row) for each, row in zip(scored, found, strict=True)]


def _image_counts(store: "Store", scored: "Sequence[Scored]") -> "ImageCounts | None":
    """Return the histograms of single images of a store; None where there are none."""
    found = [each.images for each in scored if each.images]
    if not found:
        return None
    # After that, as they load xarray: whoever wants no files need not wait for it.
    import numpy as np

    from logitpipe.results.per_image.histograms import ImageCounts

    names = tuple(store.schema.images[image] for image in found[0].indices)
    return ImageCounts(names, np.stack([each.counts for each in found]))


def _agreement(streamed: "Sequence[Row]", exact: "Sequence[Row]") -> str:
    def largest(figure: str) -> float:
        pairs = ((getattr(a, figure), getattr(b, figure)) for a, b in zip(streamed, exact, strict=True))
        return max((abs(a - b) for a, b in pairs if a is not None and b is not None), default=0.0)

    figures = ", ".join(f"{name} {largest(key):.1e}" for name, key in _COMPARED.items())
    return f"largest difference between streaming and exact figures: {figures}"


_COMPARED = {"AuPRC": "auprc", "FPR95": "fpr95", "AUROC": "auroc"}


def describe_run(
    words: str, exact: bool, plans: "Sequence[tuple[Store, Plan]]", called: Mapping[str, object]
) -> dict[str, Any]:
    """Return settings.json: what was called and what it ran on, for whoever reads the results later.

    Parameters
    ----------
    words : the call as it was typed
    exact : whether the figures are those of every single score, sorted on disk
    called : the command or function, and its settings
    """
    from importlib.metadata import version

    return {"version": version("logitpipe"), **called, "run": record.describe_run(words, exact, plans)}
