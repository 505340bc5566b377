"""`pipe fit`: statistics of networks where nothing is anomalous, for the methods that need them."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from logitpipe.cache.errors import IncompleteError, PipeError
from logitpipe.commands.also import class_codes, class_codes_option, label_space_option
from logitpipe.commands.completion import complete_methods
from logitpipe.commands.score import MOST_WORKERS, parse_temperatures
from logitpipe.console.messages import caution, note, word_if_slow
from logitpipe.console.options import STORE, overwrite_option, protocol_option
from logitpipe.console.output import prepare_folder, refuse_to_replace
from logitpipe.console.progress import Progress
from logitpipe.stages.cores import available_cores

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.fitted import Fitted
    from logitpipe.stages.score.passes.fit import Fit


@click.command()
@click.argument("stores", nargs=-1, required=True, type=STORE, metavar="STORE...")
@click.option(
    "--out",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    help="Where to: FILE.json and FILE.npz.",
)
@click.option(
    "--methods",
    default="all",
    show_default=True,
    metavar="all|ID,...",
    shell_complete=complete_methods,
    help="Methods whose scores get a mean and a deviation.",
)
@click.option(
    "--temperatures",
    callback=parse_temperatures,
    default="1",
    show_default=True,
    metavar="T,...|START:STOP:STEP",
    help="Temperatures of scores and of mean posteriors.",
)
@protocol_option
@label_space_option
@class_codes_option
@click.option(
    "--workers",
    type=click.IntRange(1, MOST_WORKERS),
    default=lambda: min(available_cores(), MOST_WORKERS),
    show_default="number of cores",
    help="Threads that score.",
)
@click.option("--allow-incomplete", is_flag=True, help="Take what the stores have.")
@overwrite_option
def fit(
    stores: "tuple[Place, ...]",
    out: Path,
    methods: str,
    temperatures: tuple[float, ...],
    protocol_name: str,
    label_space: str,
    class_codes: str | None,
    workers: int,
    allow_incomplete: bool,
    overwrite: bool,
) -> None:
    """Fit statistics on images without anomalies, for sml, sml+, kl, z-scores and fit:FILE.

    STORES are logits over pictures of what a network was trained on, such as Cityscapes; images that show an anomaly
    are left out. Stores of one network are taken together. Of each network are fitted: mean and variance of the
    largest logit by predicted class, mean posteriors by predicted class, mean and deviation of every method's
    scores and, where the masks name classes, the temperature of least negative log-likelihood.

    \b
    Examples:
      pipe fit cityscapes_enet.zarr --out enet --temperatures 0.5:2:0.1
      pipe score roadanomaly_enet.zarr --methods sml,kl --statistics enet
      pipe score roadanomaly_enet.zarr --temperatures 1,fit:enet
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    from logitpipe.results.fitted import files_of, write_fitted

    refuse_to_replace(files_of(out), overwrite)
    networks = _by_network(_opened(stores, allow_incomplete), methods, temperatures, protocol_name)
    for fits in networks:
        fits[:] = [_with_classes(each, label_space, class_codes) for each in fits]
    prepare_folder(out.parent)
    every = [_fitted(fits, workers) for fits in networks]
    try:
        written = write_fitted(out, every)
    except OSError as error:
        raise PipeError(f"--out {out}: the statistics cannot be written ({error.strerror})") from error
    for fits, fitted in zip(networks, every, strict=True):
        _say(fitted, any(each.classes for each in fits))
    for path in written:
        click.echo(path)


def _opened(paths: "Sequence[Place]", allow_incomplete: bool) -> "list[Store]":
    from logitpipe.cache.reading.pinned import PinnedStore
    from logitpipe.cache.reading.store import Store, open_store

    opened = [open_store(path) for path in dict.fromkeys(paths)]
    # Pinned: a store that is rewritten during the run must end in an error, not in statistics of old and new images.
    stores: list[Store] = [PinnedStore(store.files, store.schema) for store in opened]
    for store in stores:
        if not allow_incomplete:
            store.require_complete()
        if not store.completed():
            raise IncompleteError(f"{store.path}: no image is in the store", "infer")
    return stores


def _by_network(
    stores: "Sequence[Store]", methods: str, temperatures: Sequence[float], protocol_name: str
) -> "list[list[Fit]]":
    """Return the stores of each network together, planned."""
    import json

    from logitpipe.stages.score.fitted import identity_of
    from logitpipe.stages.score.passes.fit import Fit, fitting_protocol
    from logitpipe.stages.score.plan import make_plan, method_names
    from logitpipe.stages.score.protocols import PROTOCOLS

    wanted = None if methods == "all" else method_names([name.strip() for name in methods.split(",")])
    protocol = fitting_protocol(PROTOCOLS[protocol_name])
    found: dict[str, list[Fit]] = {}
    for store in stores:
        plan = make_plan(store.schema, protocol, wanted, temperatures)
        name = json.dumps(identity_of(store.schema), sort_keys=True)
        found.setdefault(name, []).append(Fit(store, plan, store.completed()))
    return list(found.values())


def _with_classes(fit: "Fit", label_space: str, codes: str | None) -> "Fit":
    """Return a store with the classes that its masks name, if they name any of the network's."""
    from dataclasses import replace

    from logitpipe.stages.score.label_spaces import label_space as space_named
    from logitpipe.stages.score.passes.closed_set import class_table

    space, known = space_named(label_space, fit.store.schema), class_codes(codes, fit.store)
    if not known:
        schema = fit.store.schema
        note(f"{fit.store.path}: the masks of {schema.dataset} name no classes, so that no temperature is fitted")
        return fit
    return replace(fit, classes=(space, class_table(fit.store, space, known)))


def _fitted(fits: "Sequence[Fit]", workers: int) -> "Fitted":
    from logitpipe.stages.score.passes.fit import fit as fit_network
    from logitpipe.stages.score.passes.sweep import compile_kernels

    with word_if_slow("compiling the scoring kernels; their code is kept for the next run"):
        compile_kernels(fits[0].plan)
    readings = sum(len(each.images) * each.walks for each in fits)
    with Progress(f"fitting {fits[0].store.schema.network}", readings, unit="readings") as progress:
        return fit_network(fits, workers, progress.advance)


def _say(fitted: "Fitted", has_classes: bool) -> None:
    """Say what was fitted, and what a reader of later figures must know."""
    from logitpipe.stages.score.passes.fit import OCTAVES

    found, least = fitted.found, fitted.least_nll
    facts: list[Any] = [f"{found.images} images, {found.pixels:,} normal pixels"]
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
