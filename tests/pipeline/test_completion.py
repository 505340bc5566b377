"""`pipe completion`: the scripts, and what a real shell makes of them."""

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from logitpipe.cli import cli
from logitpipe.commands.completion import METHOD_NAMES, SHELLS
from logitpipe.stages.score.methods import METHOD_NAMES as METHODS

ROOT = Path(__file__).parents[2]


@pytest.fixture
def environment(tmp_path: Path) -> dict[str, str]:
    """Variables under which the command `pipe` is this code."""
    command = tmp_path / "bin" / "pipe"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m pipeline "$@"\n')
    command.chmod(0o755)
    return os.environ | {"PATH": f"{command.parent}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(ROOT)}


def completed(environment: dict[str, str], *words: str) -> list[str]:
    """What bash offers for the last of some words."""
    script = (
        f"source <(pipe completion bash); COMP_WORDS=({shlex.join(words)}); COMP_CWORD={len(words) - 1}; "
        'COMPREPLY=(); _pipe_completion pipe; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    result = subprocess.run(
        ["bash", "--norc", "-c", script], capture_output=True, text=True, check=True, env=environment, cwd=ROOT
    )
    assert result.stderr == ""
    return result.stdout.splitlines()


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("bash"), reason="no bash here")
def test_bash_completes_commands_flags_and_values(environment, data_root):
    (data_root / "Other" / "images").mkdir(parents=True)
    assert completed(environment, "pipe", "sc") == ["score"]
    assert completed(environment, "pipe", "score", "--te") == ["--temperatures"]
    assert completed(environment, "pipe", "score", "--protocol", "") == ["standard", "course", "legacy"]
    assert completed(environment, "pipe", "infer", "--network", "e") == ["erfnet", "enet", "eomt"]
    assert completed(environment, "pipe", "score", "--methods", "msp,en") == ["msp,entropy", "msp,energy"]
    others = ["msp,maxlogit", "msp,margin", "msp,mask2anomaly", "msp,mask-energy"]
    assert completed(environment, "pipe", "score", "--methods", "msp,m") == others
    assert completed(environment, "pipe", "maps", "--method", "rba-p") == ["rba-product", "rba-plus1"]
    words = ("pipe", "infer", "--data-root", str(data_root), "--dataset", "")
    assert completed(environment, *words) == ["Other", "Tiny", "all"]
    assert completed(environment, "pipe", "infer", "--data-root", "/nowhere", "--dataset", "") == ["all"]


@pytest.mark.parametrize("shell", SHELLS)
def test_each_shell_accepts_its_script(shell):
    script = CliRunner().invoke(cli, ["completion", shell]).stdout
    assert f"_PIPE_COMPLETE={shell}_complete" in script
    if shutil.which(shell):
        subprocess.run([shell, "-n"], input=script, text=True, check=True, capture_output=True)


def test_the_names_of_methods_are_those_of_the_stage():
    assert tuple(METHODS) == METHOD_NAMES
