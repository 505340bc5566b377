"""Settings: flags over environment over a TOML file over defaults, and where each came from."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

from logitpipe.cache.errors import UsageError
from logitpipe.console.messages import detail

DEFAULT_FILE = Path("pipe.toml")
"""Read where no --settings names another."""

PROGRAM = "pipe"

WORDS = "logitpipe.console.settings.words"
"""Under this name a context keeps the words that followed `pipe`, for the record of a run."""

PREFIX = "PIPE"
"""Of the variables: PIPE_SETTINGS, PIPE_SCORE_TEMPERATURES."""

ORIGINS = {
    ParameterSource.COMMANDLINE: "flag",
    ParameterSource.ENVIRONMENT: "environment",
    ParameterSource.DEFAULT_MAP: "file",
    ParameterSource.DEFAULT: "default",
}
"""From the strongest to the weakest."""


def choose_file(_context: click.Context, _option: click.Parameter, path: Path | None) -> Path | None:
    """Return the settings file: the one that is named, or `pipe.toml` if there is one here."""
    return DEFAULT_FILE if path is None and DEFAULT_FILE.is_file() else path


def read_settings(context: click.Context, path: Path) -> dict[str, dict[str, Any]]:
    """Read a settings file as what click calls a default map: command -> name of parameter -> value.

    Parameters
    ----------
    context : of the group of commands
    path : a TOML file with a table for each command, its keys spelt as the flags are

    Raises
    ------
    UsageError
        The file cannot be read, or holds what no flag would accept; the message names file, table and key.
    """
    group = context.command
    assert isinstance(group, click.Group)
    defaults: dict[str, dict[str, Any]] = {}
    for name, table in _parsed(path).items():
        if not isinstance(table, Mapping):
            raise UsageError(f"{path}: {name} stands outside a table; put it under its command, such as [score]")
        command = group.get_command(context, name)
        if command is None:
            names = ", ".join(group.list_commands(context))
            raise UsageError(f"{path}: [{name}]: there is no such command; there are {names}")
        # Each value goes through the option's own checks here, so that an error can name file, table and key;
        # click itself would blame a flag that nobody typed.
        own = click.Context(command, parent=context, info_name=name)
        defaults[name] = dict(_checked(own, f"{path}: [{name}] {key}", key, table[key]) for key in table)
    return defaults


def resolved(context: click.Context) -> dict[str, dict[str, Any]]:
    """Return every setting of a command: its `value`, as JSON holds it, and its origin, `from`."""
    names = {flag_name(parameter): str(parameter.name) for parameter in context.command.params}
    return {
        flag: {"value": _as_json(context.params[name]), "from": origin(context, name)}
        for flag, name in names.items()
        if name in context.params
    }


def details(context: click.Context) -> None:
    """Say with -v what a command was called with, and where each setting came from."""
    for name, setting in resolved(context).items():
        detail(f"{name} = {json.dumps(setting['value'])} ({setting['from']})")


def bind_variables(command: click.Command, *name: str) -> None:
    """Let the options of a command read variables named after it and their flags: PIPE_SCORE_TEMPERATURES.

    `name` is the command's; without it the variables are those of `pipe` itself, such as PIPE_SETTINGS.
    """
    for option in _options(command):
        # click reads os.environ when the command is parsed; binding the names here needs no variable to be set.
        option.envvar = "_".join([PREFIX, *name, flag_name(option)]).replace("-", "_").upper()


def blamed_variable(error: click.UsageError) -> str:
    """Return words that name the environment variable whose value is wrong; empty where a flag is wrong."""
    option = error.param if isinstance(error, click.BadParameter) else None
    if isinstance(option, click.Option) and error.ctx and origin(error.ctx, str(option.name)) == "environment":
        return f" (from the variable {option.envvar})"
    return ""


def origin(context: click.Context, parameter: str) -> str:
    """Return where the value of a parameter came from: flag, environment, file or default."""
    source = context.get_parameter_source(parameter)
    return ORIGINS[source or ParameterSource.DEFAULT]


def stronger(origin: str, other: str) -> bool:
    """Return whether what comes from one origin overrides what comes from the other."""
    # ORIGINS is ordered from the strongest to the weakest; this comparison depends on it.
    order = list(ORIGINS.values())
    return order.index(origin) < order.index(other)


def flag_name(parameter: click.Parameter) -> str:
    """Return how a setting is called: as its flag, without the dashes."""
    return max(parameter.opts, key=len).removeprefix("--")


def _parsed(path: Path) -> dict[str, Any]:
    import tomllib

    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UsageError(f"--settings {path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UsageError(f"{path}: expected a TOML file: {error}") from error


def _checked(context: click.Context, where: str, key: str, value: object) -> tuple[str, object]:
    """Return a parameter's name and its value, which its own option has accepted."""
    options = {flag_name(option): option for option in _options(context.command)}
    if key not in options:
        raise UsageError(f"{where}: there is no such setting; there are {', '.join(options)}")
    found = _typed(options[key], where, value)
    try:
        options[key].process_value(context, found)
    except click.UsageError as error:
        raise UsageError(f"{where}: {error.message}") from error
    # The value as written, not as converted: click converts what is in the default map itself.
    return str(options[key].name), found


def _options(command: click.Command) -> list[click.Option]:
    """Return the options that a file or a variable may set: those that a flag can always override.

    A switch that no other switch takes back, such as --overwrite, is for the command line alone.
    """
    options = [parameter for parameter in command.params if isinstance(parameter, click.Option)]
    return [option for option in options if not option.is_flag or option.secondary_opts]


def _typed(option: click.Option, where: str, value: object) -> object:
    """Return a value of the type that an option's flag takes, a list of them if the flag is repeatable."""
    if option.multiple:
        # A text would pass for a list of its letters.
        if not isinstance(value, list):
            raise UsageError(f"{where}: a list is expected, as the flag is repeatable, found {value!r}")
        return [_single(option, where, item) for item in value]
    return _single(option, where, value)


def _single(option: click.Option, where: str, value: object) -> object:
    expected, types = _expected(option)
    # In Python a bool is an int; here it is none.
    if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
        raise UsageError(f"{where}: {expected} is expected, found {value!r}")
    return str(value) if str in types else value


def _expected(option: click.Option) -> tuple[str, tuple[type, ...]]:
    if option.is_flag:
        return "true or false", (bool,)
    if isinstance(option.type, click.types.IntParamType):
        return "a whole number", (int,)
    if isinstance(option.type, click.types.FloatParamType):
        return "a number", (int, float)
    return "a text", (str, int, float)  # a number is text enough: temperatures = 0.5


def _as_json(value: object) -> object:
    if isinstance(value, list | tuple):
        return [_as_json(item) for item in value]
    return str(value) if isinstance(value, Path) else value
