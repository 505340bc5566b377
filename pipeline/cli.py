"""The command `pipe`: its subcommands, and what becomes of an error."""

import os
import sys

import click

from cache.errors import IncompleteError, IntegrityError, PipeError
from pipeline.infer import infer
from pipeline.labels import labels
from pipeline.maps import maps
from pipeline.score import score
from pipeline.show import show
from pipeline.verify import verify

EXIT_FAILED, EXIT_INCOMPLETE, EXIT_DAMAGED, EXIT_INTERRUPTED = 1, 3, 4, 130


class ErrorsAsLines(click.Group):
    """A group whose commands end in one clear line and the right exit code, whatever the user did wrong."""

    def invoke(self, ctx: click.Context) -> object:
        """Run a command; translate the project's errors into a line on stderr and an exit code."""
        try:
            return super().invoke(ctx)
        except PipeError as error:
            click.echo(f"pipe: {error}", err=True)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            click.echo("pipe: interrupted; the same command again goes on where it stopped", err=True)
            ctx.exit(EXIT_INTERRUPTED)


def exit_code(error: PipeError) -> int:
    """Return 3 for what is incomplete, 4 for what is damaged, 1 for any other failure."""
    if isinstance(error, IntegrityError):
        return EXIT_DAMAGED
    return EXIT_INCOMPLETE if isinstance(error, IncompleteError) else EXIT_FAILED


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


def main() -> None:
    """Run the command line; a reader that closes the pipe early is no error."""
    try:
        cli()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(EXIT_FAILED)
