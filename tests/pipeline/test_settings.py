"""Settings: flags over environment over a TOML file over defaults, and what is recorded of them."""

import json
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result
from conftest import fails
from stores import fill, make_schema

from logitpipe.cli import COMMANDS, cli


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of its own with the store s.zarr, and no settings from outside."""
    monkeypatch.chdir(tmp_path)
    fill(tmp_path / "s.zarr", make_schema("pixel"))
    return tmp_path


def pipe(*words: str, **variables: str) -> Result:
    return CliRunner().invoke(cli, words, env=variables)


def loaded(name: str) -> click.Command:
    """A command, its options bound to their variables."""
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    return command


def temperatures(*words: str, **variables: str) -> list[float]:
    """The temperatures that a run scores."""
    result = pipe(*words, "score", "s.zarr", "--methods", "msp", "--json", **variables)
    assert result.exit_code == 0, result.stderr
    return [row["temperature"] for row in json.loads(result.stdout)["results"]]


def test_a_flag_overrides_a_variable_a_variable_the_file_and_the_file_the_default(here):
    assert temperatures() == [1]
    (here / "pipe.toml").write_text('[score]\ntemperatures = "2,3"\n')
    assert temperatures() == [2, 3]
    assert temperatures(PIPE_SCORE_TEMPERATURES="4") == [4]
    result = pipe("score", "s.zarr", "--methods", "msp", "--temperatures", "5", "--json", PIPE_SCORE_TEMPERATURES="4")
    assert [row["temperature"] for row in json.loads(result.stdout)["results"]] == [5]


def test_a_named_file_takes_the_place_of_the_one_that_lies_here(here):
    (here / "pipe.toml").write_text('[score]\ntemperatures = "2"\n')
    (here / "other.toml").write_text("[score]\ntemperatures = 7\n")
    assert temperatures("--settings", "other.toml") == [7]
    assert temperatures(PIPE_SETTINGS="other.toml") == [7]
    (here / "empty.toml").write_text("")
    assert temperatures("--settings", "empty.toml") == [1]


def test_the_file_is_named_where_it_counts(here):
    (here / "pipe.toml").write_text("[score]\nmethods = 'msp'\n")
    words = ("score", "s.zarr", "--json")
    assert pipe(*words).stderr.splitlines()[0] == "pipe.toml sets defaults of `pipe score`"
    assert pipe("-q", *words).stderr == ""
    assert pipe("show", "s.zarr").stderr == ""


def test_the_results_say_what_was_set_and_where(here):
    (here / "pipe.toml").write_text('[score]\nmethods = "msp,energy"\nset = ["fpr=linear"]\nthreshold = [0.5, 1]\n')
    result = pipe("score", "s.zarr", "--temperatures", "0.5:1:0.5", "--out", "r", PIPE_SCORE_PROTOCOL="course")
    assert result.exit_code == 0, result.stderr
    document = json.loads((here / "r/settings.json").read_text())
    assert document["settings_file"] == "pipe.toml"
    settings = document["settings"]
    assert settings.pop("workers")["value"] >= 1
    assert settings == {
        "stores": {"value": ["s.zarr"], "from": "flag"},
        "methods": {"value": "msp,energy", "from": "file"},
        "temperatures": {"value": [0.5, 1.0], "from": "flag"},
        "map-temperatures": {"value": [1.0], "from": "default"},
        "mask-temperatures": {"value": [1.0], "from": "default"},
        "protocol": {"value": "course", "from": "environment"},
        "set": {"value": {"fpr": "linear"}, "from": "file"},
        "label-codes": {"value": [], "from": "default"},
        "threshold": {"value": [0.5, 1.0], "from": "file"},
        "exact": {"value": False, "from": "default"},
        "dask": {"value": None, "from": "default"},
        "statistics": {"value": None, "from": "default"},
        "allow-incomplete": {"value": False, "from": "default"},
        "out": {"value": "r", "from": "flag"},
        "overwrite": {"value": False, "from": "default"},
        "format": {"value": "table", "from": "default"},
        "json": {"value": False, "from": "default"},
        "metrics": {"value": ["auprc", "fpr95", "auroc"], "from": "default"},
        "resolve": {"value": "summary", "from": "default"},
        "also": {"value": [], "from": "default"},
        "label-space": {"value": "own", "from": "default"},
        "class-codes": {"value": None, "from": "default"},
        "summary": {"value": False, "from": "default"},
    }
    rows = json.loads((here / "r/results.json").read_text())["results"]
    assert {row["protocol"] for row in rows} == {"course+fpr=linear"}


def test_without_a_file_the_results_name_none(here):
    assert pipe("score", "s.zarr", "--out", "r").exit_code == 0
    assert json.loads((here / "r/settings.json").read_text())["settings_file"] is None


NO_SUCH = "there is no such setting; there are methods, "


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[score", "expected a TOML file: Expected ']' at the end of a table declaration (at end of document)"),
        ("temperatures = 2", "temperatures stands outside a table; put it under its command, such as [score]"),
        ("[scores]", "[scores]: there is no such command; there are infer, "),
        ("[score]\ntemperature = 2", f"[score] temperature: {NO_SUCH}"),
        ("[score]\nas_json = true", f"[score] as_json: {NO_SUCH}"),
        ("[score]\nstores = ['s.zarr']", f"[score] stores: {NO_SUCH}"),
        ("[score]\nallow-incomplete = true", f"[score] allow-incomplete: {NO_SUCH}"),
        ("[score]\nworkers = '2'", "[score] workers: a whole number is expected, found '2'"),
        ("[score]\nworkers = true", "[score] workers: a whole number is expected, found True"),
        ("[score]\nworkers = 0", "[score] workers: 0 is not in the range 1<=x<=256."),
        ("[score]\ntemperatures = [1, 2]", "[score] temperatures: a text is expected, found [1, 2]"),
        (
            "[score]\ntemperatures = 0",
            "[score] temperatures: a temperature is a number from 0.001 to 1000, and 0 is not",
        ),
        ("[score]\ntemperatures = true", "[score] temperatures: a text is expected, found True"),
        ("[score]\nexact = 'yes'", "[score] exact: true or false is expected, found 'yes'"),
        ("[score]\nthreshold = 0.5", "[score] threshold: a list is expected, as the flag is repeatable, found 0.5"),
        ("[score]\nthreshold = ['x']", "[score] threshold: a number is expected, found 'x'"),
        ("[score]\nset = ['fpr']", "[score] set: expected FIELD=VALUE, and found 'fpr'"),
        ("[score]\nprotocol = 'cours'", "[score] protocol: 'cours' is not one of 'standard', 'course', 'legacy'."),
        ("[maps]\nlimit = 1.5", "[maps] limit: a whole number is expected, found 1.5"),
    ],
)  # fmt: skip
def test_what_a_file_must_not_hold_is_named(here, text, message):
    (here / "pipe.toml").write_text(text)
    result = pipe("score", "s.zarr")
    assert (result.exit_code, result.stdout) == (2, "")
    assert result.stderr.splitlines()[-1].startswith(f"pipe: pipe.toml: {message}")


def test_a_number_is_text_where_a_flag_takes_text(here):
    (here / "pipe.toml").write_text("[score]\nout = 5\n")
    assert pipe("score", "s.zarr", "--methods", "msp").exit_code == 0
    assert (here / "5/results.json").exists()


def test_a_file_that_cannot_be_read_is_named(here):
    fails(
        pipe("--settings", "no.toml", "score", "s.zarr"),
        "pipe: --settings no.toml: cannot be read (No such file or directory)",
        code=2,
    )
    (here / "pipe.toml").write_bytes(b"\xff\xfe")
    result = pipe("score", "s.zarr")
    assert result.exit_code == 2
    assert result.stderr.startswith("pipe: pipe.toml: expected a TOML file: ")


@pytest.mark.usefixtures("here")
def test_a_wrong_variable_is_named():
    fails(
        pipe("score", "s.zarr", PIPE_SCORE_TEMPERATURES="x"),
        "pipe: Invalid value for '--temperatures': expected 0.5,1,2 or START:STOP:STEP, and found 'x' "
        "(from the variable PIPE_SCORE_TEMPERATURES)",
        code=2,
    )


def test_a_switch_of_the_file_can_be_taken_back(here):
    (here / "pipe.toml").write_text("[score]\nexact = true\njson = true\n")
    assert "exactly" in pipe("score", "s.zarr").stderr
    result = pipe("score", "s.zarr", "--no-exact", "--no-json")
    assert "exactly" not in result.stderr
    assert result.stdout.startswith("Tiny, protocol standard")


@pytest.mark.usefixtures("here")
def test_what_nothing_takes_back_comes_from_no_variable():
    assert pipe("score", "s.zarr", PIPE_SCORE_ALLOW_INCOMPLETE="1", PIPE_QUIET="1", PIPE_VERSION="1").exit_code == 0
    params = {p.name: p for p in loaded("infer").params}
    assert params["overwrite"].envvar is None
    assert params["names"].envvar == "PIPE_INFER_DATASET"
    assert params["data_root"].envvar == "PIPE_INFER_DATA_ROOT"


@pytest.mark.usefixtures("here")
def test_the_variable_of_the_tests_is_no_setting():
    assert temperatures(PIPE_REAL_DATA="/nowhere") == [1]
    variables = {p.envvar for command in (cli, *map(loaded, COMMANDS)) for p in command.params}
    assert "PIPE_REAL_DATA" not in variables


def test_required_flags_of_infer_come_from_the_file(run, here, data_root):
    (here / "pipe.toml").write_text('[infer]\nprecision = "float32"\nlimit = 2\n')
    result = run()
    assert result.exit_code == 0, result.stderr
    assert "Tiny: 2 of 2 images (2 new, 0 already there)" in result.stderr
    lines = ['network = "enet"', 'weights = "weights.pth"', 'dataset = ["Tiny"]', f'data-root = "{data_root}"']
    (here / "pipe.toml").write_text("\n".join(["[infer]", *lines, 'out = "o"']))
    assert pipe("infer").exit_code == 0
    assert (here / "o/zarr.json").exists()
