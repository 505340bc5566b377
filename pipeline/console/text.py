"""Text for people: names made harmless, columns aligned, sizes in units."""

import re
import unicodedata
from collections.abc import Collection, Sequence


def printable(text: str) -> str:
    """Return text without control characters or lone surrogates: each as its Python escape.

    Names are data: raw, they could move the cursor of a terminal or forge lines of a report.
    """
    # isprintable() also refuses direction marks and line separators, which reorder or break what is shown.
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def abridged(text: str, most: int = 2000) -> str:
    """Return text without its middle where it is too long to be read: what failed comes first, the remedy last."""
    half = most // 2
    return text if len(text) <= most else f"{text[:half]} ... {text[-half:]}"


def ascii_only(text: str) -> str:
    """Return printable text with all but ASCII escaped too, for fonts that have no more."""
    return printable(text).encode("ascii", "backslashreplace").decode()


def cells(text: str) -> int:
    """Return how many cells of a terminal a line of text takes; escapes for bold take none."""
    return sum(map(_cells_of, re.sub(r"\x1b\[\d*m", "", text)))


def shortened(text: str, width: int) -> str:
    """Return text that takes at most so many cells, `...` for what its middle loses; empty where nothing fits."""
    if cells(text) <= width:
        return text
    # A first cut to `width` characters, as names may be long and the loop below drops one character at a time.
    head, tail = text[: len(text) // 2][:width], text[len(text) // 2 :][-width:]
    while head and cells(f"{head}...{tail}") > width:
        head, tail = (head[:-1], tail) if len(head) >= len(tail) else (head, tail[1:])
    return f"{head}...{tail}" if head else ""


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return one line for each row, its cells in columns two spaces apart.

    Parameters
    ----------
    rows : cells, as many in each row
    right : indices of the columns that end, rather than begin, at one place
    """
    widths = [max(map(cells, column)) for column in zip(*rows, strict=True)]
    return ["  ".join(_padded(row[i], width, i in right) for i, width in enumerate(widths)).rstrip() for row in rows]


def _padded(text: str, width: int, right: bool) -> str:
    blank = " " * (width - cells(text))
    return blank + text if right else text + blank


def _cells_of(character: str) -> int:
    if unicodedata.combining(character):
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1


def counted(count: int, thing: str) -> str:
    """Return a number of things, such as `1 image` or `1,200 images`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def ordinal(index: int, count: int, thing: str = "store") -> str:
    """Return which of several things a progress is of, as ` (store 3 of 10)`; nothing where there is one."""
    return f" ({thing} {index + 1} of {count})" if count > 1 else ""


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def byte_size(count: int) -> str:
    """Return a number of bytes in the decimal unit that keeps it short, such as `158.1 MB`."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        # 999.95 and not 1000: one decimal would round it to `1000.0 kB`.
        if size < 999.95:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
