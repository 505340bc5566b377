"""The figures of one benchmark: printed as they come, kept with the facts of the machine."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.facts import machine_facts

RESULTS = Path(__file__).parent / "results"


class Sheet:
    """Lines of figures under headings.

    Parameters
    ----------
    name : of the benchmark, and of its files
    folder : where these go
    facts : about the machine; None for what can be seen of it
    """

    def __init__(self, name: str, folder: Path = RESULTS, facts: Mapping[str, str] | None = None) -> None:
        self.name, self.folder = name, folder
        self.facts = machine_facts() if facts is None else dict(facts)
        self.tables: list[dict[str, Any]] = []

    def table(self, title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
        """Add a table and print it; floats are shown with three significant digits."""
        self.tables.append({"title": title, "header": list(header), "lines": [list(line) for line in lines]})
        print(_markdown(title, header, lines), flush=True)

    def line(self, title: str, header: Sequence[str], line: Sequence[object]) -> None:
        """Add a line to the table of a title, which the first one begins; print it and save all, whatever follows."""
        if not any(table["title"] == title for table in self.tables):
            self.tables.append({"title": title, "header": list(header), "lines": []})
        next(table for table in self.tables if table["title"] == title)["lines"].append(list(line))
        print(f"{self.name}: {' | '.join(map(_cell, line))}", flush=True)
        self.save()

    def text(self) -> str:
        """Return all of it in Markdown."""
        facts = "\n".join(f"- {name}: {value}" for name, value in self.facts.items())
        tables = "\n".join(_markdown(t["title"], t["header"], t["lines"]) for t in self.tables)
        return f"# {self.name}\n\n{facts}\n{tables}"

    def save(self) -> None:
        """Write `NAME.json` and `NAME.md`; whoever reads them at that moment sees the old ones or the new."""
        self.folder.mkdir(parents=True, exist_ok=True)
        document = {"benchmark": self.name, "machine": self.facts, "tables": self.tables}
        for ending, text in (("json", json.dumps(document, indent=1) + "\n"), ("md", self.text())):
            file = self.folder / f"{self.name}.{ending}"
            file.with_suffix(".new").write_text(text)
            file.with_suffix(".new").replace(file)


def _markdown(title: object, header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    cells = [[_cell(value) for value in line] for line in (header, *lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    text = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    rows = [f"| {' | '.join(line)} |" for line in text]
    return "\n".join([f"\n## {title}\n", rows[0], f"|{'|'.join('-' * (w + 2) for w in widths)}|", *rows[1:], ""])


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
