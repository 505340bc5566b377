"""`pipe` itself: its help, and commands that are loaded when they are called."""

import re

import click
import pytest
from click.testing import CliRunner

from logitpipe.cli import COMMANDS, cli

TERMINAL = 80


@pytest.mark.parametrize("name", COMMANDS)
def test_the_line_of_a_command_is_the_first_of_its_own_help(name):
    command = cli.get_command(click.Context(cli), name)
    assert command is not None
    assert command.name == name
    _, line = COMMANDS[name]
    assert command.get_short_help_str(limit=1000) == line


def test_the_help_has_a_whole_line_for_each_command():
    text = CliRunner().invoke(cli, ["--help"]).stdout
    lines = text.partition("Commands:\n")[2].splitlines()
    assert [re.split(r" {2,}", line.strip()) for line in lines] == [
        [name, line] for name, (_, line) in COMMANDS.items()
    ]
    assert max(map(len, lines)) < TERMINAL


def test_an_unknown_command_is_refused():
    result = CliRunner().invoke(cli, ["scroe"])
    assert result.exit_code == 2
    assert "No such command 'scroe'" in result.stderr
