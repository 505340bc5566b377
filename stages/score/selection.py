"""Which of the methods that somebody asked for are computed from a store: those that it and the run can serve."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from logitpipe.cache import PipeError, Schema
from logitpipe.stages.score.methods import METHODS, Method
from logitpipe.stages.score.methods.method import InDistribution
from logitpipe.stages.score.methods.names import GROUPS, Asked, asked, is_own, parts_of
from logitpipe.stages.score.methods.own import load_own, serves
from logitpipe.stages.score.z_scores import means_of_z_scores


class Selection(NamedTuple):
    """Methods that are computed, at least one.

    Parameters
    ----------
    wanted : in the order of the registry, with their parameters
    served : every method that the store could serve, by name
    own : those of one's own, wanted or not
    """

    wanted: list[Asked]
    served: dict[str, Method]
    own: dict[str, Method]


def select(
    schema: Schema,
    methods: Sequence[str] | None,
    functions: Mapping[str, Method],
    statistics: InDistribution | None,
) -> Selection:
    """Select methods for a store; the parameters, and what is raised, are those of `plan.make_plan`."""
    named = ("core",) if methods is None else [name for name in methods if name not in functions]
    wanted = [*asked(named), *map(Asked, functions)]
    if statistics is None:
        # A group leaves out what cannot be served; a method that was named is missed.
        _refuse_without_statistics(asked([name for name in named if name.strip().casefold() not in GROUPS]), schema)
    own = {each.name: load_own(each.name) for each in wanted if is_own(each.name)} | dict(functions)
    # Left out and not refused: another store of the run may be of the kind that a function is for.
    own = {name: method for name, method in own.items() if serves(method, schema.kind)}
    every = METHODS[schema.kind] | own
    served = {name: method for name, method in every.items() if _is_served(method, schema, statistics)}
    served |= means_of_z_scores((each.name for each in wanted), served)
    # Not in the order that was typed: tables of two runs stand in one order.
    found = [each for name in served for each in wanted if each.name == name]
    if not found:
        raise PipeError(
            f"none of {', '.join(each.name for each in wanted)} can be computed from the {schema.kind} store of "
            f"{schema.network} on {schema.dataset}; there are {', '.join(served)}",
            option="methods",
        )
    return Selection(found, served, own)


def _refuse_without_statistics(wanted: Sequence[Asked], schema: Schema) -> None:
    for each in wanted:
        method = METHODS[schema.kind].get(each.name)
        if parts_of(each.name) or (method is not None and method.needs == "statistics"):
            raise PipeError(
                f"{each.name} compares scores with what they are where nothing is anomalous, and no statistics of "
                f"{schema.network} were given",
                "give-statistics",
            )


def _is_served(method: Method, schema: Schema, statistics: InDistribution | None) -> bool:
    lacks_void = method.needs == "void" and schema.kind == "pixel" and schema.unknown_class is None
    return not lacks_void and not (method.needs == "statistics" and statistics is None)
