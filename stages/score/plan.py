"""What a run over a store computes: its pairs of method and temperature, and where each is counted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cached_property
from types import MappingProxyType

import numpy as np

from logitpipe.cache import PipeError, Schema, UsageError
from logitpipe.stages.score.kernels.counting import Bins
from logitpipe.stages.score.methods import METHOD_NAMES, METHODS, Method
from logitpipe.stages.score.methods.own import is_own, load_own, serves
from logitpipe.stages.score.methods.scales import PROBABILITY_LEFT
from logitpipe.stages.score.methods.scripted import scripted
from logitpipe.stages.score.protocols import Protocol

UNIT_BINS = Bins(14, negative=(-126, -125), positive=(-126, 1))
"""Bins of scores that a protocol scales to 0..1; at low temperatures these reach the smallest normal float32."""

TIED_BELOW = 2.0 ** (UNIT_BINS.mantissa_bits - 23)
"""Below it, numbers 2**-24 apart lie in different bins of UNIT_BINS."""


@dataclass(frozen=True)
class Pair:
    """A method at a temperature; None where temperature changes nothing."""

    method: str
    temperature: float | None


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
    """

    schema: Schema
    protocol: Protocol
    temperatures: tuple[float, ...]
    pairs: tuple[Pair, ...]
    thresholds: tuple[float, ...] = ()
    own: tuple[tuple[str, Method], ...] = ()

    def __getstate__(self) -> dict[str, object]:
        """Pickle the fields alone: what follows from them is made of lambdas, and is compared by identity."""
        return {each.name: getattr(self, each.name) for each in fields(self)}

    @cached_property
    def methods(self) -> dict[str, Method]:
        """The methods of the store's kind, and those of one's own."""
        protocol, replaced = self.protocol, dict[str, Method]()
        if self.schema.kind == "mask" and (protocol.drop_last_class or protocol.sum_epsilon):
            replaced = scripted(protocol.normalise_first, protocol.sum_epsilon, protocol.drop_last_class)
        return METHODS[self.schema.kind] | replaced | dict(self.own)

    @property
    def in_distribution(self) -> list[int]:
        """Channels that stand for known classes; a protocol may add the void channel of a pixel store."""
        return [c for c in range(len(self.schema.classes)) if c != self.schema.unknown_class]

    def classes(self, method: str) -> int:
        """Return the number of classes that a method's formula runs over."""
        with_void = self.schema.kind == "pixel" and self.protocol.void_channel and method != "void"
        return len(self.schema.classes) if with_void else len(self.in_distribution)

    def min_max(self, method: str) -> bool:
        """Return whether the protocol brings a method's scores to 0..1 in each image."""
        return method in self.protocol.min_max

    def float32_ties(self, method: str) -> bool:
        """Return whether the protocol has a method's scores, 1 - max p, as float32 rounds them."""
        return self.protocol.ties == "float32" and self.methods[method].scale is PROBABILITY_LEFT

    def pools_scores(self, method: str) -> bool:
        """Return whether a method's scores are pooled as they are, from 0 to 1; those of others are as ranks."""
        return self.min_max(method) or self.float32_ties(method)

    def bins(self, pair: Pair) -> Bins:
        """Return the bins that a pair is counted in."""
        return UNIT_BINS if self.pools_scores(pair.method) else self.methods[pair.method].scale.bins

    def single_valued(self, pair: Pair, edges: np.ndarray) -> np.ndarray:
        """Return which bins, by their lower edges, cannot hold two different scores."""
        method = pair.method
        # 1 - p in float32 is a multiple of 2**-24, and so far below 1 bins are no wider.
        return edges < TIED_BELOW if self.float32_ties(method) and not self.min_max(method) else edges != edges

    def rank(self, pair: Pair, scores: np.ndarray) -> np.ndarray:
        """Return formula values as ranks, float32."""
        T, K = pair.temperature or 1.0, self.classes(pair.method)
        return self.methods[pair.method].scale.rank(scores, T, K).astype(np.float32)

    def formula(self, pair: Pair, ranks: np.ndarray) -> np.ndarray:
        """Return ranks as formula values, float64."""
        return self.methods[pair.method].scale.formula(ranks, pair.temperature or 1.0, self.classes(pair.method))

    @cached_property
    def threshold_ranks(self) -> np.ndarray:
        """The thresholds as each pair's scores are counted: float32 (pairs, thresholds), ranks or shares of 0..1."""
        values = np.array(self.thresholds, np.float64)
        as_counted = [values if self.pools_scores(pair.method) else self.rank(pair, values) for pair in self.pairs]
        return np.array(as_counted, np.float32).reshape(len(self.pairs), -1)


def method_names(names: Sequence[str]) -> list[str]:
    """Return names of methods as they are; UsageError for one that no kind of network has and no file either."""
    for name in names:
        if name not in METHOD_NAMES and not is_own(name):
            raise UsageError(f"{name!r} is no method; there are {', '.join(METHOD_NAMES)}", option="methods")
    return list(names)


def make_plan(
    schema: Schema,
    protocol: Protocol,
    methods: Sequence[str] | None,
    temperatures: Sequence[float],
    thresholds: Sequence[float] = (),
    functions: Mapping[str, Method] = MappingProxyType({}),
) -> Plan:
    """Plan a run over one store.

    Parameters
    ----------
    methods : names, FILE.py:FUNCTION for one's own, or None for all that are built in; what this kind of network has
        not is left out
    temperatures : positive
    functions : methods of one's own, of `own_method`, by the names that they have in `methods`

    Raises
    ------
    PipeError
        The store can serve none of the methods.
    """
    known = [name for c, name in enumerate(schema.classes) if c != schema.unknown_class]
    if len(known) < 2:
        raise PipeError(
            f"the {schema.kind} store of {schema.network} on {schema.dataset} has too few classes to score: "
            f"at least 2 beside void are expected, found {len(known)}"
        )
    own = {name: load_own(name) for name in dict.fromkeys(methods or ()) if is_own(name)} | dict(functions)
    own = {name: method for name, method in own.items() if serves(method, schema.kind)}
    served = [name for name in METHODS[schema.kind] if _served(name, schema)]
    pairs = [
        Pair(name, T)
        for name, method in (METHODS[schema.kind] | own).items()
        if (name in served or name in own) and (methods is None or name in methods)
        for T in (temperatures if method.temperature else [None])
    ]
    if not pairs:
        raise PipeError(
            f"none of {', '.join(methods or ())} can be computed from the {schema.kind} store of "
            f"{schema.network} on {schema.dataset}; there are {', '.join(served)}",
            option="methods",
        )
    # A temperature that was given twice must not be counted twice.
    unique = tuple(dict.fromkeys(pairs))
    return Plan(schema, protocol, tuple(dict.fromkeys(temperatures)), unique, tuple(thresholds), tuple(own.items()))


def _served(method: str, schema: Schema) -> bool:
    return not (schema.kind == "pixel" and method == "void" and schema.unknown_class is None)


def split(plan: Plan, parts: int) -> list[list[int]]:
    """Divide the pairs by temperature into so many parts, or fewer; no part repeats the exponentials of another."""
    temperatures = list(dict.fromkeys(pair.temperature for pair in plan.pairs))
    groups = [set(temperatures[i::parts]) for i in range(min(parts, len(temperatures)))]
    return [[i for i, pair in enumerate(plan.pairs) if pair.temperature in group] for group in groups]
