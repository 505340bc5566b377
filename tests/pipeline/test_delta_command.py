"""`pipe delta`: each line of its table is what `pipe score --set` prints."""

import csv
import io
import json
import re

import pytest
from click.testing import CliRunner
from conftest import fails
from stores import fill, make_schema

from logitpipe.cli import cli

METHODS = "msp,maxlogit"


def pipe(*words):
    return CliRunner().invoke(cli, list(map(str, words)))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_each_line_is_one_choice(kind, tmp_path):
    store, finer = tmp_path / "half.zarr", tmp_path / "single.zarr"
    fill(store, make_schema(kind))
    fill(finer, make_schema(kind, "float32"))
    result = pipe("delta", store, finer, "--methods", METHODS, "--format", "csv")
    assert result.exit_code == 0, result.stderr
    header, *lines = csv.reader(io.StringIO(result.stdout))
    assert header[:5] == ["choice", "msp T=1 AuPRC", "msp T=1 change", "msp T=1 FPR95", "msp T=1 change"]
    found = {line[0]: line[1:] for line in lines}
    assert {"standard", "course", "legacy", "precision float16", "min-max=msp,maxlogit", "pooling=images"} <= set(
        found
    )
    assert ("void-channel=yes" in found, "thin-above=0" in found) == (kind == "pixel", kind == "mask")
    for choice in ("standard", "min-max=msp,maxlogit", "pooling=images", "legacy", "precision float16"):
        cells = found[choice]
        of = store if choice.startswith("precision") else finer
        words = ("--set", choice) if "=" in choice else ("--protocol", re.sub("precision.*", "standard", choice))
        rows = json.loads(pipe("score", of, "--methods", METHODS, *words, "--json").stdout)["results"]
        for i, row in enumerate(rows):
            assert cells[4 * i] == f"{100 * row['auprc']:.3f}" and cells[4 * i + 2] == f"{100 * row['fpr95']:.3f}", (
                choice
            )
    for cells in found.values():
        for i in (0, 2, 4, 6):
            change = float(cells[i]) - float(found["standard"][i])
            assert change == pytest.approx(float(cells[i + 1]), abs=0.0011)
    assert any(float(cells[1]) for cells in found.values())


def test_what_cannot_be_computed_is_refused(tmp_path):
    store = fill(tmp_path / "s.zarr", make_schema("mask"))
    line = "pipe: Invalid value for '--temperature': a temperature is a number from 0.001 to 1000, and 0 is not"
    fails(pipe("delta", store, "--temperature", 0), line, 2)
