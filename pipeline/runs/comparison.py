"""Rows of results compared image by image, for `pipe compare` and `Results.compare`."""

from typing import TYPE_CHECKING

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.console.text import printable

if TYPE_CHECKING:
    from logitpipe.results.per_image.sampling import Sampled
    from logitpipe.results.selection import Temperature
    from logitpipe.results.series import JoinedResults
    from logitpipe.tables.table import Table


def sampled_by_dataset(results: "JoinedResults", temperature: "Temperature") -> "dict[str, Sampled]":
    """Return the rows of each data set at a temperature, with their histograms of single images.

    Raises
    ------
    PipeError
        There are no such rows, or no histograms of them.
    """
    from logitpipe.results.per_image.sampling import candidates, sampled

    rows = {name: candidates(results, name, temperature) for name in results.datasets}
    # By data set: rows are compared image by image, and two data sets share none.
    found = {name: sampled(results.datasets[name][0], each) for name, each in rows.items() if each}
    if not found:
        raise PipeError("there are no figures at this temperature to compare")
    return found


def compared(
    dataset: str, sampled: "Sampled", metric: str, against: str | None, all_pairs: bool, decimals: int
) -> "Table":
    """Return the table of differences, of each row from one or of all pairs; UsageError where it is not there."""
    from logitpipe.tables.uncertainty.differences import best_candidate, comparison_table, find_candidate

    if all_pairs:
        return comparison_table(dataset, sampled, metric, None, decimals)
    if against is None:
        return comparison_table(dataset, sampled, metric, best_candidate(sampled, metric), decimals)
    row = find_candidate(sampled.candidates, against)
    if row is None:
        names = ", ".join(f"{each.network}:{each.method}" for each in sampled.candidates)
        raise UsageError(printable(f"{against!r} is not one of the rows of {dataset}: {names}"), option="against")
    return comparison_table(dataset, sampled, metric, row, decimals)
