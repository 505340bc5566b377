"""Tables in Python: of text as papers print them, and of columns as pandas has them."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from logitpipe.cache.errors import PipeError

if TYPE_CHECKING:
    import pandas

    from logitpipe.tables.table import Table


class PrintedTable:
    """Tables of text: printed aligned, shown in a notebook as HTML, written as LaTeX, Markdown or CSV.

    Parameters
    ----------
    tables : one or several, one below the other
    """

    def __init__(self, tables: "Sequence[Table]") -> None:
        self._tables = tuple(tables)

    def to_latex(self) -> str:
        """Return LaTeX for the package booktabs."""
        return self._written("latex")

    def to_markdown(self) -> str:
        """Return Markdown."""
        return self._written("markdown")

    def to_csv(self) -> str:
        """Return CSV; several tables one below the other."""
        return self._written("csv")

    def __str__(self) -> str:
        from logitpipe.tables.render import plain

        return "\n\n".join(map(plain, self._tables))

    __repr__ = __str__

    def _repr_html_(self) -> str:
        from logitpipe.tables.render import html

        return "".join(map(html, self._tables))

    def _written(self, name: str) -> str:
        from logitpipe.tables.formats import writer

        return "\n\n".join(map(writer(name), self._tables))


def frame_of(columns: Mapping[str, Sequence[Any]]) -> "pandas.DataFrame":
    """Return columns as a data frame; PipeError where pandas is not installed."""
    try:
        import pandas
    except ModuleNotFoundError as error:
        raise PipeError("frames need pandas, which is not installed", "install", extra="'.[plot]'") from error
    return pandas.DataFrame(dict(columns))
