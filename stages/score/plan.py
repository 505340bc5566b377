"""What a run over a store computes: its pairs of method and temperature, and where each is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import product
from types import MappingProxyType
from typing import Any

import numpy as np

from logitpipe.cache import PipeError, Schema, UsageError
from logitpipe.stages.score.kernels.counting.bins import Bins
from logitpipe.stages.score.methods import METHODS, Method
from logitpipe.stages.score.methods.fine import FINE_METHODS
from logitpipe.stages.score.methods.method import TEMPERATURES, InDistribution
from logitpipe.stages.score.methods.names import parse, parts_of
from logitpipe.stages.score.methods.scales import PROBABILITY_LEFT, Scale
from logitpipe.stages.score.methods.scripted import scripted
from logitpipe.stages.score.protocols import Protocol
from logitpipe.stages.score.selection import select
from logitpipe.stages.score.z_scores import means_of_z_scores, rank_of_z, require_moments, z_of_rank

UNIT_BINS = Bins(14, negative=(-126, -125), positive=(-126, 1))
"""Bins of scores that a protocol scales to 0..1; at low temperatures these reach the smallest normal float32."""

TIED_BELOW = 2.0 ** (UNIT_BINS.mantissa_bits - 23)
"""Below it, numbers 2**-24 apart lie in different bins of UNIT_BINS."""


@dataclass(frozen=True)
class Pair:
    """A method at its temperatures; None where one changes nothing.

    Parameters
    ----------
    method : its id
    temperature : T, of the class logits
    parameters : those of the method that differ from their defaults, as `gamma=0.2,top=5`
    map_temperature : T_S, of the class map S of a mask network
    mask_temperature : T_m, of the mask logits
    """

    method: str
    temperature: float | None
    parameters: str = ""
    map_temperature: float | None = None
    mask_temperature: float | None = None

    @property
    def shared(self) -> tuple[float | None, float | None]:
        """T and T_m: pairs that have both in common share exponentials and masks."""
        return self.temperature, self.mask_temperature

    @property
    def temperatures(self) -> tuple[float | None, float | None, float | None]:
        """All three, None where one changes nothing."""
        return self.temperature, self.map_temperature, self.mask_temperature

    @property
    def label(self) -> str:
        """The method with its parameters and, where they are not 1, with T_S and T_m."""
        parameters = f":{self.parameters}" if self.parameters else ""
        others = {"T_S": self.map_temperature, "T_m": self.mask_temperature}
        named = "".join(f", {name} = {value:g}" for name, value in others.items() if value not in (None, 1))
        return f"{self.method}{parameters}{named}"


@dataclass(frozen=True)
class Plan:
    """The pairs to count for one store under one protocol.

    Parameters
    ----------
    schema : of the store
    protocol : how it is scored
    temperatures : all of them, in order
    pairs : methods at temperatures; a method without temperature appears once
    thresholds : in the unit that scores are pooled in: of each method's formula, or 0..1 where the protocol brings
        them there
    own : methods of one's own by name, beside those of the store's kind
    statistics : of in-distribution data, for the methods that need them
    fine : whether the logits of a pixel network are of tiny spread (see `methods.fine`)
    """

    schema: Schema
    protocol: Protocol
    temperatures: tuple[float, ...]
    pairs: tuple[Pair, ...]
    thresholds: tuple[float, ...] = ()
    own: tuple[tuple[str, Method], ...] = ()
    statistics: InDistribution | None = None
    fine: bool = False

    def __getstate__(self) -> dict[str, object]:
        """Pickle the fields alone: what follows from them is made of lambdas, and is compared by identity."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods of the store's kind, and those of one's own."""
        protocol, replaced = self.protocol, dict[str, Method]()
        if self.schema.kind == "mask" and (protocol.drop_last_class or protocol.sum_epsilon):
            # Under the names of those built in: a protocol changes how they are computed, not what a table calls
            # them.
            replaced = scripted(protocol.normalise_first, protocol.sum_epsilon, protocol.drop_last_class)
        fine = FINE_METHODS if self.fine else {}
        # What stands later takes the place of what has the same name.
        found = METHODS[self.schema.kind] | fine | replaced | dict(self.own)
        return found | means_of_z_scores((pair.method for pair in self.pairs), found)

    def parts(self, pair: Pair) -> tuple[Pair, ...]:
        """Return the pairs whose z-scores a pair is the mean of; nothing for most."""
        found = []
        for name, parameters in parts_of(pair.method):
            has = self.methods[name].temperatures
            T, T_S, T_m = (
                T if each in has else None for each, T in zip(TEMPERATURES, pair.temperatures, strict=True)
            )
            found.append(Pair(name, T, parameters, T_S, T_m))
        return tuple(found)

    def digest(self, pair: Pair) -> str:
        """Return the SHA-256 of the file of statistics that a pair's method uses; nothing where it uses none."""
        uses = self.methods[pair.method].needs == "statistics"
        return self.statistics.sha256 if uses and self.statistics is not None else ""

    def require_statistics(self) -> None:
        """Raise a PipeError where a pair needs statistics that were not fitted: before anything is scored."""
        for pair in self.pairs:
            if pair.method == "kl" and self.statistics is not None:
                self.statistics.posteriors(pair.temperature or 1.0)
            if parts := self.parts(pair):
                require_moments(self, parts)

    def parameters(self, pair: Pair) -> dict[str, Any]:
        """Return what a pair's method is given by name: its parameters and, if it needs them, the statistics."""
        needed = {"statistics": self.statistics} if self.methods[pair.method].needs == "statistics" else {}
        return parse(pair.method, pair.parameters) | needed

    def scale(self, pair: Pair) -> Scale:
        """Return how a pair's scores become ranks and are counted."""
        method = self.methods[pair.method]
        return method.scaled(**parse(pair.method, pair.parameters)) if method.scaled else method.scale

    @property
    def in_distribution(self) -> list[int]:
        """Channels that stand for known classes; a protocol may add the void channel of a pixel store."""
        return [c for c in range(len(self.schema.classes)) if c != self.schema.unknown_class]

    def classes(self, method: str) -> int:
        """Return the number of classes that a method's formula runs over."""
        # Statistics are of the known classes, whatever a protocol adds to them.
        known_alone = self.methods[method].needs in ("void", "statistics")
        with_void = self.schema.kind == "pixel" and self.protocol.void_channel and not known_alone
        return len(self.schema.classes) if with_void else len(self.in_distribution)

    def min_max(self, method: str) -> bool:
        """Return whether the protocol brings a method's scores to 0..1 in each image."""
        return method in self.protocol.min_max

    def float32_ties(self, method: str) -> bool:
        """Return whether the protocol has a method's scores, 1 - max p, as float32 rounds them."""
        return self.protocol.ties == "float32" and self.methods[method].scale.rank is PROBABILITY_LEFT.rank

    def pools_scores(self, method: str) -> bool:
        """Return whether a method's scores are pooled as they are, from 0 to 1; those of others are as ranks."""
        return self.min_max(method) or self.float32_ties(method)

    def bins(self, pair: Pair) -> Bins:
        """Return the bins that a pair is counted in."""
        return UNIT_BINS if self.pools_scores(pair.method) else self.scale(pair).bins

    def single_valued(self, pair: Pair, edges: np.ndarray) -> np.ndarray:
        """Return which bins, by their lower edges, cannot hold two different scores."""
        method = pair.method
        # 1 - p in float32 is a multiple of 2**-24, and so far below 1 bins are no wider.
        return edges < TIED_BELOW if self.float32_ties(method) and not self.min_max(method) else edges != edges

    def rank(self, pair: Pair, scores: np.ndarray) -> np.ndarray:
        """Return formula values as ranks, float32."""
        if parts := self.parts(pair):
            return rank_of_z(self, parts, np.asarray(scores, np.float64)).astype(np.float32)
        return self.scale(pair).rank(scores, *self.last_step(pair)).astype(np.float32)

    def formula(self, pair: Pair, ranks: np.ndarray) -> np.ndarray:
        """Return ranks as formula values, float64."""
        if parts := self.parts(pair):
            return z_of_rank(self, parts, np.asarray(ranks, np.float64))
        return self.scale(pair).formula(ranks, *self.last_step(pair))

    def last_step(self, pair: Pair) -> tuple[float, int]:
        """Return the temperature and the number of classes of the last step of a formula."""
        T = pair.temperature if pair.map_temperature is None else pair.map_temperature
        return T or 1.0, self.classes(pair.method)

    @cached_property
    def threshold_ranks(self) -> np.ndarray:
        """The thresholds as each pair's scores are counted: float32 (pairs, thresholds), ranks or shares of 0..1."""
        values = np.array(self.thresholds, np.float64)
        as_counted = [values if self.pools_scores(pair.method) else self.rank(pair, values) for pair in self.pairs]
        return np.array(as_counted, np.float32).reshape(len(self.pairs), -1)


