"""A run of scores: planned stores scored one after another, and what was run as a record."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from logitpipe.console.messages import COMPILING, caution, detail, is_verbose, note, word_if_slow
from logitpipe.console.progress import Progress
from logitpipe.console.text import byte_size, listed, ordinal
from logitpipe.results import record
from logitpipe.runs.also import Also, compute
from logitpipe.runs.cluster import walk_by
from logitpipe.stores.data import unlabelled

if TYPE_CHECKING:
    from logitpipe.cache.reading.store import Store
    from logitpipe.results.per_image.histograms import ImageCounts
    from logitpipe.stages.score.figures.curves import Sketch
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.stages.score.passes.sweep import Resolve
    from logitpipe.stages.score.passes.walk import Walk
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.statistics.histograms import Scored

MOST_HISTOGRAMS = 200_000
"""Of single images times pairs, 8 kB each: beyond that they are not kept."""


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
    plans : of `planning.plan_stores`
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
    with Progress(f"scoring {name}{which}", len(walks(plan)) * len(images), of=len(images)) as progress:
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
    with Progress(what, passes * len(images), of=len(images)) as progress:
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
