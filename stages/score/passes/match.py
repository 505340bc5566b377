"""Which method, temperature and protocol gives some figures: all of them are tried.

Two rounds. In the first one every configuration is computed on a part of the pixels, a regular grid; the nearest go
on to the second, on all pixels. Configurations that change no score and no label share a walk: their figures are read
off the same counts.
"""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from functools import cached_property
from itertools import groupby

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.score.figures.rows import DECIMALS, Row, printed
from logitpipe.stages.score.labels.ground_truth import GridTruth, GroundTruth
from logitpipe.stages.score.passes.sweep import all_fit, sweep, walks
from logitpipe.stages.score.passes.walk import walk
from logitpipe.stages.score.picture import sigmoid_at
from logitpipe.stages.score.plan import Pair, Plan
from logitpipe.stages.score.protocols import PROTOCOLS, Protocol
from logitpipe.stages.score.statistics.histograms import Histograms, make_rows
from logitpipe.stages.streams import in_parallel

PIXELS = 1_000_000
"""Most pixels of all images together that the first round looks at."""

SHORTLIST = 48
"""Configurations that are computed on all pixels."""

LABEL_FIELDS = ("label_codes", "void_as_anomaly_on", "skip_without_anomaly", "pixel_size", "thin_above")
"""Fields of a protocol of which nothing but labels and evaluation size depends."""

READING_FIELDS = ("fpr", "auprc", "pooling")
"""Fields that say how figures are read off counts."""

METHOD_FIELDS = (
    "void_channel",
    "min_max",
    "ties",
    "normalise_first",
    "sum_epsilon",
    "drop_last_class",
    "sigmoid_at",
)
"""Fields that concern some methods, or one kind of network, only: `_score_key` says which."""


@dataclass(frozen=True, eq=False)
class Configuration:
    """A way to compute figures: a pair of a plan under the plan's protocol."""

    plan: Plan
    pair: Pair

    @property
    def protocol(self) -> Protocol:
        """The protocol."""
        return self.plan.protocol


@dataclass(frozen=True)
class Match:
    """A configuration, and its figures over all pixels.

    Parameters
    ----------
    configuration : the one with the fewest changes to a named protocol
    row : its figures
    distance : how far they are from those that were asked for, in per cent
    alike : names of the protocols under which the same figures are printed
    """

    configuration: Configuration
    row: Row
    distance: float
    alike: tuple[str, ...] = ()


def distance(row: Row, target: Mapping[str, float]) -> float:
    """Return the root of the sum of squared differences, in per cent; infinite where there are no figures."""
    found = [getattr(row, name) for name in target]
    if any(figure is None for figure in found):
        return float("inf")
    gaps = [100 * (figure - wanted) for figure, wanted in zip(found, target.values(), strict=True)]
    return float(np.sqrt(np.square(gaps).sum()))


