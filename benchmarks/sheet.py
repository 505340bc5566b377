"""The figures of one benchmark: printed as they come, kept with the facts of the machine."""

import json
from collections.abc import Sequence
from pathlib import Path

from benchmarks.facts import machine_facts

RESULTS = Path(__file__).parent / "results"


class Sheet:
    """Lines of figures under headings.

    Parameters
    ----------
    name : of the benchmark, and of its files
    folder : where these go
    """

    def __init__(self, name: str, folder: Path = RESULTS) -> None:
        self.name, self.folder = name, folder
        self.facts = machine_facts()
        self.tables: list[dict[str, object]] = []

    def table(self, title: str, header: Sequence[str], lines: Sequence[Sequence[object]]) -> None:
        """Add a table and print it; floats are shown with three significant digits."""
        self.tables.append({"title": title, "header": list(header), "lines": [list(line) for line in lines]})
        print(_markdown(title, header, lines), flush=True)

    def save(self) -> None:
        """Write `NAME.json` and `NAME.md`."""
        self.folder.mkdir(exist_ok=True)
        document = {"benchmark": self.name, "machine": self.facts, "tables": self.tables}
        (self.folder / f"{self.name}.json").write_text(json.dumps(document, indent=1) + "\n")
        facts = "\n".join(f"- {name}: {value}" for name, value in self.facts.items())
        tables = "\n".join(_markdown(t["title"], t["header"], t["lines"]) for t in self.tables)  # type: ignore[arg-type]
        (self.folder / f"{self.name}.md").write_text(f"# {self.name}\n\n{facts}\n{tables}")


def _markdown(title: object, header: Sequence[str], lines: Sequence[Sequence[object]]) -> str:
    cells = [[_cell(value) for value in line] for line in (header, *lines)]
    widths = [max(len(line[i]) for line in cells) for i in range(len(header))]
    text = [[cell.ljust(width) for cell, width in zip(line, widths, strict=True)] for line in cells]
    rows = [f"| {' | '.join(line)} |" for line in text]
    return "\n".join([f"\n## {title}\n", rows[0], f"|{'|'.join('-' * (w + 2) for w in widths)}|", *rows[1:], ""])


def _cell(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, float) else str(value)
