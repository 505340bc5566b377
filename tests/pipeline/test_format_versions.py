"""What commands say of the same logits does not depend on the format version of their store."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from stores import fill, make_schema

from logitpipe.cache.format import VERSIONS
from logitpipe.cli import cli


def pipe(*words: object) -> Result:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return result


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_figures_maps_and_checks_are_the_same(tmp_path, kind):
    said, maps = [], []
    for version in VERSIONS:
        path = tmp_path / "store"
        fill(path, make_schema(kind, version=version))
        scored = [
            pipe("score", path, "--protocol", protocol, "--temperatures", "0.5,1", "--format", "csv").stdout
            for protocol in ("standard", "legacy")
        ]
        assert len(scored[0].splitlines()) > 5
        pipe("maps", path, "--method", "msp", "--out", tmp_path / "maps")
        maps.append({file.name: file.read_bytes() for file in (tmp_path / "maps").rglob("*.png")})
        assert pipe("verify", path).stdout.endswith(": sound\n")
        pipe("pack", path)
        assert pipe("score", f"{path}.zip", "--temperatures", "0.5,1", "--format", "csv").stdout == scored[0].replace(
            str(path), f"{path}.zip"
        )
        assert f"version {version}" in pipe("show", path).stdout
        said.append(scored)
        shutil.rmtree(path)
        shutil.rmtree(tmp_path / "maps")
        Path(f"{path}.zip").unlink()
    assert said[0] == said[1]
    assert maps[0] == maps[1] != {}