class Search:
    """All distinct configurations of some plans, and the walks that they need.

    Parameters
    ----------
    store : whose figures are looked for
    plans : of the same store under different protocols, the simplest first
    images : indices, all of them committed
    workers : threads
    """

    def __init__(self, store: Store, plans: Sequence[Plan], images: Sequence[int], workers: int) -> None:
        self.store, self.images, self.workers = store, images, workers
        self.pixels, self._digests = 0, dict[tuple[object, ...], str]()
        # Key of scores and labels -> the readings that are looked for, each in the first plan that has it.
        self.configurations: dict[tuple[object, ...], dict[object, Configuration]] = {}
        for plan in plans:
            for pair in plan.pairs:
                readings = self.configurations.setdefault(self._key(plan, pair), {})
                readings.setdefault(plan.protocol.reading, Configuration(plan, pair))

    @property
    def step(self) -> int:
        """The step of the first round's grid, odd; 1 where all pixels are few enough."""
        step = 1
        while self.pixels > PIXELS * step**2:
            step += 2
        return step

    @cached_property
    def parts(self) -> list[tuple[Plan, list[dict[object, Configuration]]]]:
        """What one walk counts: a plan, and the configurations that are read off the counts of each of its pairs."""
        owners: dict[int, list[tuple[Configuration, dict[object, Configuration]]]] = {}
        for readings in self.configurations.values():
            first = next(iter(readings.values()))
            owners.setdefault(id(first.plan), []).append((first, readings))
        found = []
        for owned in owners.values():
            of_pair = {first.pair: readings for first, readings in owned}
            plan = replace(owned[0][0].plan, pairs=tuple(of_pair))
            found += [(part, [of_pair[pair] for pair in part.pairs]) for part in walks(plan)]
        return found

    @property
    def coarse_readings(self) -> int:
        """How many images `coarse` reads."""
        return len(self.parts) * len(self.images)

    def coarse(self, advance: Callable[[], None]) -> Iterator[tuple[Configuration, Row]]:
        """Yield all configurations, with figures on the grid; `advance` is called for each image of each part."""
        for plan, configurations in self.parts:
            truth = GridTruth(GroundTruth(self.store, plan.protocol, self.images), self.step)
            tally = walk(truth, self.images, Histograms(self.store, plan, self.workers), self.workers, advance)
            for reading in dict.fromkeys(reading for of_pair in configurations for reading in of_pair):
                pairs = [i for i, of_pair in enumerate(configurations) if reading in of_pair]
                under = configurations[pairs[0]][reading].protocol
                rows = make_rows(self.store, replace(plan, protocol=under), tally, self.workers)
                yield from ((configurations[i][reading], rows[i]) for i in pairs)

    def expected_readings(self, configurations: Sequence[Configuration]) -> int:
        """Return how many images `exact` is going to read, as far as that can be known beforehand."""
        return sum(map(self._readings, _by_protocol(configurations)))

    def exact(
        self, configurations: Sequence[Configuration], advance: Callable[[], None], extend: Callable[[int], None]
    ) -> list[Row]:
        """Return the figures of some configurations over all pixels, their digits certain.

        Parameters
        ----------
        advance : called once for each image that is read, and for each that was expected to be
        extend : called with the number of images that are read beyond `expected_readings`
        """
        found: dict[Configuration, Row] = {}
        for plan, together in _by_protocol(configurations):
            left = self._readings((plan, together))

            def read() -> None:
                """Tell of an image that was read, and first of the reading where it was not expected."""
                nonlocal left
                if left:
                    left -= 1
                else:
                    extend(1)
                advance()

            scored = sweep(self.store, plan, self.images, self.workers, read, resolve="all")
            for _ in range(left):
                advance()
            found |= dict(zip(together, (each.row for each in scored), strict=True))
        return [found[configuration] for configuration in configurations]

    def _readings(self, group: tuple[Plan, Sequence[Configuration]]) -> int:
        """Return about how often images are read for configurations of one protocol."""
        plan, _ = group
        return (len(walks(plan)) + (0 if all_fit(self.store, plan, len(self.images)) else 2)) * len(self.images)

    def _key(self, plan: Plan, pair: Pair) -> tuple[object, ...]:
        """Return what the scores and labels of a configuration depend on; equal keys mean equal counts."""
        protocol, known = plan.protocol, {"name", *LABEL_FIELDS, *READING_FIELDS, *METHOD_FIELDS}
        # A field that this module does not know counts as one that changes everything: slower, and never wrong.
        others = tuple(getattr(protocol, each.name) for each in fields(Protocol) if each.name not in known)
        # Means over images need figures of each, which counts of all pixels do not have.
        by_image = protocol.pooling == "images" and protocol.reading
        return pair, self._digest(plan), *_score_key(plan, pair), by_image, *others

    def _digest(self, plan: Plan) -> str:
        """Return a digest of all labels under a protocol, evaluation sizes included."""
        chosen = tuple(getattr(plan.protocol, name) for name in LABEL_FIELDS)
        if chosen not in self._digests:
            truth = GroundTruth(self.store, plan.protocol, self.images)
            parts = in_parallel(lambda image: _of_labels(truth.labels(image)), self.images, self.workers)
            self._digests[chosen] = hashlib.sha256(b"".join(digest for digest, _ in parts)).hexdigest()
            self.pixels = max(self.pixels, sum(pixels for _, pixels in parts))
        return self._digests[chosen]


