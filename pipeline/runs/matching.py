"""A search: stores and figures in, the choices that give them out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from logitpipe.cache.errors import UsageError
from logitpipe.console.messages import COMPILING, detail, note, word_if_slow
from logitpipe.console.progress import Progress

if TYPE_CHECKING:
    from logitpipe.cache import Schema
    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.passes.match import Match
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol


TEMPERATURES: tuple[float, ...] = (0.1, 0.2, 0.25, 0.3, 0.4, 0.5, 0.6, 0.7, 0.75, 0.8, 0.9, 1.0, 1.1)
TEMPERATURES += (1.2, 1.3, 1.4, 1.5, 1.6, 1.7, 1.8, 1.9, 2.0, 3.0, 5.0, 10.0)
"""Those that people try."""


def match_stores(
    places: "Sequence[Place]",
    target: Mapping[str, float],
    methods: Sequence[str],
    temperatures: Sequence[float],
    protocols: Sequence[str],
    limit: int,
    workers: int,
) -> "list[Match]":
    """Return the choices whose figures are nearest to some, over all stores.

    Parameters
    ----------
    places : paths and URLs of the stores
    target : fractions by the name of a figure
    methods : as people type them
    protocols : names of those that are tried, each also with any one field changed; all where none is named
    limit : how many are wanted

    Raises
    ------
    PipeError
        A store is missing, incomplete or damaged, or there is no such method or protocol.
    """
    from logitpipe.cache.reading.store import open_store
    from logitpipe.stages.score.protocols import PROTOCOLS

    for name in protocols:
        if name not in PROTOCOLS:
            raise UsageError(f"{name!r} is no protocol; there are {', '.join(PROTOCOLS)}", option="protocols")
    stores = [open_store(place) for place in dict.fromkeys(places)]
    for store in stores:
        store.require_complete()
    named = [PROTOCOLS[name] for name in protocols or PROTOCOLS]
    return _match_opened(stores, target, methods, temperatures, named, limit, workers)


def _match_opened(
    stores: "Sequence[Store]",
    target: Mapping[str, float],
    methods: Sequence[str],
    temperatures: Sequence[float],
    protocols: "Sequence[Protocol]",
    limit: int,
    workers: int,
) -> "list[Match]":
    from logitpipe.stages.score.passes.match import Search, match, nearness, shortlist
    from logitpipe.stages.score.passes.spread import is_tiny
    from logitpipe.stages.score.passes.sweep import compile_kernels
    from logitpipe.stages.score.variants import variations

    found: list[Match] = []
    for store in stores:
        schema = store.schema
        tried_protocols, fine = variations(protocols, schema.dataset), is_tiny(store)
        plans = [_plan(schema, protocol, methods, temperatures, fine) for protocol in tried_protocols]
        with word_if_slow(COMPILING):
            compile_kernels(plans[0])
        with word_if_slow(f"reading the masks of {schema.dataset}"):
            search = Search(store, plans, store.completed(), workers)
        tried = sum(len(readings) for readings in search.configurations.values())
        note(f"{store.path}: {tried:,} choices of method, temperature and protocol differ")
        detail(f"{store.path}: one of {search.step**2} pixels first, in {len(search.parts)} walks")
        of = f"{schema.network} on {schema.dataset}"
        with Progress(f"matching {of}, a part of the pixels", search.coarse_readings, unit="readings") as progress:
            nearest = shortlist(search, target, limit, progress.advance)
        label, readings = f"matching {of}, the nearest {len(nearest)}", search.expected_readings(nearest)
        with Progress(label, readings, unit="readings") as progress:
            found += match(search, nearest, target, limit, progress.advance, progress.extend)
    return sorted(found, key=nearness)[:limit]


def _plan(
    schema: "Schema",
    protocol: "Protocol",
    methods: Sequence[str] | None,
    temperatures: Sequence[float],
    fine: bool,
) -> "Plan":
    """Return a plan of all pairs: at each T and, of methods that have it, at T = 1 and each T_S."""
    from dataclasses import replace

    from logitpipe.stages.score.plan import make_plan

    plan = make_plan(schema, protocol, methods, temperatures, fine=fine)
    if schema.kind == "pixel":
        return plan
    maps = make_plan(schema, protocol, methods, [1.0], map_temperatures=temperatures)
    # Not each T with each T_S: nobody prints such figures, and there would be hundreds of pairs.
    pairs = tuple(dict.fromkeys((*plan.pairs, *maps.pairs)))
    return replace(plan, pairs=pairs, temperatures=tuple(dict.fromkeys((*plan.temperatures, 1.0))))
