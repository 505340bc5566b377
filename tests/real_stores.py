"""Stores of real images."""

from dataclasses import replace
from pathlib import Path

from click.testing import CliRunner

from logitpipe.cache import Store, StoreWriter, open_store
from logitpipe.cli import cli
from tests.reference import nearest


def infer(root: Path, network: str, weights: Path, out: Path, *flags: str) -> None:
    """Run `pipe infer` on data sets below a root."""
    words = ["--network", network, "--weights", weights, "--data-root", root, "--out", out, *flags]
    result = CliRunner().invoke(cli, ["infer", *map(str, words)])
    assert result.exit_code == 0, result.stderr


def at_size(store: Store, out: Path, size: tuple[int, int]) -> Store:
    """Write a copy of a store, its masks at another size: what a float64 reference takes grows with their pixels."""
    writer = StoreWriter(out, replace(store.schema, label_shape=size))
    for image in store.completed():
        values = {name: store.read(name, image) for name in store.arrays if "logits" in name or name == "preview"}
        values["labels"] = nearest(store.labels(image), size)
        writer.commit(image, values, {}, replace(store.image(image), labels=size))
    return open_store(out)
