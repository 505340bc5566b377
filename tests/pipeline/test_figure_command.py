"""`pipe figure`: one file for each figure, the same bytes from the same results, nothing replaced unasked."""

import sys
from dataclasses import replace
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from conftest import content, fails
from stores import fill, make_schema

from logitpipe.cli import cli

BEGINNINGS = {"svg": b"<?xml", "pdf": b"%PDF", "png": b"\x89PNG"}


def pipe(*words: object) -> Result:
    return CliRunner().invoke(cli, [*map(str, words)])


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    home = tmp_path_factory.mktemp("results")
    stores = [fill(home / "pixel.zarr", make_schema("pixel")), fill(home / "mask.zarr", make_schema("mask"))]
    stores.append(fill(home / "other.zarr", replace(make_schema("pixel"), dataset="a $x$ / b")))
    words = ("--methods", "msp,maxlogit,rba", "--temperatures", "0.5,1,8", "--out", home / "out")
    assert pipe("score", *stores, *words).exit_code == 0
    return home / "out"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "names", "file_format"),
    [
        ("sweep", ["sweep_Tiny", "sweep_a_x_b"], "svg"),
        ("sweep", ["sweep_Tiny", "sweep_a_x_b"], "pdf"),
        ("pr", ["pr_Tiny_T1", "pr_a_x_b_T1"], "svg"),
        ("roc", ["roc_Tiny_T1", "roc_a_x_b_T1"], "svg"),
        ("scores", ["scores_Tiny_enet_T1", "scores_Tiny_eomt_T1", "scores_a_x_b_enet_T1"], "svg"),
        *(("ranking", ["ranking_all_T1"], name) for name in BEGINNINGS),
    ],
)
def test_a_file_for_each_figure(folder, tmp_path, kind, names, file_format):
    words = ("figure", folder, "--kind", kind, "--format", file_format, "--out", tmp_path)
    result = pipe(*words)
    assert result.exit_code == 0, result.output
    files = [tmp_path / f"{name}.{file_format}" for name in names]
    assert result.stdout.splitlines() == list(map(str, files))
    assert all(file.read_bytes().startswith(BEGINNINGS[file_format]) for file in files)
    before = content(tmp_path)
    assert pipe(*words).exit_code == 1
    assert pipe(*words, "--overwrite").exit_code == 0
    assert content(tmp_path) == before


def test_size_and_type_are_those_of_a_paper(folder, tmp_path):
    widths = {}
    for size in ("column", "page"):
        (line,) = pipe("figure", folder, "--kind", "ranking", "--size", size, "--out", tmp_path / size).stdout.split()
        header = Path(line).read_text(encoding="utf-8")
        widths[size] = float(header.partition("<svg ")[2].partition('width="')[2].partition("pt")[0]) / 72 * 25.4
    assert widths == {"column": pytest.approx(88, abs=0.1), "page": pytest.approx(180, abs=0.1)}


def test_figures_at_a_temperature_that_was_not_scored(folder, tmp_path):
    result = pipe("figure", folder, "--kind", "scores", "--temperature", "0.7", "--out", tmp_path)
    assert [Path(line).stem for line in result.stdout.splitlines()] == [
        f"scores_{name}_T0.7" for name in ("Tiny_enet", "Tiny_eomt", "a_x_b_enet")
    ]  # maxlogit knows no temperature


def test_without_matplotlib_the_remedy_is_named(folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    monkeypatch.delitem(sys.modules, "logitpipe.pictures.plots", raising=False)
    monkeypatch.delattr("logitpipe.pictures.plots", raising=False)
    result = pipe("figure", folder)
    assert result.exit_code == 1
    assert result.stderr.splitlines()[-1].endswith("; run pip install '.[plot]' in the project's folder")


def test_nothing_to_draw_is_said(tmp_path, pixel_store):
    assert pipe("score", pixel_store, "--methods", "maxlogit", "--out", tmp_path / "one").exit_code == 0
    message = "pipe: there is nothing to draw: no figures at this temperature, or none of several for sweep"
    fails(pipe("figure", tmp_path / "one"), message)
