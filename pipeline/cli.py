"""The command `pipe`: its subcommands, and what becomes of an error."""

import errno
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, NoReturn

import click

from logitpipe.cache.errors import IntegrityError, PipeError
from logitpipe.console import exits
from logitpipe.console.advice import DAMAGED_ADVICE, LESS_MEMORY, with_advice
from logitpipe.console.messages import detail, note
from logitpipe.console.settings import PROGRAM, WORDS, bind_variables, blamed_variable, choose_file, read_settings
from logitpipe.console.streams import OutputError, guard_streams
from logitpipe.console.text import abridged, printable

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

COMMANDS: Mapping[str, tuple[str, str]] = {
    "infer": ("infer:infer", "Run a network over data sets once and keep its logits."),
    "score": ("score:score", "Score stores with every method at every temperature."),
    "show": ("show:show", "Show what is in stores, and how complete they are."),
    "table": ("table:table", "Print results as one table, as papers have it."),
    "compare": ("compare:compare", "Say which methods and networks differ, and by how much."),
    "figure": ("figure:figure", "Draw results as papers print them."),
    "report": ("report:report", "Make one HTML page of results."),
    "maps": ("maps:maps", "Draw each image beside its ground truth and its scores."),
    "list": ("list:list_names", "List networks, methods, protocols, metrics or layouts."),
    "labels": ("labels:labels", "Count the codes in a folder of masks."),
    "verify": ("verify:verify", "Read every byte of stores and check it."),
    "pack": ("pack:pack", "Make one zip of a store, which every command reads."),
    "fit": ("fit:fit", "Fit temperatures and statistics without anomalies."),
    "delta": ("delta:delta", "Print what each choice of a protocol changes."),
    "match": ("match:match", "Find the method and protocol that print given numbers."),
    "export": ("export:export", "Write score maps as the benchmarks' tools read them."),
    "demo": ("demo:demo", "See it work: two trained networks on drawn scenes."),
    "completion": ("completion:completion", "Print a script that teaches a shell to complete `pipe`."),
}
"""Name -> `module:attribute` in logitpipe.commands, and its line in `pipe --help`: the first of the command's own
help, repeated here so that `pipe --help` and a press of the tab key need not load every command."""

GLOBAL_FLAGS = ("-q", "--quiet", "-v", "--verbose")
"""They may also stand after the name of a command, none of which has a flag or takes a value of that name."""


NO_THREAD = "can't start new thread"
"""What Python says where a thread has no room for its stack, or the system allows no more of them."""


class Terminated(KeyboardInterrupt):
    """SIGTERM of a batch system, or SIGHUP of a terminal that was closed, ends a run as Ctrl-C does."""

    code = exits.BY_SIGNAL + signal.SIGTERM


class Commands(click.Group):
    """The commands of `pipe`, each loaded when it is called.

    Whatever a user did wrong, a command ends in one clear line and the right exit code.
    """

    def list_commands(self, _ctx: click.Context) -> list[str]:
        """Return the names of all commands, in the order in which they are met."""
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Return a command, loaded now if it was not yet; None where there is none of that name."""
        if name in COMMANDS and name not in self.commands:
            module, attribute = COMMANDS[name][0].split(":")
            command: click.Command = getattr(import_module(f"logitpipe.commands.{module}"), attribute)
            bind_variables(command, name)
            self.add_command(command, name)
        return super().get_command(ctx, name)

    def format_commands(self, _ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands' lines into the help."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in COMMANDS.items()])

    def shell_complete(self, ctx: click.Context, incomplete: str) -> "list[CompletionItem]":
        """Complete the name of a command, or a flag that stands before it."""
        from click.shell_completion import CompletionItem

        names = [CompletionItem(name, help=COMMANDS[name][1]) for name in COMMANDS if name.startswith(incomplete)]
        return names + click.Command.shell_complete(self, ctx, incomplete)

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Keep the command line as it was typed, for the record of a run; `pipe score -q` is `pipe -q score`."""
        ctx.meta[WORDS] = tuple(args)
        end = args.index("--") if "--" in args else len(args)
        moved = [word for word in args[:end] if word in GLOBAL_FLAGS]
        return super().parse_args(ctx, moved + [word for word in args[:end] if word not in moved] + args[end:])

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; translate the project's errors into a line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            line, code = f"{error.format_message()}{blamed_variable(error)}", exits.USAGE
        except PipeError as error:
            damaged = isinstance(error, IntegrityError) and ctx.invoked_subcommand != "infer"
            line, code = f"{with_advice(error)}{f'; {DAMAGED_ADVICE}' if damaged else ''}", exits.exit_code(error)
        except OSError as error:
            if isinstance(error, OutputError):
                raise
            line, code = _of_the_system(error, ctx.invoked_subcommand), exits.FAILED
        except MemoryError as error:
            line, code = _too_little_memory(str(error), ctx.invoked_subcommand), exits.FAILED
        except RuntimeError as error:
            if str(error) != NO_THREAD:
                raise
            line, code = _too_little_memory(NO_THREAD, ctx.invoked_subcommand), exits.FAILED
        except KeyboardInterrupt as interruption:
            again = "goes on where it stopped" if ctx.invoked_subcommand == "demo" else "begins anew"
            line = f"interrupted; {str(interruption) or f'the same command again {again}'}"
            code = interruption.code if isinstance(interruption, Terminated) else exits.INTERRUPTED
        _say(line)
        raise click.exceptions.Exit(code)


