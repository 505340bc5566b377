"""A table of text: keys to the left, groups of columns beside them, notes below."""

from dataclasses import dataclass
from typing import NamedTuple


class Cell(NamedTuple):
    """What stands in a table.

    Parameters
    ----------
    text : a figure or a word
    best : whether it is the best figure of its column
    note : what belongs to it in smaller print, such as an interval
    """

    text: str
    best: bool = False
    note: str = ""


class Group(NamedTuple):
    """Columns under a common heading; without one where `name` is empty."""

    name: str
    columns: tuple[str, ...]


@dataclass(frozen=True)
class Table:
    """A table of text.

    Parameters
    ----------
    title : one line
    keys : headings of the columns to the left, which say what a line is of
    groups : the other columns
    lines : cells, those of the keys first
    notes : sentences that belong under the table
    words : how many of the keys are words, and stand to the left of their columns
    """

    title: str
    keys: tuple[str, ...]
    groups: tuple[Group, ...]
    lines: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    words: int = 1

    @property
    def header(self) -> tuple[str, ...]:
        """One heading for each column."""
        return (*self.keys, *(f"{name} {column}".strip() for name, columns in self.groups for column in columns))

    @property
    def has_best(self) -> bool:
        """Whether any figure is marked as the best of its column."""
        return any(cell.best for line in self.lines for cell in line)
