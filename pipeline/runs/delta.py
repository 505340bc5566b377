"""A run that scores stores under one choice of a protocol after another."""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, NamedTuple

from logitpipe.console.messages import COMPILING, word_if_slow
from logitpipe.console.progress import Progress
from logitpipe.runs.planning import count_missing, plan_stores

if TYPE_CHECKING:
    from logitpipe.cache.files.places import Place
    from logitpipe.cache.reading.store import Store
    from logitpipe.stages.score.figures.rows import Row
    from logitpipe.stages.score.plan import Plan


class Changed(NamedTuple):
    """The rows of one choice, one for each method, in the order of all others of its store."""

    choice: str
    rows: "list[Row]"


def score_all_choices(
    places: "Sequence[Place]", methods: Sequence[str], temperature: float, workers: int
) -> list[list[Changed]]:
    """Return the rows of every choice for each store, stores of one network together (`score_choices`)."""
    from logitpipe.stages.score.protocols import PROTOCOLS

    plans = plan_stores(places, methods, (temperature,), PROTOCOLS["standard"], (), ())
    count_missing(plans, allow_incomplete=False)
    return [score_choices(group, workers) for group in same_network(plans)]


def score_choices(group: "Sequence[tuple[Store, Plan]]", workers: int) -> list[Changed]:
    """Score a store under every choice, and others of the same network in another precision under `standard`.

    Parameters
    ----------
    group : of `same_network`, each with its plan under `standard`

    Returns
    -------
    the rows of `standard` first
    """
    from logitpipe.stages.score.passes.sweep import compile_kernels, sweep
    from logitpipe.stages.score.variants import single_changes

    (store, plan), *others = group
    # Minimum and maximum are tried on those that are scored: `min-max` has to name them.
    methods = list(dict.fromkeys(pair.method for pair in plan.pairs))
    runs = [
        (each.name, store, replace(plan, protocol=each.protocol)) for each in single_changes(store.schema, methods)
    ]
    runs += [(f"precision {other.schema.precision}", other, its_plan) for other, its_plan in others]
    images = sum(len(each.completed()) for _, each, _ in runs)
    found = []
    with word_if_slow(COMPILING):
        compile_kernels(plan)
    with Progress(f"scoring {store.schema.network} on {store.schema.dataset}", images) as progress:
        for name, each, its_plan in runs:
            scored = sweep(
                each,
                its_plan,
                each.completed(),
                workers,
                progress.advance,
                resolve="summary",
                extend=progress.extend,
            )
            found.append(Changed(name, [one.row for one in scored]))
    return found


def same_network(plans: "Sequence[tuple[Store, Plan]]") -> "list[list[tuple[Store, Plan]]]":
    """Group stores of the same network, weights, data set and input size; float32 stores come first in a group."""
    groups: dict[tuple[object, ...], list[tuple[Store, Plan]]] = {}
    for store, plan in plans:
        schema = store.schema
        key = schema.network, schema.weights_sha256, schema.dataset, schema.input_size
        groups.setdefault(key, []).append((store, plan))
    # The first of a group is what others are compared with, and float32 is the more exact of the two.
    return [sorted(group, key=lambda each: each[0].schema.precision != "float32") for group in groups.values()]