def _say(text: str) -> None:
    """Print one line on stderr, whatever the names and paths in it hold."""
    click.echo(abridged(printable(f"pipe: {text}")), err=True)


def _of_the_system(error: OSError, command: str | None) -> str:
    """Return what the system refused, in words; it names no file where memory could not be had."""
    if error.errno == errno.ENOMEM:
        return _too_little_memory(str(error.strerror), command)
    return error.strerror or str(error) if error.filename is None else f"{error.filename}: {error.strerror}"


def _too_little_memory(cause: str, command: str | None) -> str:
    advice = LESS_MEMORY.get(str(command))
    return f"there is too little memory{f' ({cause})' if cause else ''}{f'; {advice}' if advice else ''}"


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--settings",
    type=click.Path(path_type=Path),
    callback=choose_file,
    metavar="FILE",
    help="TOML file of defaults  [default: pipe.toml, where there is one]",
)
@click.option("-v", "--verbose", is_flag=True, help="Say what is read, with which settings and versions.")
@click.option("-q", "--quiet", is_flag=True, help="Say nothing but results and errors.")
@click.version_option(package_name="logitpipe", prog_name="pipe")
@click.pass_context
def cli(ctx: click.Context, settings: Path | None, verbose: bool, quiet: bool) -> None:
    """Run a segmentation network once, score its cached logits with every post-hoc anomaly method."""
    if verbose and quiet:
        raise click.UsageError("--verbose and --quiet contradict each other; leave one of them out")
    if verbose:
        detail(_versions())
    if settings is not None:
        ctx.default_map = read_settings(ctx, settings)
        if ctx.invoked_subcommand in ctx.default_map:
            note(f"{settings} sets defaults of `pipe {ctx.invoked_subcommand}`")


bind_variables(cli)


def _versions() -> str:
    import platform
    from importlib.metadata import version

    packages = ("logitpipe", "click", "numpy", "numba", "zarr")
    return ", ".join([*(f"{name} {version(name)}" for name in packages), f"Python {platform.python_version()}"])


def main() -> None:
    """Run the command line; where its results cannot be written, say so in a line."""
    signal.signal(signal.SIGTERM, _terminate)
    # Under nohup it is ignored, and shall be.
    if hasattr(signal, "SIGHUP") and signal.getsignal(signal.SIGHUP) == signal.SIG_DFL:
        signal.signal(signal.SIGHUP, _terminate)
    guard_streams()
    try:
        cli(prog_name=PROGRAM)
    except OutputError as error:
        click.echo(f"pipe: the results cannot be written to stdout ({error.strerror})", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exits.FAILED)
    except SystemExit as end:
        if isinstance(end.code, int) and end.code > exits.BY_SIGNAL:
            _leave(end.code)
        raise


def _terminate(number: int, _frame: FrameType | None) -> NoReturn:
    end = Terminated()
    end.code = exits.BY_SIGNAL + number
    raise end


def _leave(code: int) -> NoReturn:
    """End at once: threads that read or count may be in the middle of it, and an exit would wait for them."""
    with suppress(OSError):  # a terminal that was closed
        sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)
