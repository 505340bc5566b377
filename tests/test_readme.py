"""What the README prints is what happens."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner

from pipeline.cli import cli
from stages.score.methods import METHODS
from stages.score.protocols import PROTOCOLS

README = (Path(__file__).parents[1] / "README.md").read_text(encoding="utf-8")


def session() -> tuple[list[str], str]:
    """The commands of the README's session and the table that follows it."""
    block = re.search(r"<!-- session.*?```console\n(.*?)```\n\n```text\n(.*?)```", README, re.DOTALL)
    assert block
    return [line.removeprefix("$ pipe ") for line in block[1].splitlines()], block[2]


def test_the_session_works_as_printed(real_data, tmp_path, monkeypatch):
    for name in ("RoadAnomaly21", "weights"):
        (tmp_path / name).symlink_to(real_data / name)
    monkeypatch.chdir(tmp_path)
    commands, table = session()
    assert len(commands) == 3
    for command in commands:
        result = CliRunner().invoke(cli, shlex.split(command))
        assert result.exit_code == 0, result.stderr
    # A float16 store may round the last digit otherwise on another processor.
    printed, found = (re.split(r"\s+", text.strip()) for text in (table, result.stdout))
    assert len(found) == len(printed)
    for a, b in zip(found, printed, strict=True):
        assert a == b or abs(float(a) - float(b)) < 0.005


@pytest.mark.parametrize("kind", METHODS)
def test_every_method_is_in_its_table(kind):
    header = f"| {kind} networks | score | T |"
    table = README[README.index(header) :].split("\n\n")[0]
    rows = re.findall(r"^\| `([a-z0-9-]+)` \|.*\| (yes|no) \|$", table, re.MULTILINE)
    assert dict(rows) == {name: "yes" if method.temperature else "no" for name, method in METHODS[kind].items()}


def test_every_protocol_and_command_is_named():
    assert all(f"`{name}`" in README for name in PROTOCOLS)
    assert all(f"| `pipe {name}" in README for name in cli.commands)
