"""`pipe score --format`, `-v`, `-q`, and what a real terminal gets."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import fails
from stores import fill, make_schema

from logitpipe.cli import COMMANDS, cli
from logitpipe.tables.formats import SUMMARY

ROOT = Path(__file__).parents[2]


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return fill(tmp_path / "s.zarr", make_schema("pixel"))


def pipe(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


def test_csv_and_json_are_the_files(store, tmp_path):
    words = ("score", store, "--threshold", 0.5, "--out", tmp_path / "r", "--overwrite", "--format")
    assert pipe(*words, "csv").stdout == (tmp_path / "r/results.csv").read_text()
    assert json.loads(pipe(*words, "json").stdout) == json.loads((tmp_path / "r/results.json").read_text())
    assert pipe(*words, "markdown").stdout == (tmp_path / "r/results.md").read_text()
    assert pipe("score", store, "--json").stdout == pipe("score", store, "--format", "json").stdout


def test_latex_and_the_table_hold_the_same_figures(store):
    latex, table = (pipe("score", store, "--format", name).stdout for name in ("latex", "table"))
    figures = [re.findall(r"\b\d+\.\d{3}\b", text) for text in (latex, table)]
    assert figures[0] == figures[1] != []
    assert latex.endswith("\\end{table}\n")
    assert table.endswith("*: best of its column\n")


def test_two_formats_are_wrong_usage(store):
    message = "pipe: --json and --format latex are two formats; leave one of them out"
    fails(pipe("score", store, "--json", "--format", "latex"), message, code=2)


@pytest.mark.parametrize(
    ("setting", "flags", "start"),
    [
        ('format = "latex"', ["--json"], '{"schema_version"'),
        ("json = true", ["--format", "markdown"], "**Tiny"),
        ("json = true", [], '{"schema_version"'),
        ('format = "csv"', [], "store,network"),
    ],
)
def test_the_stronger_of_two_formats_wins(store, monkeypatch, setting, flags, start):
    monkeypatch.chdir(store.parent)
    Path("pipe.toml").write_text(f"[score]\n{setting}\n")
    assert pipe("score", store, *flags).stdout.startswith(start)


def test_a_summary_is_for_tables(store):
    sweep = ("score", store, "--temperatures", "0.5,1,2,4", "--methods", "msp", "--summary", "--format")
    lines = pipe(*sweep, "table").stdout.splitlines()
    assert lines[-1] == SUMMARY
    temperatures = [line.split()[1] for line in lines if line.startswith("msp")]
    assert "1" in temperatures
    assert len(temperatures) <= 2
    assert len(pipe(*sweep, "csv").stdout.splitlines()) == 5


def test_quiet_leaves_results_and_errors(store, tmp_path):
    result = pipe("-q", "score", store)
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == pipe("score", store).stdout
    (tmp_path / "empty").mkdir()
    line = f"pipe: {tmp_path / 'empty'}: expected a logit store, but there is no zarr.json; `pipe infer` makes one"
    fails(pipe("-q", "score", tmp_path / "empty"), line)


def test_verbose_tells_versions_settings_and_what_is_read(store):
    lines = pipe("-v", "score", store, "--methods", "msp").stderr.splitlines()
    assert re.fullmatch(r"logitpipe \S+, click \S+, numpy \S+, numba \S+, zarr \S+, Python 3\.\d+\.\d+", lines[0])
    assert f'stores = ["{store}"] (flag)' in lines
    assert "temperatures = [1.0] (default)" in lines
    size = sum(file.stat().st_size for file in store.rglob("c/**/*") if file.is_file()) / 1000
    assert f"{store}: 3 images of enet on Tiny, {size:.1f} kB; 1 pairs of method and temperature" in lines
    plain = pipe("score", store, "--methods", "msp").stderr.splitlines()
    assert not {"temperatures = [1.0] (default)", lines[0]} & set(plain)


def test_infer_tells_with_which_settings(data_root):
    words = ["--weights", "no.pth", "--network", "enet", "--dataset", "Tiny", "--data-root", data_root, "--out", "o"]
    lines = pipe("-v", "infer", *words).stderr.splitlines()
    assert 'dataset = ["Tiny"] (flag)' in lines
    assert "shard = [0, 1] (default)" in lines


def test_infer_that_goes_on_counts_what_is_there(run):
    assert "enet on cpu, Tiny: 0/3 images\n" in run("--shard", "0/2").stderr
    *_, first, last, summary = run().stderr.splitlines()
    assert first == "enet on cpu, Tiny: 3/5 images, 3 of them already there"
    assert last.startswith("enet on cpu, Tiny: 5/5 images, ")
    assert summary.startswith("Tiny: 5 of 5 images (2 new, 3 already there), ")


def test_verbose_and_quiet_contradict_each_other(store):
    message = "pipe: --verbose and --quiet contradict each other; leave one of them out"
    fails(pipe("-v", "-q", "score", store), message, code=2)


def test_the_version_is_told():
    assert re.fullmatch(r"pipe, version \d+\.\d+\.\d+\n", pipe("--version").stdout)


def on_terminal(store: Path, width: int, **variables: str) -> str:
    """What `pipe -q score` writes to a terminal of so many columns."""
    import fcntl
    import struct
    import termios

    ours, theirs = os.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, width, 0, 0))
    words = [sys.executable, "-m", "logitpipe", "-q", "score", str(store), "--methods", "msp,maxlogit"]
    environment = {k: v for k, v in os.environ.items() if k != "NO_COLOR"} | {"TERM": "xterm"} | variables
    with os.fdopen(theirs, "w") as stream:
        subprocess.run(words, stdout=stream, check=True, cwd=ROOT, env=environment)
        text = os.read(ours, 1 << 16).decode()
    os.close(ours)
    return text.replace("\r\n", "\n")


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "openpty"), reason="no pseudo-terminals here")
@pytest.mark.parametrize(
    ("width", "variables", "bold", "split"),
    [
        (80, {}, True, False),
        (40, {}, True, True),
        (80, {"NO_COLOR": "1"}, False, False),
        (80, {"NO_COLOR": ""}, True, False),
        (80, {"TERM": "dumb"}, False, False),
    ],
)
def test_a_terminal_gets_what_it_can_show(store, width, variables, bold, split):
    text = on_terminal(store, width, **variables)
    assert ("\x1b" in text, "*" in text) == (bold, not bold)
    assert ("\nenet\nmethod" in text) == split
    if not bold:
        assert text == pipe("-q", "score", store, "--methods", "msp,maxlogit").stdout


@pytest.mark.parametrize("name", COMMANDS)
def test_help_prints_no_marks_of_its_source(name):
    text = pipe(name, "--help").stdout
    assert "\\b" not in text and "\b" not in text
    assert "Examples:" not in text or "\n  Examples:\n" in text
