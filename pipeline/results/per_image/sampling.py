"""Bootstrap of the rows of one data set, all on the same resamples of its images, and figures of single images."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from logitpipe.cache.errors import PipeError
from logitpipe.results.per_image.histograms import Origin, read_per_image
from logitpipe.results.selection import Temperature, identity, network_names, row_at
from logitpipe.results.series import Entry, JoinedResults
from logitpipe.stages.score.figures import bootstrap
from logitpipe.stages.score.figures.reading import Reading
from logitpipe.stages.score.figures.rows import Row


@dataclass(frozen=True)
class Candidate:
    """A row that is compared with others of its data set."""

    network: str
    method: str
    row: Row
    origin: Origin

    @property
    def label(self) -> str:
        """Network, method and temperature."""
        at = "" if self.row.temperature is None else f", T = {self.row.temperature:g}"
        return f"{self.network} {self.method}{at}"


@dataclass(frozen=True)
class Sampled:
    """Rows of one data set and the histograms of its single images.

    Parameters
    ----------
    candidates : the rows
    images : names
    counts : int32 (rows, images, 2, bins)
    reading : how figures are read off a curve
    """

    candidates: tuple[Candidate, ...]
    images: tuple[str, ...]
    counts: np.ndarray
    reading: Reading

    @cached_property
    def moved(self) -> bootstrap.Bootstrap:
        """Figures over resamples, the same ones for all rows; ValueError where a class occurs in no image."""
        # All rows at once, on the same resamples: differences between two rows are paired by them.
        return bootstrap.bootstrap(self.counts, self.reading, workers=os.cpu_count() or 1)

    @cached_property
    def figures(self) -> np.ndarray:
        """Figures of single images: float64 (rows, images, 3)."""
        return bootstrap.image_figures(self.counts, self.reading)


def candidates(results: JoinedResults, dataset: str, temperature: Temperature) -> list[Candidate]:
    """Return the rows of a data set at a temperature that have figures."""
    names = network_names(results.entries)
    return [
        Candidate(names[identity(entry)], series.method, series.rows[index], series.origins[index])
        for entry in results.datasets[dataset]
        for series in entry.series
        if (index := row_at(series, temperature)) is not None and series.rows[index].auprc is not None
    ]


def sampled(entry: Entry, rows: Sequence[Candidate]) -> Sampled:
    """Read the histograms of rows of one data set; raises as `read_per_image`.

    Parameters
    ----------
    entry : any of the data set, for what its protocol says of figures
    """
    found = read_per_image([candidate.origin for candidate in rows])
    return Sampled(tuple(rows), found.images, found.counts, entry.run.protocol.reading)


def sampled_by_dataset(results: JoinedResults, temperature: Temperature) -> dict[str, Sampled]:
    """Return the rows of each data set at a temperature, with their histograms of single images.

    Raises
    ------
    PipeError
        There are no such rows, or no histograms of them.
    """
    rows = {name: candidates(results, name, temperature) for name in results.datasets}
    # By data set: rows are compared image by image, and two data sets share none.
    found = {name: sampled(results.datasets[name][0], each) for name, each in rows.items() if each}
    if not found:
        raise PipeError("there are no figures at this temperature to compare")
    return found
