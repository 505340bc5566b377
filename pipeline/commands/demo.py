"""`pipe demo`: the whole pipeline on embedded scenes, by the commands that anyone can type."""

import shlex
import shutil
from pathlib import Path

import click

from logitpipe.cache.errors import PipeError
from logitpipe.console.messages import note, word_if_slow
from logitpipe.console.options import FilePath
from logitpipe.console.progress import Progress
from logitpipe.console.settings import WORDS
from logitpipe.console.text import listed
from logitpipe.runs.inference import torch_at_hand

NETWORKS = ("erfnet", "eomt")
NOTE = "COMMANDS.txt"
"""Marks a folder as a demo's, and tells whoever finds it what it holds."""


@click.command()
@click.option(
    "--out",
    default="logitpipe-demo",
    show_default=True,
    type=FilePath(file_okay=False),
    help="Folder for everything that the demo writes.",
)
@click.pass_context
def demo(ctx: click.Context, out: Path) -> None:
    """See it work: two trained networks on drawn scenes.

    Draws 40 scenes, then runs `pipe infer` for ERFNet and for a small EoMT, `pipe score` with the core methods at
    10 temperatures, and `pipe report`, printing each command before it runs. On scenes without anomalies it shows
    how well both networks know their classes. The same command again goes on where the last one stopped.
    """
    from logitpipe.demo.kernels import compiled_beside

    commands = demo_commands(out)
    with compiled_beside():
        # Before anything is drawn: without torch the demo would end after its first minute.
        with torch_at_hand(), word_if_slow("loading torch"):
            import torch  # noqa: F401
        _prepare(out, commands)
        group = ctx.find_root().command
        assert isinstance(group, click.Group)
        for name, *words in commands:
            note(_typed(name, *words))
            command, ctx.meta[WORDS] = group.get_command(ctx, name), (name, *words)  # for the record of a run
            assert command is not None
            # In this process and not by a shell: `pipe` need not be on the PATH, and torch is imported once.
            with command.make_context(name, list(words), parent=ctx.parent) as context:
                command.invoke(context)


def demo_commands(out: Path) -> list[list[str]]:
    """Return the words of the commands of a demo in the folder `out`, in their order."""
    from logitpipe.demo.dataset import CLOSED, NAME

    stores = {network: str(out / "stores" / f"{network}.zarr") for network in NETWORKS}
    streets = {network: out / "stores" / f"{network}-streets" for network in NETWORKS}
    of_streets = [str(folder / f"{name}.zarr") for folder in streets.values() for name in CLOSED]
    results, classes = str(out / "results"), str(out / "results-classes")
    sweep, near_one = ["--temperatures", "0.2:2:0.2"], ["--temperatures", "0.8:1.2:0.1"]
    return [
        *(_infer(network, out, store, NAME) for network, store in stores.items()),
        # Stores are gone on with, results are small and made anew.
        ["score", *stores.values(), *sweep, "--summary", "--out", results, "--overwrite"],
        *(_infer(network, out, str(folder), *CLOSED) for network, folder in streets.items()),
        [
            "score",
            *of_streets,
            "--methods",
            "msp",
            *near_one,
            "--summary",
            "--also",
            "closed-set",
            "--out",
            classes,
            "--overwrite",
        ],
        ["report", results, classes, "--overwrite"],
    ]


def _infer(network: str, out: Path, store: str, *datasets: str) -> list[str]:
    weights, data = out / "weights" / f"{network}.safetensors", out / "data"
    source = ["--network", network, "--weights", str(weights), "--input-size", "256x512"]
    named = [word for dataset in datasets for word in ("--dataset", dataset)]
    return ["infer", *source, *named, "--data-root", str(data), "--out", store]


def _prepare(out: Path, commands: list[list[str]]) -> None:
    """Put scenes and weights into the folder, after a note that marks it."""
    from logitpipe.demo.dataset import CLOSED, COUNT, WEIGHTS, write_scenes, write_streets

    try:
        # The mark comes first, so that a demo that was interrupted is recognised and goes on.
        _claim(out, commands)
        (out / "weights").mkdir(exist_ok=True)
        for network in NETWORKS:
            shutil.copy(WEIGHTS / f"{network}.safetensors", out / "weights")
        with Progress("drawing scenes", COUNT, unit="scenes") as progress:
            folder = write_scenes(out / "data", progress.advance)
        with word_if_slow("drawing streets without anomalies"):
            write_streets(out / "data")
    except OSError as error:
        raise PipeError(f"--out {out}: the demo cannot be written ({error.strerror}); name another folder") from error
    note(f"{COUNT} scenes in {folder}, and beside them {listed(CLOSED)}")


def _claim(out: Path, commands: list[list[str]]) -> None:
    """Make the folder and mark it; PipeError for a folder with anything in it that lacks the mark."""
    out.mkdir(parents=True, exist_ok=True)
    # The demo overwrites its results; without this check it could overwrite those of somebody else.
    if any(out.iterdir()) and not (out / NOTE).exists():
        raise PipeError(
            f"--out must name a new or empty folder, or one of an earlier demo; {out} holds something else. "
            "Name another"
        )
    # Written before anything runs, so that an interrupted demo tells how to go on by hand.
    lines = "".join(f"{_typed(*command)}\n" for command in commands)
    (out / NOTE).write_text(f"Made by `pipe demo`, which ran:\n\n{lines}", encoding="utf-8")


def _typed(*words: str) -> str:
    return f"$ pipe {shlex.join(words)}"
