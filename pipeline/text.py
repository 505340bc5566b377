"""Text for people: names made harmless, columns aligned, sizes in units."""

from collections.abc import Collection, Sequence


def printable(text: str) -> str:
    """Return text without control characters or lone surrogates: each as its Python escape.

    Names are data: raw, they could move the cursor of a terminal or forge lines of a report.
    """
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def ascii_only(text: str) -> str:
    """Return printable text with all but ASCII escaped too, for fonts that have no more."""
    return printable(text).encode("ascii", "backslashreplace").decode()


def aligned(rows: Sequence[Sequence[str]], right: Collection[int] = ()) -> list[str]:
    """Return one line for each row, its cells in columns two spaces apart.

    Parameters
    ----------
    rows : cells, as many in each row
    right : indices of the columns that end, rather than begin, at one place
    """
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return [
        "  ".join(
            cell.rjust(width) if i in right else cell.ljust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ).rstrip()
        for row in rows
    ]


def counted(count: int, thing: str) -> str:
    """Return a number of things, such as `1 image` or `1,200 images`."""
    return f"{count:,} {thing}" if count == 1 else f"{count:,} {thing}s"


def listed(names: Sequence[str], most: int = 3) -> str:
    """Return the first names, and how many more there are."""
    return ", ".join(names[:most]) + (f" and {len(names) - most:,} more" if len(names) > most else "")


def byte_size(count: int) -> str:
    """Return a number of bytes in the decimal unit that keeps it short, such as `158.1 MB`."""
    size, unit = float(count), "B"
    for larger in ("kB", "MB", "GB", "TB"):
        if size < 999.95:
            break
        size, unit = size / 1000, larger
    return f"{count} B" if unit == "B" else f"{size:.1f} {unit}"
