"""Rows of figures as tables for people: pixel and mask networks side by side, per cent."""

from collections.abc import Sequence
from dataclasses import dataclass

from pipeline.text import printable
from stages.score.results import Row

FIGURES = ("AuPRC", "FPR95", "AUROC")


@dataclass(frozen=True)
class Table:
    """A table of text: a title, one header and lines of as many cells; the first `left` columns are words."""

    title: str
    header: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    left: int


def comparison_tables(rows: Sequence[Row]) -> list[Table]:
    """Return one table for each data set and protocol.

    It has a line for each method and temperature and a group of columns for each store.
    """
    groups = dict.fromkeys((row.dataset, row.protocol) for row in rows)
    return [_comparison([row for row in rows if (row.dataset, row.protocol) == group]) for group in groups]


def plain(table: Table) -> str:
    """Return a table as aligned text."""
    widths = [max(len(line[i]) for line in (table.header, *table.lines)) for i in range(len(table.header))]
    lines = [_aligned(line, widths, table.left) for line in (table.header, *table.lines)]
    return "\n".join([table.title, "", lines[0], "  ".join("-" * width for width in widths), *lines[1:]])


def markdown(table: Table) -> str:
    """Return a table as Markdown."""
    rule = ["---" if i < table.left else "---:" for i in range(len(table.header))]
    lines = ("| " + " | ".join(_escaped(cell) for cell in line) + " |" for line in (table.header, rule, *table.lines))
    return "\n".join([f"**{_escaped(table.title)}**", "", *lines])


def _comparison(rows: Sequence[Row]) -> Table:
    stores = list(dict.fromkeys(row.store for row in rows))
    names = _names(rows, stores)
    found = {(row.store, row.method, row.temperature): row for row in rows}
    pairs = list(dict.fromkeys((row.method, row.temperature) for row in rows))
    header = ("method", "T", *(f"{names[store]} {figure}" for store in stores for figure in FIGURES))
    lines = [
        (method, _temperature(T), *(cell for store in stores for cell in _cells(found.get((store, method, T)))))
        for method, T in _by_method(pairs)
    ]
    counts = {(row.images, row.pixels, row.positives) for row in rows}
    sizes = "; ".join(
        f"{images} images, {pixels} pixels, {positives} anomalous" for images, pixels, positives in sorted(counts)
    )
    title = printable(f"{rows[0].dataset}, protocol {rows[0].protocol}, per cent ({sizes})")
    return Table(title, header, tuple(lines), left=1)


def _names(rows: Sequence[Row], stores: Sequence[str]) -> dict[str, str]:
    """Name each store by its network, and by its path too where two stores share one."""
    networks = {row.store: row.network for row in rows}
    shared = len(set(networks.values())) < len(stores)
    return {store: printable(f"{networks[store]} ({store})" if shared else networks[store]) for store in stores}


def _by_method(pairs: list[tuple[str, float | None]]) -> list[tuple[str, float | None]]:
    """Bring the temperatures of each method together, in the order in which methods first come."""
    order = list(dict.fromkeys(method for method, _ in pairs))
    return sorted(pairs, key=lambda pair: (order.index(pair[0]), pair[1] or 0.0))


def _cells(row: Row | None) -> tuple[str, ...]:
    if row is None:
        return ("",) * len(FIGURES)
    return tuple("none" if figure is None else f"{100 * figure:.3f}" for figure in (row.auprc, row.fpr95, row.auroc))


def _temperature(T: float | None) -> str:
    return "-" if T is None else f"{T:g}"


def _aligned(line: Sequence[str], widths: Sequence[int], left: int) -> str:
    cells = (
        cell.ljust(width) if i < left else cell.rjust(width)
        for i, (cell, width) in enumerate(zip(line, widths, strict=True))
    )
    return "  ".join(cells).rstrip()


def _escaped(cell: str) -> str:
    return cell.replace("\\", "\\\\").replace("|", "\\|")
