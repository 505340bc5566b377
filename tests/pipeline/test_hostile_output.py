"""A store whose every name tries to act: on the terminal, on a table, on a spreadsheet, on a page."""

import csv
import io
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
import xarray
from click.testing import CliRunner, Result
from hostile import ESCAPES, RAW
from rows import make_row
from stores import fill, make_schema

from logitpipe.cache import open_dataset
from logitpipe.cli import cli
from logitpipe.console import messages
from logitpipe.console.text import abridged
from logitpipe.results.plain_rows import as_csv
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.comparison import comparison_tables
from logitpipe.tables.render import markdown

ROOT = Path(__file__).parents[2]
LONE = "\udce9"
"""What Python makes of a byte in a file name that is no UTF-8; no text file can hold it."""


def named(folder: Path, evil: str) -> Path:
    """A store of three images, one of them missing, in whose names a text is added to plain ones."""
    schema = make_schema("pixel", images=[f"{name}{evil}{LONE}" for name in "abc"])
    facts = {f"fact{evil}": [f"value{evil}{LONE}"]}
    return fill(
        folder / "store",
        replace(
            schema,
            network=f"=net{evil}{LONE}",
            dataset=f"@data{evil}{LONE}",
            classes=tuple(f"{name}{evil}{LONE}" for name in schema.classes),
            weights_sha256=evil,
            facts=facts,
            preprocessing=facts,
            software={f"torch{evil}": f"{evil}{LONE}"},
        ),
        images=[0, 2],
    )


@pytest.fixture(scope="module")
def evil(tmp_path_factory) -> Path:
    return named(tmp_path_factory.mktemp("evil"), ESCAPES)


@pytest.fixture(scope="module")
def plain(tmp_path_factory) -> Path:
    return named(tmp_path_factory.mktemp("plain"), "")


@pytest.fixture(autouse=True)
def without_haste(monkeypatch):
    """Keep the command from telling that compiling takes long, which it may or may not."""
    monkeypatch.setattr(messages, "SECONDS_BEFORE_WORD", 1e6)


def pipe(*words: object) -> Result:
    return CliRunner().invoke(cli, [str(word) for word in words])


COMMANDS = {
    "show": ("show",),
    "show as JSON": ("show", "--json"),
    "verify": ("verify",),
    "score what is incomplete": ("score",),
    "score": ("score", "--allow-incomplete", "--temperatures", "0.001,1"),
    "score, in words": ("-v", "score", "--allow-incomplete"),
    "score as Markdown": ("score", "--allow-incomplete", "--format", "markdown"),
    "score as LaTeX": ("score", "--allow-incomplete", "--format", "latex"),
    "score as CSV": ("score", "--allow-incomplete", "--format", "csv"),
    "score as JSON": ("score", "--allow-incomplete", "--json"),
    "codes that are not known": ("score", "--allow-incomplete", "--label-codes", "normal=7,anomaly=8"),
    "a method that is none": ("score", "--allow-incomplete", "--methods", "rba"),
    "an image that is none": ("maps", "--method", "msp", "--images", "z", "--out", "OUT"),
    "pack what is incomplete": ("pack", "--out", "OUT"),
    "pack": ("pack", "--allow-incomplete", "--out", "OUT"),
    "maps": ("maps", "--method", "msp", "--out", "OUT"),
    "maps of two images": ("maps", "--method", "msp", "--limit", "2", "--out", "OUT"),
}


@pytest.mark.parametrize("name", COMMANDS)
def test_no_command_prints_what_a_name_would_do(evil, plain, tmp_path, name):
    places = {evil: str(tmp_path / "evil"), plain: str(tmp_path / "plain")}
    ours, theirs = (
        pipe(*(place if word == "OUT" else word for word in COMMANDS[name]), store) for store, place in places.items()
    )
    assert ours.exit_code == theirs.exit_code
    assert not set(ours.output.replace("\n", "")) & set(RAW + "\n")
    if name not in ("show", "show as JSON"):  # these break long lines
        assert len(ours.output.splitlines()) == len(theirs.output.splitlines())


@pytest.mark.parametrize("key", ["zarr.json", "records/0.json", "logits/c/0/0/0/0", "label_size/c/0/0"])
@pytest.mark.parametrize("command", ["verify", "score"])
def test_no_error_prints_what_a_name_would_do(tmp_path, key, command):
    path = named(tmp_path / ESCAPES.replace("\x00", "").replace("/", ""), ESCAPES)
    data = (path / key).read_bytes()
    (path / key).write_bytes(data.replace(b"a", b"b") + b"\x00")
    result = pipe(command, path, *(["--allow-incomplete"] if command == "score" else []))
    assert result.exit_code == 4
    assert not set(result.output) & set(RAW)
    assert "\\x1b[31mred" in result.output


