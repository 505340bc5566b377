"""What docs/networks.md shows is run: files are written, commands and programs executed, in its order."""

import re
import shlex
import sys
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import write_sample

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.stages.infer.networks import NETWORKS

PAGE = (Path(__file__).parents[2] / "docs" / "networks.md").read_text(encoding="utf-8")
BLOCKS = {
    (kind, name): text for kind, name, text in re.findall(r"<!-- (\w+): (\S+) -->\n```\w+\n(.*?)```", PAGE, re.DOTALL)
}


@pytest.fixture
def page(tmp_path, monkeypatch):
    """Give a function that runs a block, in a folder with the page's files and a tiny data set."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    for (kind, name), text in BLOCKS.items():
        if kind == "file":
            (tmp_path / name).write_text(text)
    for seed in range(2):
        write_sample(tmp_path / "data" / "RoadAnomaly21", f"{seed}.png", (24, 40), seed)

    def run(kind, name):
        if kind == "python":
            exec(BLOCKS[kind, name], {})  # the page's own code
            return None
        (command,) = BLOCKS[kind, name].splitlines()
        result = CliRunner().invoke(cli, shlex.split(command.removeprefix("$ pipe ")))
        assert result.exit_code == 0, result.stderr
        return result

    yield run
    for name in [
        name for name in sys.modules if name in ("bright", "declared", "around") or name.startswith("logitpipe_net")
    ]:
        del sys.modules[name]


def test_every_example_is_run():
    shown = [name for kind, name in BLOCKS if kind in ("run", "python")]
    assert shown == ["hf", "own", "declared", "around", "export", "program", "seam", "seam", "logits", "score"]


def test_a_network_of_your_own(page):
    page("run", "own")
    page("run", "declared")
    page("run", "around")
    own, declared, around = (open_store(Path(f"{name}.zarr")).schema for name in ("bright", "declared", "around"))
    assert (own.logits_shape, around.logits_shape) == ((4, 32, 32), (4, 64, 64))
    assert own.classes == declared.classes == ("road", "sky", "car", "void")
    assert own.void_class == declared.void_class == 3
    assert own.facts["mean"] == declared.facts["mean"]


def test_a_network_in_the_project(page, monkeypatch):
    monkeypatch.setitem(NETWORKS, "bright", NETWORKS["enet"])  # taken back after the test
    page("python", "seam")
    assert page("run", "seam").stderr.splitlines()[0].endswith("none is void; as this page declares")


def test_logits_from_anywhere(page):
    Path("logits").mkdir()
    for seed in range(2):
        np.save(f"logits/{seed}.npy", np.random.default_rng(seed).standard_normal((4, 9, 16)).astype(np.float32))
    page("python", "logits")
    assert open_store(Path("mine.zarr")).missing() == []
    assert re.search(r"^void +1 +\d", page("run", "score").stdout, re.MULTILINE)


@pytest.mark.slow
def test_an_exported_program(page):
    page("python", "export")
    page("run", "program")
    assert open_store(Path("program.zarr")).schema.logits_shape == (4, 32, 32)


@pytest.mark.slow
def test_hugging_face(page):
    from test_huggingface import random_network

    random_network("Segformer")[1].save_pretrained("segformer")
    page("run", "hf")
    assert open_store(Path("hf.zarr")).schema.network == "segformer"
