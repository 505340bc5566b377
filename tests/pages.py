"""`pipe score` and `pipe report` called, and the page taken apart."""

import json
from html.parser import HTMLParser
from pathlib import Path

from click.testing import CliRunner, Result

from logitpipe.cli import cli

VOID_ELEMENTS = ("img", "meta", "br")


class Page(HTMLParser):
    """A page taken apart: elements with their attributes, texts of tables, and whether all was closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.tables: list[list[list[str]]] = []
        self.captions: list[str] = []
        self.strong: list[str] = []
        self.texts: list[str] = []
        self.titles: list[str] = []
        self.path: list[str] = []
        self.feed(text)
        assert self.path == []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in VOID_ELEMENTS:
            self.path.append(tag)
        if tag == "table":
            self.tables.append([])
            self.captions.append("")
        elif tag == "tr":
            self.tables[-1].append([])
        elif tag in ("td", "th"):
            self.tables[-1][-1].append("")

    def handle_endtag(self, tag):
        assert self.path.pop() == tag

    def handle_data(self, data):
        self.texts.append(data)
        if "td" in self.path or "th" in self.path:
            self.tables[-1][-1][-1] += data
        if "caption" in self.path:
            self.captions[-1] += data
        if "strong" in self.path:
            self.strong.append(data)
        if "svg" in self.path and self.path[-1] in ("title", "desc"):
            self.titles.append(data)

    def table(self, caption: str) -> list[list[str]]:
        return self.tables[next(i for i, text in enumerate(self.captions) if text.startswith(caption))]


def call(*words: object) -> Result:
    return CliRunner().invoke(cli, list(map(str, words)))


def scored(folder: Path, *words: object) -> Path:
    """Score stores into a folder beside them."""
    result = call("score", *words, "--out", folder / "out")
    assert result.exit_code in (0, 3), result.stderr
    return folder / "out"


def report(*folders: Path) -> Page:
    result = call("report", *folders)
    assert result.exit_code == 0, result.stderr
    return Page(Path(result.stdout.rstrip("\n")).read_text(encoding="utf-8"))


def results(folder: Path) -> list[dict]:
    return json.loads((folder / "results.json").read_text())["results"]