def shortlist(
    search: Search, target: Mapping[str, float], limit: int, advance: Callable[[], None]
) -> list[Configuration]:
    """Return the configurations that are nearest to some figures on a part of the pixels, more than are wanted.

    Parameters
    ----------
    target : fractions by the name of a figure: auprc, fpr95, auroc
    limit : how many are wanted
    advance : called `search.coarse_readings` times, in this thread
    """
    coarse = sorted(search.coarse(advance), key=lambda each: distance(each[1], target))
    return [configuration for configuration, row in coarse if np.isfinite(distance(row, target))][
        : max(SHORTLIST, limit)
    ]


def match(
    search: Search,
    configurations: Sequence[Configuration],
    target: Mapping[str, float],
    limit: int,
    advance: Callable[[], None],
    extend: Callable[[int], None],
) -> list[Match]:
    """Return those of a shortlist whose figures over all pixels are nearest to some, the nearest first.

    Parameters
    ----------
    target, limit : as for `shortlist`
    advance, extend : as for `Search.exact`
    """
    rows = search.exact(configurations, advance, extend)
    matches = [
        Match(configuration, row, distance(row, target))
        for configuration, row in zip(configurations, rows, strict=True)
    ]
    return _without_repetition(sorted(matches, key=nearness), target)[:limit]


def nearness(match: Match) -> tuple[float, int, int, str]:
    """Return what matches are ordered by: the distance as it is printed, and then how simple the protocol is."""
    base, *changes = match.configuration.protocol.name.split("+")
    return (
        round(match.distance, DECIMALS),
        len(changes),
        list(PROTOCOLS).index(base),
        match.configuration.protocol.name,
    )


def _without_repetition(matches: Sequence[Match], target: Mapping[str, float]) -> list[Match]:
    """Return matches in their order; those of a pair that print the same figures become one."""
    found: dict[tuple[object, ...], list[Match]] = {}
    for each in matches:
        figures = (printed(getattr(each.row, name)) for name in target)
        found.setdefault((each.configuration.pair, *figures), []).append(each)
    return [
        replace(first, alike=tuple(each.configuration.protocol.name for each in rest))
        for first, *rest in found.values()
    ]


def _by_protocol(configurations: Sequence[Configuration]) -> Iterator[tuple[Plan, list[Configuration]]]:
    """Yield the configurations of each protocol with a plan of them all."""
    for _, group in groupby(sorted(configurations, key=_protocol_name), key=_protocol_name):
        together = list(group)
        yield replace(together[0].plan, pairs=tuple(configuration.pair for configuration in together)), together


def _protocol_name(configuration: Configuration) -> str:
    return configuration.protocol.name


def _of_labels(labels: np.ndarray | None) -> tuple[bytes, int]:
    if labels is None:
        return b"skipped", 0
    return hashlib.sha256(str(labels.shape).encode() + labels.tobytes()).digest(), labels.size


def _score_key(plan: Plan, pair: Pair) -> tuple[object, ...]:
    """Return what the fields that concern some methods come to for a pair."""
    protocol, method = plan.protocol, pair.method
    # The two methods of `methods.scripted`; plans have them in the place of those built in.
    scripts = (protocol.normalise_first, protocol.sum_epsilon, protocol.drop_last_class)
    is_scripted = plan.schema.kind == "mask" and method in ("msp", "entropy")
    return (
        plan.classes(method),
        plan.min_max(method),
        plan.float32_ties(method),
        scripts if is_scripted else None,
        sigmoid_at(plan.schema, protocol) if plan.schema.kind == "mask" else None,
    )
