"""The command `pipe`: its subcommands, and what becomes of an error."""

import os
import sys

import click

from cache.errors import IncompleteError, IntegrityError, PipeError, UsageError
from pipeline.infer import infer
from pipeline.labels import labels
from pipeline.maps import maps
from pipeline.pack import pack
from pipeline.score import score
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
            click.echo(f"pipe: {error.format_message()}", err=True)
            ctx.exit(EXIT_USAGE)
        except PipeError as error:
            click.echo(f"pipe: {error}", err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            again = "; the same command again goes on where it stopped" if ctx.invoked_subcommand == "infer" else ""
            click.echo(f"pipe: interrupted{again}", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def exit_code(error: PipeError) -> int:
    """Return 2 for wrong usage, 3 for what is incomplete, 4 for what is damaged, 1 for any other failure."""
    codes = {UsageError: EXIT_USAGE, IncompleteError: EXIT_INCOMPLETE, IntegrityError: EXIT_DAMAGED}
    return next((code for kind, code in codes.items() if isinstance(error, kind)), EXIT_FAILED)


@click.group(cls=ErrorsAsLines, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="logitpipe", prog_name="pipe")
def cli() -> None:
    """Run a segmentation network once, score its cached logits with every post-hoc anomaly method."""


cli.add_command(infer)
cli.add_command(score)
cli.add_command(show)
cli.add_command(verify)
cli.add_command(labels)
cli.add_command(maps)
cli.add_command(pack)


def main() -> None:
    """Run the command line; where its results cannot be written, say so in a line."""
    try:
        cli()
    except OSError as error:
        click.echo(f"pipe: the results cannot be written to stdout ({error.strerror})", err=True)
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
