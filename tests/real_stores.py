"""Stores of real images."""

from pathlib import Path

from click.testing import CliRunner

from logitpipe.cli import cli


def infer(root: Path, network: str, weights: Path, out: Path, *flags: str) -> None:
    """Run `pipe infer` on data sets below a root."""
    words = ["--network", network, "--weights", weights, "--data-root", root, "--out", out, *flags]
    result = CliRunner().invoke(cli, ["infer", *map(str, words)])
    assert result.exit_code == 0, result.stderr
