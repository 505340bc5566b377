"""Every command of docs/coming-from-scripts.md is run as printed, on the networks of the demo and two pictures."""

import re
import shlex
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import write_sample

import logitpipe
from logitpipe.cli import cli

PAGE = (Path(__file__).parents[2] / "docs" / "coming-from-scripts.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- run: (\S+) -->\n```console\n(.*?)```", PAGE, re.DOTALL))
DEMO = Path(logitpipe.__file__).parent / "demo" / "weights"


def run(name: str) -> str:
    printed = ""
    for command in BLOCKS[name].splitlines():
        result = CliRunner().invoke(cli, shlex.split(command.removeprefix("$ pipe ")))
        assert result.exit_code == 0, result.stderr
        printed += result.stdout
    return printed


@pytest.mark.slow
def test_the_page_works_as_printed(tmp_path, monkeypatch):
    assert PAGE.count("```console") == len(BLOCKS) == 7
    monkeypatch.chdir(tmp_path)
    Path("trained_models").mkdir()
    Path("trained_models/erfnet_pretrained.pth").symlink_to(DEMO / "erfnet.safetensors")
    Path("eomt.pth").symlink_to(DEMO / "eomt.safetensors")
    for seed in range(2):
        write_sample(tmp_path / "RoadAnomaly21", f"{seed}.png", (24, 40), seed)
    run("infer")
    printed = {name: run(name) for name in BLOCKS if name != "infer"}
    assert all("nan" not in text for text in printed.values())
    assert [name for name, text in printed.items() if "protocol legacy" not in text] == ["softmax"]
    assert "threshold" in printed["iou-erfnet"] and "IoU anomaly" in printed["iou-eomt"]
