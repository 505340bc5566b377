"""`pipe completion`: scripts that let a shell complete commands, flags and their values."""

from pathlib import Path

import click
from click.shell_completion import BashComplete, CompletionItem, FishComplete, ShellComplete, ZshComplete

from logitpipe.console.settings import PROGRAM

SHELLS: dict[str, type[ShellComplete]] = {"bash": BashComplete, "zsh": ZshComplete, "fish": FishComplete}
VARIABLE = "_PIPE_COMPLETE"

METHOD_NAMES = (
    "msp",
    "maxlogit",
    "entropy",
    "energy",
    "void",
    "margin",
    "gini",
    "renyi",
    "gen",
    "sml",
    "sml+",
    "kl",
    "rba",
    "rba-normalized",
    "mask2anomaly",
    "neg-sum",
    "mask-energy",
    "eam",
    "softmax-msp",
    "softmax-entropy",
    "softmax-energy",
    "raw-msp",
    "rba-product",
    "rba-tanh-log",
    "rba-plus1",
    "rba-hard",
    "no-object-max",
    "rejection",
    "uno",
    "query-smoothed",
)
"""`logitpipe.stages.score.methods.METHOD_NAMES`, repeated here so that a press of the tab key need not load numba."""


@click.command()
@click.argument("shell", type=click.Choice(list(SHELLS)))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print a script that teaches a shell to complete `pipe`.

    \b
    bash: source <(pipe completion bash)     in ~/.bashrc
    zsh:  source <(pipe completion zsh)      in ~/.zshrc, after compinit
    fish: pipe completion fish | source      in ~/.config/fish/config.fish
    """  # noqa: D301 - the backslash-b is click's, and keeps lines apart
    click.echo(SHELLS[shell](ctx.find_root().command, {}, PROGRAM, VARIABLE).source())


def complete_methods(_context: click.Context, _option: click.Parameter, text: str) -> list[CompletionItem]:
    """Complete the last of several names of methods."""
    before, comma, last = text.rpartition(",")
    names = [name for name in METHOD_NAMES if name not in before.split(",")]
    return [CompletionItem(before + comma + name) for name in names if name.startswith(last)]


def complete_networks(_context: click.Context, _option: click.Parameter, text: str) -> list[CompletionItem]:
    """Complete the name of a network."""
    from logitpipe.stages.infer.networks import NETWORKS

    return [CompletionItem(name) for name in NETWORKS if name.startswith(text)]


def complete_datasets(context: click.Context, _option: click.Parameter, text: str) -> list[CompletionItem]:
    """Complete the name of a data set that lies in the --data-root typed before."""
    from logitpipe.cache.errors import PipeError
    from logitpipe.stages.infer.data.datasets import dataset_names

    try:
        names = dataset_names(Path(context.params.get("data_root") or "."))
    # An error would be printed into the line that is being typed; no suggestion is the better answer.
    except (PipeError, OSError):
        names = []
    return [CompletionItem(name) for name in (*names, "all") if name.startswith(text)]
