"""One image of a store as it is scored: read once, checked, at the evaluation size of a protocol."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np

from logitpipe.cache import IntegrityError, Schema, Store
from logitpipe.cache.files.places import Place
from logitpipe.cache.format import version1
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.score.kernels.counting.bins import count, count_above
from logitpipe.stages.score.kernels.counting.counts import Counts
from logitpipe.stages.score.kinds import KINDS, Logits
from logitpipe.stages.score.labels.ground_truth import Truth
from logitpipe.stages.score.methods.method import OfImage, OfMethods, Own
from logitpipe.stages.score.plan import Plan
from logitpipe.stages.score.protocols import Protocol
from logitpipe.stages.score.z_scores import rank_of_parts


@dataclass(frozen=True)
class Picture:
    """One image, ready to be scored at any temperature.

    Parameters
    ----------
    store : path or URL of its store, for errors
    image, name : its index in the store, and its name
    logits : of its kind
    labels : uint8 (H, W) at the evaluation size: NORMAL, ANOMALY or IGNORED, or classes where these are counted
    """

    store: Place
    image: int
    name: str
    logits: Logits
    labels: np.ndarray

    def count(self, plan: Plan, pairs: Sequence[int], counts: Counts, above: np.ndarray) -> None:
        """Count some pairs: most as they are scored, some once their whole map is there.

        Parameters
        ----------
        plan, pairs : indices into the plan's pairs
        counts, above : as for `kinds.Logits.count`

        Raises
        ------
        IntegrityError
            Some logits are NaN or infinite.
        """
        # Min and max are known only once the whole map is there, and some methods return maps: no counting by rows.
        mapped = [i for i in pairs if plan.pools_scores(plan.pairs[i].method) or _returns_map(plan, i)]
        with self._named():
            self.logits.count(plan, [i for i in pairs if i not in mapped], self.labels, counts, above)
            self._count_maps(plan, mapped, counts, above)

    def score_maps(self, plan: Plan, pairs: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        """Yield (index of pair, float32 (H, W)) in the unit that the pair is pooled in: ranks, or 0..1 by min-max.

        Raises
        ------
        IntegrityError
            Some logits are NaN or infinite.
        """
        with self._named():
            for i, ranks in self._rank_maps(plan, pairs):
                yield i, pooled_scores(plan, i, ranks) if plan.pools_scores(plan.pairs[i].method) else ranks

    def score_bands(
        self, plan: Plan, pairs: Sequence[int], labels: np.ndarray
    ) -> Iterator[tuple[int, np.ndarray, np.ndarray]]:
        """Yield scores of the pixels that count, some rows at a time or all at once, in the unit of `score_maps`.

        Parameters
        ----------
        labels : uint8 (H, W), perhaps with fewer pixels that count than those of the image

        Yields
        ------
        index of pair, float32 (n,) scores and uint8 (n,) labels, IGNORED where one does not count; both are written
        over by what is yielded next

        Raises
        ------
        IntegrityError
            Some logits are NaN or infinite.
        """
        mapped = [i for i in pairs if plan.pools_scores(plan.pairs[i].method) or _returns_map(plan, i)]
        if direct := [i for i in pairs if i not in mapped]:
            with self._named():
                yield from self.logits.rank_bands(plan, direct, labels)
        for i, scores in self.score_maps(plan, mapped):
            yield i, np.ascontiguousarray(scores).reshape(-1), labels.reshape(-1)

    def formula_map(self, plan: Plan, pair: int) -> np.ndarray:
        """Return the scores of a pair as its formula gives them: float64 (H, W); raises as `score_maps`."""
        with self._named():
            _, ranks = next(self._rank_maps(plan, [pair]))
        return plan.formula(plan.pairs[pair], ranks)

    @property
    def _size(self) -> tuple[int, int]:
        height, width = self.labels.shape
        return height, width

    def _rank_maps(self, plan: Plan, pairs: Sequence[int]) -> Iterator[tuple[int, np.ndarray]]:
        whole = [i for i in pairs if _returns_map(plan, i)]
        if len(whole) < len(pairs):
            yield from self.logits.rank_maps(plan, [i for i in pairs if i not in whole], self._size)
        means = [i for i in whole if plan.parts(plan.pairs[i])]
        for i in means:
            parts = plan.parts(plan.pairs[i])
            yield i, rank_of_parts(plan, parts, self._rank_maps(replace(plan, pairs=parts), range(len(parts))))
        if alone := [i for i in whole if i not in means]:
            yield from self.logits.whole_maps(plan, alone, self._size)

    def _count_maps(self, plan: Plan, pairs: Sequence[int], counts: Counts, above: np.ndarray) -> None:
        labels = self.labels.reshape(-1)
        for i, ranks in self._rank_maps(plan, pairs):
            scores = pooled_scores(plan, i, ranks) if plan.pools_scores(plan.pairs[i].method) else ranks
            flat = np.ascontiguousarray(scores).reshape(-1)
            count(flat, labels, plan.bins(plan.pairs[i]).layout, Counts(counts.low[i], counts.carries[i]))
            count_above(flat, labels, plan.threshold_ranks[i], above[i])

    @contextmanager
    def _named(self) -> Iterator[None]:
        """Say which image is damaged."""
        try:
            yield
        except IntegrityError as error:
            # Kernels know neither stores nor names; the error gets both here.
            raise error.at(self.store, self.name) from error


def read_picture(store: Store, truth: Truth, image: int) -> Picture | None:
    """Read one image's labels and logits; None, and no logits read, where the protocol skips it.

    Raises
    ------
    IncompleteError
        The image is not in the store.
    IntegrityError
        It is damaged.
    PipeError
        Its mask holds a code that the protocol does not know.
    """
    # Labels first: an image that the protocol skips costs no reading of logits.
    labels = truth.labels(image)
    if labels is None:
        return None
    record, kind = store.record(image), KINDS[store.schema.kind]
    geometry, name = store.image(image, record), store.schema.images[image]
    # Through one record: chunks of an image that is replaced meanwhile do not fit it, and are an error.
    windows = [
        {array: store.read(array, image, record, window) for array in kind.ARRAYS}
        for window in range(len(geometry.windows))
    ]
    try:
        logits = kind.prepare(windows, geometry, sigmoid_at(store.schema, truth.protocol))
        return Picture(store.path, image, name, logits, labels)
    except IntegrityError as error:
        raise error.at(store.path, name) from error


def sigmoid_at(schema: Schema, protocol: Protocol) -> SigmoidAt:
    """Return where a protocol takes the sigmoid of mask logits; stores of version 1 know the masks' size alone."""
    if protocol.sigmoid_at == "masks" or isinstance(schema, version1.Schema):
        return "masks"
    return schema.sigmoid_at or "masks"


def _returns_map(plan: Plan, pair: int) -> bool:
    """Return whether a method is computed as a whole map, and not row by row."""
    return isinstance(plan.methods[plan.pairs[pair].method].computed, OfImage | Own | OfMethods)


def pooled_scores(plan: Plan, pair: int, ranks: np.ndarray) -> np.ndarray:
    """Return one image's scores as they are pooled: float32, 0 to 1.

    With ties as float32 has them, they are 1 - p of a rounded p. By minimum and maximum the least is 0 and the
    greatest 1, and all are 0 where they are equal.
    """
    method = plan.pairs[pair].method
    scores = plan.formula(plan.pairs[pair], ranks)
    if plan.float32_ties(method):
        scores = np.float32(1) - (1 - scores).astype(np.float32)
    if not plan.min_max(method):
        return scores.astype(np.float32)
    # Over all pixels, void ones too: scripts that do so scale a map before they look at its mask.
    low, high = scores.min(), scores.max()
    return ((scores - low) / (high - low if high > low else 1)).astype(np.float32)
