"""Is it the right data? The pixels of a data set beside those that published validation sets hold."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from logitpipe.stages.datasets import known_name
from logitpipe.stages.infer.data.masks import meanings

MOST_PICTURES = 500
"""A larger store is none of these sets, and is not read through for the comparison."""


@dataclass(frozen=True)
class PixelCounts:
    """What counts in a data set: the pictures that show an anomaly.

    Parameters
    ----------
    pictures : with at least one anomalous pixel
    anomalous, normal : pixels in these pictures, void left out
    """

    pictures: int
    anomalous: int
    normal: int

    def __str__(self) -> str:
        pixels = f"{self.anomalous:,} anomalous and {self.normal:,} normal pixels"
        return f"{self.pictures} pictures with an anomaly, {pixels}"


PUBLISHED: Mapping[str, PixelCounts] = {
    "RoadAnomaly21": PixelCounts(10, 1317063, 7578030),
    "RoadObsticle21": PixelCounts(30, 129782, 19106170),
    "RoadAnomaly": PixelCounts(60, 5446413, 49849587),
    "fs_static": PixelCounts(20, 732524, 34420206),
    "FS_LostFound_full": PixelCounts(99, 477664, 168408155),
}
"""Validation set, by the name that the course gives it -> its masks at their own size."""


def count_pixels(histograms: Iterable[Mapping[int, int]], label_codes: str) -> PixelCounts:
    """Count the pictures that show an anomaly, and their pixels.

    Parameters
    ----------
    histograms : of each mask the number of pixels of each code
    label_codes : what the codes mean, in the form of --label-codes
    """
    codes = meanings(label_codes)
    pictures = anomalous = normal = 0
    for histogram in histograms:
        found = sum(histogram.get(code, 0) for code in codes.get("anomaly", ()))
        if found:
            pictures, anomalous = pictures + 1, anomalous + found
            normal += sum(histogram.get(code, 0) for code in codes.get("normal", ()))
    return PixelCounts(pictures, anomalous, normal)


def compared(name: str, counts: PixelCounts) -> str | None:
    """Say in a sentence whether a data set is what was published; None where nothing is known of it.

    Parameters
    ----------
    name : of the data set; under a name that is unknown it is recognised by its counts
    """
    known = known_name(name)
    if known not in PUBLISHED:
        known = next((each for each, published in PUBLISHED.items() if published == counts), "")
    if not known:
        return None
    published = PUBLISHED[known]
    same = f"equal to the published {known}" if counts == published else f"the published {known} has {published}"
    return f"{counts}: {same}"


def parse_counts(text: str) -> dict[int, int]:
    """Read the text of `preprocess.code_counts`, such as `0:7578030 1:1317063`."""
    return {int(code): int(count) for code, count in (part.split(":") for part in text.split())}
