"""Before a run of scores: every store opened and planned, so that what is wrong with any is said first."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

from logitpipe.cache.errors import IncompleteError, UsageError
from logitpipe.console.messages import note, word_if_slow
from logitpipe.runs.fitting import numbers, statistics_of

if TYPE_CHECKING:
    from pathlib import Path

    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.methods import Method
    from logitpipe.stages.score.plan import Plan
    from logitpipe.stages.score.protocols import Protocol


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
