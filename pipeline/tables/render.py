"""One table as text: aligned for a terminal, Markdown, LaTeX."""

from collections.abc import Iterator, Sequence

import click

from logitpipe.console.text import aligned, cells
from logitpipe.tables.comparison import FIGURES, Cell, Table

RULE = "-"
ARROWS: dict[object, str] = {max: r"$\uparrow$", min: r"$\downarrow$"}

_MARKDOWN = {ord(character): f"\\{character}" for character in "\\|*_<`[&~"}
_LATEX = {ord(character): f"\\{character}" for character in "{}$&#%_"} | {
    ord("\\"): r"\textbackslash{}",
    ord("^"): r"\textasciicircum{}",
    ord("~"): r"\textasciitilde{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
}


def plain(table: Table, bold: bool = False, width: int | None = None) -> str:
    """Return a table as aligned text.

    Parameters
    ----------
    bold : mark the best of each column by bold print, not by a star
    width : cells of the terminal; a table that is wider is split by store. None: it is never split
    """
    body = _grid(table.header, table.lines, bold)
    if width is not None and max(map(cells, body)) > width:
        body = list(_blocks(table, bold))
    legend = [f"{'bold' if bold else '*'}: best of its column"] if table.has_best else []
    foot = [*legend, *table.notes]
    return "\n".join([table.title, "", *body, *(["", *foot] if foot else [])])


def markdown(table: Table) -> str:
    """Return a table as Markdown, the best of each column in bold."""
    rule = ("---", *["---:"] * (len(table.header) - 1))
    header = [heading.translate(_MARKDOWN) for heading in table.header]
    body = [[_bold_markdown(cell) for cell in line] for line in table.lines]
    lines = ["| " + " | ".join(line) + " |" for line in (header, rule, *body)]
    notes = [line for note in table.notes for line in ("", note.translate(_MARKDOWN))]
    return "\n".join([f"**{table.title.translate(_MARKDOWN)}**", "", *lines, *notes])


def latex(table: Table) -> str:
    """Return a table as LaTeX for the package booktabs, the best of each column in bold."""
    figures = [f"{figure} {ARROWS[better]}" for figure, better in FIGURES.items()] * len(table.stores)
    span = len(FIGURES)
    stores = [rf"\multicolumn{{{span}}}{{c}}{{{store.translate(_LATEX)}}}" for store in table.stores]
    rules = [rf"\cmidrule(lr){{{3 + i * span}-{2 + (i + 1) * span}}}" for i in range(len(stores))]
    caption = ". ".join([table.title, *(["Bold: best of its column"] if table.has_best else []), *table.notes])
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption.translate(_LATEX)}.}}",
            rf"\begin{{tabular}}{{lr{'r' * len(figures)}}}",
            r"\toprule",
            rf" & & {' & '.join(stores)} \\",
            " ".join(rules),
            rf"{' & '.join(['method', '$T$', *figures])} \\",
            r"\midrule",
            *(rf"{' & '.join(map(_bold_latex, line))} \\" for line in table.lines),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def _blocks(table: Table, bold: bool) -> Iterator[str]:
    """Yield the lines of one narrow grid after the other, each under the name of its store."""
    for i, store in enumerate(table.stores):
        first = 2 + i * len(FIGURES)
        lines = [(*line[:2], *line[first : first + len(FIGURES)]) for line in table.lines]
        yield from ["", store] if i else [store]
        yield from _grid((*table.header[:2], *FIGURES), [line for line in lines if line[-1].text], bold)


def _grid(header: Sequence[str], lines: Sequence[Sequence[Cell]], bold: bool) -> list[str]:
    """Return a header, a rule and lines of cells, words to the left and numbers to the right."""
    starred = not bold and any(cell.best for line in lines for cell in line)
    rows = [[cell.text for cell in line[:2]] + [_marked(cell, bold, starred) for cell in line[2:]] for line in lines]
    # Where there are stars, a column of figures ends in one place more.
    rows = [[*header[:2], *(heading + " " * starred for heading in header[2:])], *rows]
    rules = [RULE * max(map(cells, column)) for column in zip(*rows, strict=True)]
    return aligned([rows[0], rules, *rows[1:]], right=range(1, len(header)))


def _marked(cell: Cell, bold: bool, starred: bool) -> str:
    if bold and cell.best:
        return click.style(cell.text, bold=True)
    return cell.text + (" *"[cell.best] if starred else "")


def _bold_markdown(cell: Cell) -> str:
    text = cell.text.translate(_MARKDOWN)
    return f"**{text}**" if cell.best else text


def _bold_latex(cell: Cell) -> str:
    text = cell.text.translate(_LATEX)
    return rf"\textbf{{{text}}}" if cell.best else text
