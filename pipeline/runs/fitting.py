"""A fit: stores of images without anomalies in, statistics of their networks out."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from logitpipe.cache.errors import IncompleteError, PipeError
from logitpipe.console.messages import COMPILING, caution, note, word_if_slow
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.progress import Progress
from logitpipe.runs.also import class_codes
from logitpipe.runs.cluster import walk_by

if TYPE_CHECKING:
    from pathlib import Path

    from logitpipe.cache import Schema
    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.fitted import Fitted
    from logitpipe.stages.score.passes.fit import Fit
    from logitpipe.stages.score.passes.walk import Walk
    from logitpipe.stages.score.protocols import Protocol

FIT = "fit:"
"""Begins a temperature that statistics have: fit:FILE."""


def fit_stores(
    places: "Sequence[Place]",
    out: "Path",
    methods: Sequence[str] | None,
    temperatures: Sequence[float],
    protocol: "Protocol",
    label_space: str,
    codes: str | None,
    *,
    map_temperatures: Sequence[float] = (1.0,),
    mask_temperatures: Sequence[float] = (1.0,),
    allow_incomplete: bool = False,
    workers: int,
    overwrite: bool = False,
    dask: str | None = None,
) -> "tuple[Path, Path]":
    """Fit statistics of the networks of some stores, and return the two files that they were written to.

    Parameters
    ----------
    out : of the files, whose names end in .json and .npz
    dask : a cluster that does the walks, see `runs.cluster`; None for threads here
    others : see `plan_fits`

    Raises
    ------
    PipeError
        Files would be replaced or cannot be written, a store is incomplete or damaged, or shows anomalies alone.
    """
    from logitpipe.results.fitted import files_of, write_fitted

    refuse_to_replace(files_of(out), overwrite)
    networks = plan_fits(
        places,
        methods,
        temperatures,
        protocol,
        label_space,
        codes,
        map_temperatures=map_temperatures,
        mask_temperatures=mask_temperatures,
        allow_incomplete=allow_incomplete,
    )
    prepare_folder(out.parent)
    with walk_by(dask) as walker:
        every = [fit_network(fits, workers, walker) for fits in networks]
    try:
        return write_fitted(out, every)
    except OSError as error:
        found = f"the statistics cannot be written ({error.strerror})"
        raise PipeError(found, option="out", value=out) from error


def plan_fits(
    places: "Sequence[Place]",
    methods: Sequence[str] | None,
    temperatures: Sequence[float],
    protocol: "Protocol",
    label_space: str,
    codes: str | None,
    *,
    map_temperatures: Sequence[float],
    mask_temperatures: Sequence[float],
    allow_incomplete: bool,
) -> "list[list[Fit]]":
    """Open stores and return those of each network together, planned.

    Parameters
    ----------
    places : paths and URLs of the stores
    methods : names of those whose scores get a mean and a deviation; None for all that are built in
    temperatures, map_temperatures, mask_temperatures : T, T_S and T_m of the scores
    label_space, codes : names of classes, and what codes the masks have for them, see `runs.also`
    """
    from logitpipe.stages.score.fitted import identity_of
    from logitpipe.stages.score.passes.fit import Fit, fitting_protocol
    from logitpipe.stages.score.passes.spread import is_tiny
    from logitpipe.stages.score.plan import make_plan

    under = fitting_protocol(protocol)
    found: dict[str, list[Fit]] = {}
    for store in _opened(places, allow_incomplete):
        plan = make_plan(
            store.schema,
            under,
            methods,
            temperatures,
            map_temperatures=map_temperatures,
            mask_temperatures=mask_temperatures,
            fine=is_tiny(store),
        )
        fit = _with_classes(Fit(store, plan, store.completed()), label_space, codes)
        # As text, since an identity holds dicts, which are no keys.
        found.setdefault(json.dumps(identity_of(store.schema), sort_keys=True), []).append(fit)
    return list(found.values())


def fit_network(fits: "Sequence[Fit]", workers: int, walker: "Walk") -> "Fitted":
    """Return the statistics of one network over all of its stores, and say what was fitted.

    Parameters
    ----------
    walker : who does the walks, see `runs.cluster`
    """
    from logitpipe.stages.score.passes.fit import fit
    from logitpipe.stages.score.passes.sweep import compile_kernels

    with word_if_slow(COMPILING):
        compile_kernels(fits[0].plan)
    readings = sum(len(each.images) * each.walks for each in fits)
    with Progress(f"fitting {fits[0].store.schema.network}", readings, unit="readings") as progress:
        fitted = fit(fits, workers, progress.advance, walker)
    _say(fitted, any(each.classes for each in fits))
    return fitted


def _opened(places: "Sequence[Place]", allow_incomplete: bool) -> "list[Store]":
    from logitpipe.cache.reading.pinned import open_pinned

    stores = open_pinned(places)
    for store in stores:
        if not allow_incomplete:
            store.require_complete()
        if not store.completed():
            raise IncompleteError(f"{store.path}: no image is in the store", "infer")
    return stores


def _with_classes(fit: "Fit", label_space: str, codes: str | None) -> "Fit":
    """Return a store with the classes that its masks name, if they name any of the network's."""
    from dataclasses import replace

    from logitpipe.stages.score.labels.spaces import label_space as space_named
    from logitpipe.stages.score.passes.closed_set import class_table

    space, known = space_named(label_space, fit.store.schema), class_codes(codes, fit.store)
    if not known:
        schema = fit.store.schema
        note(f"{fit.store.path}: the masks of {schema.dataset} name no classes, so that no temperature is fitted")
        return fit
    return replace(fit, classes=(space, class_table(fit.store, space, known)))