def row(**facts: object) -> Row:
    return make_row(**{"store": "s", "network": "n", "dataset": "d", "best_f1_threshold": -3.5} | facts)


@pytest.fixture(scope="module")
def results(evil, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("results")
    assert pipe("score", evil, "--allow-incomplete", "--out", folder).exit_code == 3
    return folder


def test_json_has_the_names_as_they_are(results):
    rows = json.loads((results / "results.json").read_text(encoding="utf-8"))["results"]
    assert {row["dataset"] for row in rows} == {f"@data{ESCAPES}{LONE}"}


def test_csv_has_a_line_for_each_row_and_no_formula(results):
    text = (results / "results.csv").read_text(encoding="utf-8")
    assert not set(text) & set(RAW + LONE)
    header, *rows = list(csv.reader(io.StringIO(text)))
    assert len(text.splitlines()) == len(rows) + 1 == 6
    assert {len(row) for row in rows} == {len(header)}
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "@"))]
    assert rows[0][header.index("dataset")].startswith("'@data\\x1b[31mred")


@pytest.mark.parametrize("name", ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0"])
def test_a_name_that_would_be_a_formula_is_text(name):
    cells = next(csv.DictReader(io.StringIO(as_csv([row(dataset=name)]))))
    assert cells["dataset"] == f"'{name}"
    assert cells["best_f1_threshold"] == "-3.5"


def test_a_name_that_is_none_stays_as_it_is():
    cells = next(csv.DictReader(io.StringIO(as_csv([row(dataset="fs_static", store="a=b/-c, d.zarr")]))))
    assert (cells["dataset"], cells["store"]) == ("fs_static", "a=b/-c, d.zarr")


def test_markdown_keeps_its_columns_and_its_text(results):
    text = (results / "results.md").read_text(encoding="utf-8")
    assert not set(text) & set(RAW + LONE)
    title, blank, *lines = text.splitlines()
    assert title.startswith("**@data\\\\x1b\\[31mred")
    assert blank == ""
    assert {line.replace("\\|", "").count("|") for line in lines} == {6}
    assert "<b" not in text.replace("\\<", "")


def test_markdown_takes_no_link_no_html_and_no_code_from_a_name():
    (table,) = comparison_tables([row(network="[x](http://a) <b> `c` *d* ~e~ &amp; f_g | h", dataset="a_b")])
    assert "\\[x](http://a) \\<b> \\`c\\` \\*d\\* \\~e\\~ \\&amp; f\\_g \\| h AuPRC" in markdown(table)
    assert markdown(table).startswith("**a\\_b, ")


def test_the_page_shows_names_as_text(results):
    done = pipe("report", results)
    assert done.exit_code == 0
    assert not set(done.output) & set(RAW)
    page = next(results.glob("*.html")).read_text(encoding="utf-8")
    assert not set(page) & set(RAW + LONE)
    assert "|`<b>" not in page
    assert "|`&lt;b&gt;" in page


def test_the_figures_open_in_xarray(results):
    dataset = xarray.open_zarr(results / "results.zarr")
    assert dataset["auprc"].notnull().all()
    assert not set(str(dataset["dataset"].values[0])) & set(RAW + LONE)


def test_the_store_opens_in_xarray(evil):
    assert open_dataset(evil)["image"].values[0] == f"a{ESCAPES}{LONE}"


@pytest.mark.parametrize(("command", "code"), [("show", 0), ("verify", 3)])
def test_letters_that_the_terminal_lacks_are_escaped(tmp_path, command, code):
    path = named(tmp_path / "caf\u00e9", "\u65e5\u672c")
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1", "PYTHONPATH": str(ROOT)}
    words = [sys.executable, "-m", "logitpipe", command, str(path)]
    done = subprocess.run(words, capture_output=True, env=environment, check=False)
    assert (done.returncode, b"Traceback" in done.stderr) == (code, False)
    assert b"/caf\xe9/store: " in done.stdout
    assert b"\\u65e5\\u672c" in done.stdout


def test_long_text_keeps_its_ends():
    assert abridged("a" * 2000) == "a" * 2000
    assert abridged("what" + "x" * 10**6 + "remedy", 20) == "whatxxxxxx ... xxxxremedy"
