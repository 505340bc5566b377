"""What was found of a network where nothing is anomalous, for the methods that need it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from logitpipe.cache import PipeError, Schema
from logitpipe.stages.score.plan import Pair
from logitpipe.stages.score.protocols import Protocol
from logitpipe.stages.score.statistics.in_distribution import Found


@dataclass(frozen=True)
class Source:
    """A store that statistics came from.

    Parameters
    ----------
    store : its path or URL
    fingerprint : of the store
    dataset : its name
    images, pixels : how many were counted
    left_out : images that were not, as they show an anomaly
    """

    store: str
    fingerprint: str
    dataset: str
    images: int
    pixels: int
    left_out: int


@dataclass(frozen=True)
class LeastNll:
    """The temperature of least negative log-likelihood: of the class logits, or of the map S of a mask network.

    Parameters
    ----------
    temperature : to four digits
    nll, nll_at_1 : in nats per pixel, at this temperature and at 1
    pixels : how many have a class
    """

    temperature: float
    nll: float
    nll_at_1: float
    pixels: int


@dataclass(frozen=True)
class Fitted:
    """Statistics of one network, from stores of images without anomalies.

    Parameters
    ----------
    identity : of the network, see `identity_of`
    protocol : the document of the protocol that the pixels were scored under
    sources : the stores
    found : the statistics
    least_nll : None where the masks name no classes of the network
    sha256 : digest of the file that they were read from; empty where they come from none
    """

    identity: dict[str, Any]
    protocol: dict[str, Any]
    sources: tuple[Source, ...]
    found: Found
    least_nll: LeastNll | None
    sha256: str = ""

    def posteriors(self, T: float) -> np.ndarray:
        """Return the mean posteriors of the classes that occur: float64 (classes that occur, K).

        Raises
        ------
        PipeError
            None were fitted at this temperature.
        """
        # Kernels have temperatures as float32.
        near = [each for each in self.found.posteriors if np.float32(each) == np.float32(T)]
        if not near:
            there = [f"T = {each:g}" for each in self.found.posteriors]
            raise _lacking(f"mean posteriors at T = {T:g}, which kl needs", there)
        # A class that is predicted nowhere has no mean; as NaN it would spoil every minimum over the classes.
        means = self.found.posteriors[near[0]]
        return means[~np.isnan(means[:, 0])]

    def score(self, pair: Pair) -> tuple[float, float]:
        """Return mean and deviation of a pair's scores; PipeError where none were fitted."""
        if pair not in self.found.scores:
            near = [each for each in self.found.scores if (each.method, each.parameters) == _kind_of(pair)]
            there = [_words(each) for each in near] or list(dict.fromkeys(each.method for each in self.found.scores))
            raise _lacking(f"scores of {_words(pair)}", there)
        return self.found.scores[pair]

    def require_protocol(self, protocol: Protocol) -> None:
        """Raise a PipeError where scores have other formulas under a protocol than under that of the statistics."""
        for name in FORMULA_FIELDS:
            mine, theirs = self.protocol.get(name), getattr(protocol, name)
            if mine != theirs:
                raise PipeError(
                    f"the statistics are of scores with {name.replace('_', '-')} {mine}, and the protocol "
                    f"{protocol.name} has {theirs}",
                    "fit-protocol",
                )

    @cached_property
    def largest(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and deviation of the largest logit by predicted class: float64 (K,).

        A class without statistics (fewer than two pixels, or all alike) takes those of all pixels.
        """
        # "Not greater" and not "at most": a comparison with NaN is false, and NaN is meant too.
        without = ~(self.found.variance > 0)
        mean, variance = self.found.pooled
        means, variances = np.where(without, mean, self.found.mean), np.where(without, variance, self.found.variance)
        return means, np.sqrt(variances)

    def require_network(self, schema: Schema) -> None:
        """Raise a PipeError where a store is of another network, or of other weights."""
        mine, theirs = self.identity, identity_of(schema)
        for name, expected in theirs.items():
            if mine[name] != expected:
                raise PipeError(
                    f"the statistics are those of {mine['network']} with other {_DIFFERENT[name]} than the store of "
                    f"{schema.network} on {schema.dataset} has",
                    "fit",
                )


FORMULA_FIELDS = ("void_channel", "normalise_first", "sum_epsilon", "drop_last_class")
"""Fields of a protocol that change the formula of a score, and not where it is taken."""

_DIFFERENT = {
    "network": "layers",
    "kind": "outputs",
    "classes": "classes",
    "facts": "architecture",
    "weights_sha256": "weights",
}
"""Field of an identity -> what differs, in words."""


def _lacking(what: str, there: Sequence[str]) -> PipeError:
    return PipeError(f"the statistics have no {what}; there are {', '.join(there) or 'none'}", "fit-temperature")


def _kind_of(pair: Pair) -> tuple[str, str]:
    return pair.method, pair.parameters


def _words(pair: Pair) -> str:
    return pair.label if pair.temperature is None else f"{pair.label} at T = {pair.temperature:g}"


def identity_of(schema: Schema) -> dict[str, Any]:
    """Return what makes a network: its name and architecture, its classes, the digest of its weights.

    Not the size of its input, its precision or its data set: statistics are carried from one to the other.
    """
    attributes = schema.attributes()
    facts = {name: value for name, value in attributes["facts"].items() if name != "amp"}
    return {name: attributes[name] for name in ("network", "kind", "classes", "weights_sha256")} | {"facts": facts}


def of_store(every: Sequence[Fitted], schema: Schema) -> Fitted:
    """Return the statistics of the network of a store; PipeError where none of them are."""
    identity = identity_of(schema)
    for fitted in every:
        if fitted.identity == identity:
            return fitted
    # Those of the network of the same name tell best what is wrong.
    nearest = [fitted for fitted in every if fitted.identity["network"] == schema.network]
    (nearest or list(every))[0].require_network(schema)
    raise AssertionError("identities that differ differ in a field")
