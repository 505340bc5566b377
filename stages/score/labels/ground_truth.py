"""Labels of the pixels (normal, anomaly, ignored) under a protocol, at the evaluation size."""

from collections.abc import Iterator, Sequence
from typing import Protocol as TypingProtocol

import numpy as np

from logitpipe.cache import Store
from logitpipe.stages.datasets import known_name
from logitpipe.stages.score.kernels.counting.bins import ANOMALY, IGNORED
from logitpipe.stages.score.labels.codes import classify, codes_for, resize_nearest
from logitpipe.stages.score.protocols import Protocol

KEPT_OF_THINNED = 10
"""A protocol that thins keeps one pixel of this many."""


class Truth(TypingProtocol):
    """Source of the labels of a store's images, under a protocol."""

    store: Store
    protocol: Protocol

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H, W) labels at the evaluation size, or None for an image that is not scored."""


class GroundTruth:
    """Labels of the images of a store as a protocol sees them.

    Parameters
    ----------
    store, protocol : what is scored and how
    images : indices of the images that are scored; whether to thin, and where, depends on all of them
    """

    def __init__(self, store: Store, protocol: Protocol, images: Sequence[int]) -> None:
        self.store, self.protocol = store, protocol
        # By the plain name: a part of a data set is treated as the whole is. Archives unpack into folders of names of
        # their own.
        void_as_anomaly = known_name(store.schema.dataset) in map(known_name, protocol.void_as_anomaly_on)
        codes = codes_for(protocol.label_codes, store.schema.label_codes)
        self.table = codes.table(void_as_anomaly)
        # Empty where a protocol does not thin: masks are read twice only where they must be.
        self.offsets = dict(self._thinning(images))

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H, W) labels at the evaluation size, or None for an image that the protocol skips."""
        labels = self._classified(image)
        if labels is not None and image in self.offsets:
            labels = labels.copy()
            # Counted on from the images before it: of all pooled pixels every tenth is kept, not of each image anew.
            # Not at random: the same pixels in every run, as the scripts that thin take every tenth of their list.
            kept = np.arange(self.offsets[image], self.offsets[image] + labels.size) % KEPT_OF_THINNED == 0
            labels.reshape(-1)[~kept] = IGNORED
        return labels

    def _classified(self, image: int) -> np.ndarray | None:
        schema = self.store.schema
        codes = self.store.labels(image)
        if codes.size == 0:  # a picture without a mask
            return None
        # Before anomalies are looked for: a small one may vanish at the size of the network.
        if schema.kind == "pixel" and self.protocol.pixel_size == "network":
            codes = resize_nearest(codes, self.store.image(image).resized)
        labels = classify(codes, self.table, f"{self.store.path}: image {schema.images[image]!r}")
        return None if self.protocol.skip_without_anomaly and not (labels == ANOMALY).any() else labels

    def _thinning(self, images: Sequence[int]) -> Iterator[tuple[int, int]]:
        """Yield each image with the number of pixels pooled before it, if the protocol thins this store."""
        if self.protocol.thin_above is None or self.store.schema.kind != "mask":
            return
        # By path, whatever order the images are asked for in: else other pixels would be kept.
        by_path = sorted(images, key=lambda image: self.store.schema.images[image])
        counted = [(image, labels.size) for image in by_path if (labels := self._classified(image)) is not None]
        sizes = [size for _, size in counted]
        if sum(sizes) > self.protocol.thin_above:
            starts = np.cumsum([0, *sizes])
            yield from ((image, int(start)) for (image, _), start in zip(counted, starts, strict=False))


class GridTruth:
    """Labels of a regular grid of the pixels (see `Truth`).

    With an odd step that divides height and width, the grid lies where resampling to a size that is smaller by that
    step samples an image: scores are those of the very pixels.
    """

    def __init__(self, truth: GroundTruth, step: int) -> None:
        self.store, self.protocol, self.truth, self.step = truth.store, truth.protocol, truth, step

    def labels(self, image: int) -> np.ndarray | None:
        """Return uint8 (H // step, W // step), or None for an image that is not scored."""
        labels = self.truth.labels(image)
        if labels is None or min(labels.shape) < self.step:
            return labels
        return np.ascontiguousarray(labels[self.step // 2 :: self.step, self.step // 2 :: self.step])


class DrawnTruth(GroundTruth):
    """Ground truth of what is drawn: a picture without a mask counts in no figure, and is drawn as ignored pixels."""

    def labels(self, image: int) -> np.ndarray | None:
        """Return what `GroundTruth.labels` does, and uint8 (H, W) of IGNORED for a picture without a mask."""
        labels = super().labels(image)
        sizes = self.store.image(image)
        if labels is not None or any(sizes.labels):
            return labels
        by_network = self.store.schema.kind == "pixel" and self.protocol.pixel_size == "network"
        return np.full(sizes.resized if by_network else sizes.picture, IGNORED, np.uint8)