def make_plan(
    schema: Schema,
    protocol: Protocol,
    methods: Sequence[str] | None,
    temperatures: Sequence[float],
    thresholds: Sequence[float] = (),
    functions: Mapping[str, Method] = MappingProxyType({}),
    *,
    map_temperatures: Sequence[float] = (1.0,),
    mask_temperatures: Sequence[float] = (1.0,),
    statistics: InDistribution | None = None,
    fine: bool = False,
) -> Plan:
    """Plan a run over one store.

    Parameters
    ----------
    methods : as people type them (see `methods.names`), FILE.py:FUNCTION for one's own, or None for the core; what
        this kind of network, this store or this run has not is left out
    functions : methods of one's own by name, of `own_method`, beside those that `methods` names
    temperatures, map_temperatures, mask_temperatures : T, T_S and T_m, positive; each method is computed at those
        that it has
    statistics : of in-distribution data, for the methods that need them
    fine : whether the logits of a pixel network are of tiny spread (see `spread.tiny_spread`)

    Raises
    ------
    UsageError
        There is no such method.
    PipeError
        The store can serve none of the methods.
    """
    known = [name for c, name in enumerate(schema.classes) if c != schema.unknown_class]
    if len(known) < 2:
        raise PipeError(
            f"the {schema.kind} store of {schema.network} on {schema.dataset} has too few classes to score: "
            f"at least 2 beside void are expected, found {len(known)}"
        )
    chosen = select(schema, methods, functions, statistics)
    given = {"T": temperatures, "T_S": map_temperatures, "T_m": mask_temperatures}
    pairs = [
        Pair(each.name, T, each.parameters, T_S, T_m)
        for each in chosen.wanted
        for T_m, T_S, T in product(*(_temperatures(chosen.served[each.name], which, given) for which in _OUTER_FIRST))
    ]
    if not pairs:
        raise UsageError("at least one temperature is expected", option="temperatures")
    # A temperature that was given twice must not be counted twice.
    unique = tuple(dict.fromkeys(pairs))
    plan = Plan(
        schema,
        protocol,
        tuple(dict.fromkeys(temperatures)),
        unique,
        tuple(thresholds),
        tuple(chosen.own.items()),
        statistics,
        fine,
    )
    plan.require_statistics()
    return plan


def with_pairs(plan: Plan, pairs: Sequence[Pair]) -> Plan:
    """Return a plan of other pairs of the methods that it knows."""
    found = dict.fromkeys(pair.temperature for pair in pairs if pair.temperature is not None)
    return replace(plan, pairs=tuple(pairs), temperatures=tuple(found) or (1.0,))


_OUTER_FIRST = ("T_m", "T_S", "T")
"""Pairs of a method run through T fastest."""


def _temperatures(method: Method, which: str, given: Mapping[str, Sequence[float]]) -> Sequence[float | None]:
    return given[which] if which in method.temperatures else [None]


def split(plan: Plan, parts: int) -> list[list[int]]:
    """Divide the pairs by temperature into so many parts, or fewer; methods of one temperature share their sums."""
    temperatures = list(dict.fromkeys(pair.shared for pair in plan.pairs))
    # Dealt out like cards: no part has more than one temperature more than another.
    groups = [set(temperatures[i::parts]) for i in range(min(parts, len(temperatures)))]
    return [[i for i, pair in enumerate(plan.pairs) if pair.shared in group] for group in groups]
