"""The command `pipe`: its subcommands, and what becomes of an error."""

import os
import platform
import sys
from pathlib import Path

import click

from cache.errors import IncompleteError, IntegrityError, PipeError, UsageError
from pipeline.completion import PROGRAM, completion
from pipeline.demo import demo
from pipeline.infer import infer
from pipeline.labels import labels
from pipeline.maps import maps
from pipeline.messages import detail, note
from pipeline.score import score
from pipeline.settings import bind_variables, blamed_variable, choose_file, read_settings
from pipeline.show import show
from pipeline.verify import verify

EXIT_FAILED, EXIT_USAGE, EXIT_INCOMPLETE, EXIT_DAMAGED, EXIT_INTERRUPTED = 1, 2, 3, 4, 130


class ErrorsAsLines(click.Group):
    """A group whose commands end in one clear line and the right exit code, whatever the user did wrong."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; translate the project's errors into a line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except click.UsageError as error:
            click.echo(f"pipe: {error.format_message()}{blamed_variable(error)}", err=True)
            ctx.exit(EXIT_USAGE)
        except PipeError as error:
            click.echo(f"pipe: {error}", err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            goes_on = ctx.invoked_subcommand in ("infer", "demo")
            again = "; the same command again goes on where it stopped" if goes_on else ""
            click.echo(f"pipe: interrupted{again}", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def exit_code(error: PipeError) -> int:
    """Return 2 for wrong usage, 3 for what is incomplete, 4 for what is damaged, 1 for any other failure."""
    codes = {UsageError: EXIT_USAGE, IncompleteError: EXIT_INCOMPLETE, IntegrityError: EXIT_DAMAGED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), EXIT_FAILED)


@click.group(cls=ErrorsAsLines, context_settings={"help_option_names": ["-h", "--help"]})
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


cli.add_command(infer)
cli.add_command(score)
cli.add_command(show)
cli.add_command(verify)
cli.add_command(labels)
cli.add_command(maps)
cli.add_command(demo)
cli.add_command(completion)
bind_variables(cli)


def _versions() -> str:
    from importlib.metadata import version

    packages = ("logitpipe", "click", "numpy", "numba", "zarr")
    return ", ".join([*(f"{name} {version(name)}" for name in packages), f"Python {platform.python_version()}"])


def main() -> None:
    """Run the command line; where its results cannot be written, say so in a line."""
    try:
        cli(prog_name=PROGRAM)
    except OSError as error:
        click.echo(f"pipe: the results cannot be written to stdout ({error.strerror})", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
