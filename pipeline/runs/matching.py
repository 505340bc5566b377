"""A search: stores and figures in, the choices that give them out."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from logitpipe.console.messages import detail, note, word_if_slow
from logitpipe.console.progress import Progress

if TYPE_CHECKING:
    from logitpipe.cache import Schema
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.passes.match import Match
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol


def match_stores(
    stores: "Sequence[Store]",
    target: Mapping[str, float],
    methods: Sequence[str] | None,
    temperatures: Sequence[float],
    protocols: "Sequence[Protocol]",
    limit: int,
    workers: int,
) -> "list[Match]":
    """Return the choices whose figures are nearest to some, over all stores.

    Parameters
    ----------
    stores : complete ones
    target : fractions by the name of a figure
    methods : names; None for all that are built in
    protocols : those that are tried, and with any one field changed
    limit : how many are wanted
    """
    from logitpipe.stages.score.passes.match import Search, match, nearness, variations
    from logitpipe.stages.score.passes.spread import is_tiny
    from logitpipe.stages.score.passes.sweep import compile_kernels

    found: list[Match] = []
    for store in stores:
        schema = store.schema
        tried_protocols, fine = variations(protocols, schema.dataset), is_tiny(store)
        plans = [_plan(schema, protocol, methods, temperatures, fine) for protocol in tried_protocols]
        with word_if_slow("compiling the scoring kernels; their code is kept for the next run"):
            compile_kernels(plans[0])
        with word_if_slow(f"reading the masks of {schema.dataset}"):
            search = Search(store, plans, store.completed(), workers)
        tried = sum(len(readings) for readings in search.choices.values())
        note(f"{store.path}: {tried:,} choices of method, temperature and protocol differ")
        detail(f"{store.path}: one of {search.step**2} pixels first, in {len(search.parts)} walks")
        with Progress(f"matching {schema.network} on {schema.dataset}", 0, unit="readings") as progress:
            found += match(search, target, limit, progress.advance, progress.extend)
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