def _say(fitted: "Fitted", has_classes: bool) -> None:
    """Say what was fitted, and what a reader of later figures must know."""
    from logitpipe.stages.score.passes.fit import OCTAVES

    found, least = fitted.found, fitted.least_nll
    facts = [f"{found.images} images, {found.pixels:,} normal pixels"]
    if least is not None:
        what = "T" if fitted.identity["kind"] == "pixel" else "T_S"
        facts.append(
            f"NLL is least at {what} = {least.temperature:g}: {least.nll:.4f} nats, and {least.nll_at_1:.4f} at 1"
        )
    elif has_classes:
        facts.append(f"no temperature from 1/{2**OCTAVES} to {2**OCTAVES} has the least NLL, so that none is fitted")
    note(f"{fitted.identity['network']}: {'; '.join(facts)}")
    for source in fitted.sources:
        if source.left_out:
            caution(
                f"{source.store}: {source.left_out} of {source.images + source.left_out} images show an anomaly and "
                "are left out. Figures on images that statistics were fitted on flatter the methods that use these"
            )


def statistics_of(schema: "Schema", path: "Path | None", temperatures: "Sequence[float | str]") -> "Fitted | None":
    """Return the statistics that a store is scored with: those of a file, or else those that temperatures name.

    Raises
    ------
    PipeError
        A file cannot be read, or holds none of the network of the store.
    """
    from pathlib import Path

    from logitpipe.results.fitted import read_fitted
    from logitpipe.stages.score.fitted import of_store

    named = [Path(each.removeprefix(FIT)) for each in temperatures if isinstance(each, str)]
    paths = [path] if path is not None else named[:1]
    return of_store(read_fitted(paths[0]), schema) if paths else None


def numbers(
    schema: "Schema", temperatures: "Sequence[float | str]", map_temperatures: Sequence[float]
) -> tuple[list[float], list[float]]:
    """Return T and T_S for a store, with fitted ones as numbers.

    A fitted temperature is T of a pixel network; of a mask network it is T_S, and T is 1.

    Raises
    ------
    PipeError
        As for `statistics_of`, or no temperature was fitted.
    """
    classes: list[float] = []
    maps: list[float] = []
    for each in temperatures:
        if not isinstance(each, str):
            classes.append(each)
            continue
        fitted = statistics_of(schema, None, [each])
        if fitted is None or fitted.least_nll is None:
            raise PipeError(f"{each.removeprefix(FIT)} has no fitted temperature of {schema.network}", "fit-classes")
        (classes if schema.kind == "pixel" else maps).append(fitted.least_nll.temperature)
    # Beside a number of T the T_S that were asked for stay; fit:FILE alone means its own T_S and no other.
    has_number = bool(classes)
    return classes or [1.0], [*(map_temperatures if has_number or not maps else ()), *maps]
