"""What the README prints is what happens."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitpipe.cli import COMMANDS, cli
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.protocols import PROTOCOLS

ROOT = Path(__file__).parents[1]
README, METHODS_PAGE, WORKING_PAGE = (
    (ROOT / page).read_text(encoding="utf-8") for page in ("README.md", "docs/methods.md", "docs/working.md")
)
MOST_LINES = 200


def session(name: str) -> tuple[list[str], str]:
    """The commands of a session of the README or its pages and the text that follows it."""
    pages = README + WORKING_PAGE + METHODS_PAGE
    block = re.search(rf"<!-- {name}:.*?```console\n(.*?)```\n\n```text\n(.*?)```", pages, re.DOTALL)
    assert block
    return [line.removeprefix("$ pipe ") for line in block[1].splitlines()], block[2]


def assert_same(printed: str, found: str) -> None:
    """Compare words, marks of the best included; a float16 store may round a digit otherwise on another processor."""
    words = list(zip(printed.split(), found.split(), strict=True))
    for a, b in words:
        assert a.count("*") == b.count("*")
        assert a == b or abs(float(a.strip("*")) - float(b.strip("*"))) < 0.005


def test_the_sessions_work_as_printed(real_data, tmp_path, monkeypatch):
    for name in ("RoadAnomaly21", "weights"):
        (tmp_path / name).symlink_to(real_data / name)
    monkeypatch.chdir(tmp_path)
    for name, count in (("session", 3), ("summary", 1), ("match", 1)):
        commands, printed = session(name)
        assert len(commands) == count
        for command in commands:
            result = CliRunner().invoke(cli, shlex.split(command))
            assert result.exit_code == 0, result.stderr
        assert_same(printed, result.stdout)


def test_the_settings_file_is_one(tmp_path, monkeypatch):
    text = re.search(r"```toml\n(.*?)```", WORKING_PAGE, re.DOTALL)
    assert text
    monkeypatch.chdir(tmp_path)
    Path("pipe.toml").write_text(text[1])
    result = CliRunner().invoke(cli, ["score", "nothing"])
    assert result.stderr.startswith("pipe.toml sets defaults of `pipe score`\npipe: nothing: expected a logit store")


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_in_its_table(kind):
    table = METHODS_PAGE[METHODS_PAGE.index(f"| {kind} networks | score |") :].split("\n\n")[0]
    rows = [re.split(r" ?(?<!\\)\| ?", line)[1:6] for line in table.splitlines()[2:]]
    assert [row[0] for row in rows] == [f"`{name}`" for name in METHODS[kind]]
    for (_, formula, temperatures, source, aliases), method in zip(rows, METHODS[kind].values(), strict=True):
        assert formula.startswith(method.formula)
        assert all(f"`{name}`" in formula for name in method.parameters)
        assert (temperatures, source) == (", ".join(method.temperatures) or "none", method.source)
        assert aliases == ", ".join(method.aliases)


def test_every_protocol_and_command_is_named():
    assert all(f"`{name}`" in METHODS_PAGE for name in PROTOCOLS)
    assert all(f"| `pipe {name}" in README for name in COMMANDS)


def test_it_stays_short_and_leads_somewhere():
    assert len(README.splitlines()) <= MOST_LINES
    for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md")):
        for link in re.findall(r"\]\((?!http)([^)#]+)", page.read_text(encoding="utf-8")):
            assert (page.parent / link).exists(), (page.name, link)
