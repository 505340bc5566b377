"""One table as text: aligned for a terminal, Markdown, LaTeX, CSV, HTML."""

import csv
import io
from collections.abc import Iterator, Sequence

import click

from logitpipe.console.text import aligned, cells
from logitpipe.report.markup import Html, joined, tag
from logitpipe.results.plain_rows import spreadsheet_text
from logitpipe.tables.metrics import BETTER
from logitpipe.tables.table import Cell, Table

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
    width : cells of the terminal; a table that is wider is split by groups of columns. None: it is never split
    """
    body = _grid(table, table.header, table.lines, bold)
    if width is not None and any(name for name, _ in table.groups) and max(map(cells, body)) > width:
        # Split by store and never within a group: the figures of one store stay on one line.
        body = list(_blocks(table, bold))
    legend = [f"{'bold' if bold else '*'}: best of its column"] if table.has_best else []
    foot = [*legend, *table.notes]
    return "\n".join([table.title, "", *body, *(["", *foot] if foot else [])])


def markdown(table: Table) -> str:
    """Return a table as Markdown, the best of each column in bold."""
    rule = ["---"] * table.words + ["---:"] * (len(table.header) - table.words)
    header = [heading.translate(_MARKDOWN) for heading in table.header]
    body = [[_marked_up(cell, _MARKDOWN, "**{}**", "{} {}") for cell in line] for line in table.lines]
    lines = ["| " + " | ".join(line) + " |" for line in (header, rule, *body)]
    notes = [line for note in table.notes for line in ("", note.translate(_MARKDOWN))]
    return "\n".join([f"**{table.title.translate(_MARKDOWN)}**", "", *lines, *notes])


def latex(table: Table) -> str:
    """Return a table as LaTeX for the package booktabs, the best of each column in bold."""
    keys = ["$T$" if key == "T" else key.translate(_LATEX) for key in table.keys]
    columns = [_with_arrow(column) for _, columns in table.groups for column in columns]
    caption = ". ".join([table.title, *(["Bold: best of its column"] if table.has_best else []), *table.notes])
    # Numbers to the right: with equal decimals their points stand below one another.
    figures = "l" * table.words + "r" * (len(keys) - table.words + len(columns))
    return "\n".join(
        [
            r"% needs \usepackage{booktabs}",
            r"\begin{table}",
            r"\centering",
            rf"\caption{{{caption.translate(_LATEX)}.}}",
            rf"\begin{{tabular}}{{{figures}}}",
            r"\toprule",
            *_latex_groups(table),
            rf"{' & '.join([*keys, *columns])} \\",
            r"\midrule",
            *_latex_lines(table),
            r"\bottomrule",
            r"\end{tabular}",
            r"\end{table}",
        ]
    )


def as_csv(table: Table) -> str:
    """Return a table as CSV; what stands in smaller print has a column of its own."""
    # All lines of a CSV file need the same columns: one note in a column gives every line a cell for it.
    noted = [any(line[i].note for line in table.lines) for i in range(len(table.header))]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    heads = [[head, f"{head} interval"] if note else [head] for head, note in zip(table.header, noted, strict=True)]
    writer.writerow([spreadsheet_text(name) for names in heads for name in names])
    for line in table.lines:
        pairs = [[cell.text, cell.note] if note else [cell.text] for cell, note in zip(line, noted, strict=True)]
        writer.writerow([_csv_cell(text) for texts in pairs for text in texts])
    return text.getvalue()


def html(table: Table) -> Html:
    """Return a table as an HTML element, the best of each column strong."""
    top: list[str] = [
        tag("th", key, scope="col", rowspan=2, class_="word" if i < table.words else None)
        for i, key in enumerate(table.keys)
    ]
    top += [tag("th", name, scope="colgroup", colspan=len(columns), class_="group") for name, columns in table.groups]
    second = [
        tag("th", column, scope="col", class_="first" if i == 0 else None)
        for _, columns in table.groups
        for i, column in enumerate(columns)
    ]
    firsts = _first_columns(table)
    body = [
        tag("tr", *(_html_cell(cell, i, table, i in firsts) for i, cell in enumerate(line))) for line in table.lines
    ]
    notes = [tag("p", note, class_="note") for note in table.notes]
    head = tag("thead", tag("tr", *top), tag("tr", *second))
    return joined(tag("table", tag("caption", table.title), head, tag("tbody", *body), class_="paper"), *notes)


def _first_columns(table: Table) -> set[int]:
    """Return the indices of the columns with which a group begins."""
    starts, at = set(), len(table.keys)
    for _, columns in table.groups:
        starts.add(at)
        at += len(columns)
    return starts


def _html_cell(cell: Cell, column: int, table: Table, first: bool) -> Html:
    text = joined(
        tag("strong", cell.text) if cell.best else cell.text, tag("small", f" {cell.note}") if cell.note else ""
    )
    if column < table.words:
        return tag("th", text, scope="row", class_="word")
    return tag("td", text, class_="first" if first else None)


def _csv_cell(text: str) -> str:
    """Return a number as it is, and anything else as a spreadsheet takes it for text."""
    return text if _is_number(text) else spreadsheet_text(text)


def _with_arrow(column: str) -> str:
    """Return a heading with an arrow that says which figures are better."""
    arrow = ARROWS.get(BETTER.get(column))
    return f"{column.translate(_LATEX)} {arrow}" if arrow else column.translate(_LATEX)


def _latex_groups(table: Table) -> Iterator[str]:
    """Yield a line of the headings of groups and one of the rules under them, if there are any."""
    if not any(name for name, _ in table.groups):
        return
    heads, rules, at = [], [], len(table.keys) + 1
    for name, columns in table.groups:
        heads.append(rf"\multicolumn{{{len(columns)}}}{{c}}{{{name.translate(_LATEX)}}}")
        rules.append(rf"\cmidrule(lr){{{at}-{at + len(columns) - 1}}}")
        at += len(columns)
    yield rf"{' &' * len(table.keys)} {' & '.join(heads)} \\"
    yield " ".join(rules)


def _latex_lines(table: Table) -> Iterator[str]:
    """Yield lines of cells; where the first of two words repeats, it is printed once, and a rule ends its block."""
    before = None
    for line in table.lines:
        first = line[0].text
        texts = [_marked_up(cell, _LATEX, r"\textbf{{{}}}", r"{} {{\scriptsize {}}}") for cell in line]
        if table.words > 1:
            if before is not None and first != before:
                yield r"\midrule"
            texts[0] = "" if first == before else texts[0]
        before = first
        yield rf"{' & '.join(texts)} \\"


def _blocks(table: Table, bold: bool) -> Iterator[str]:
    """Yield the lines of one narrow grid after the other, each under the name of its group."""
    keys, at = len(table.keys), len(table.keys)
    for i, (name, columns) in enumerate(table.groups):
        lines = [(*line[:keys], *line[at : at + len(columns)]) for line in table.lines]
        at += len(columns)
        yield from ["", name] if i else [name]
        # A line without a figure in the last column belongs to a method that this store's kind does not have.
        yield from _grid(table, (*table.keys, *columns), [line for line in lines if line[-1].text], bold)


def _grid(table: Table, header: Sequence[str], lines: Sequence[Sequence[Cell]], bold: bool) -> list[str]:
    """Return a header, a rule and lines of cells, words to the left and numbers to the right."""
    keys = len(table.keys)
    starred = not bold and any(cell.best for line in lines for cell in line)
    figures = zip(*(_at_one_point([line[i] for line in lines]) for i in range(keys, len(header))), strict=True)
    rows = [
        [cell.text for cell in line[:keys]] + [_marked(cell, bold, starred) for cell in own]
        for line, own in zip(lines, figures, strict=True)
    ]
    # Where there are stars, a column of figures ends in one place more.
    rows = [[*header[:keys], *(heading + " " * starred for heading in header[keys:])], *rows]
    rules = [RULE * max(map(cells, column)) for column in zip(*rows, strict=True)]
    return aligned([rows[0], rules, *rows[1:]], right=range(table.words, len(header)))


def _at_one_point(column: Sequence[Cell]) -> list[Cell]:
    """Return a column whose numbers have their decimal points at one place, though some have fewer digits."""
    digits = [len(cell.text.partition(".")[2]) if _is_number(cell.text) else None for cell in column]
    most = max((each for each in digits if each is not None), default=0)
    # One blank more for a whole number in a column that has decimal points: the point itself takes a place.
    blanks = [0 if each is None else most - each + (most > 0 and each == 0) for each in digits]
    return [cell._replace(text=cell.text + " " * blank) for cell, blank in zip(column, blanks, strict=True)]


def _is_number(text: str) -> bool:
    return text.replace(".", "", 1).lstrip("+-").isdigit()


def _marked(cell: Cell, bold: bool, starred: bool) -> str:
    text = (
        click.style(cell.text, bold=True) if bold and cell.best else cell.text + (" *"[cell.best] if starred else "")
    )
    return f"{text} {cell.note}" if cell.note else text


def _marked_up(cell: Cell, escapes: dict[int, str], strong: str, noted: str) -> str:
    text = cell.text.translate(escapes)
    text = strong.format(text) if cell.best else text
    return noted.format(text, cell.note.translate(escapes)) if cell.note else text
