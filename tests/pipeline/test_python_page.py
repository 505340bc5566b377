"""docs/python.md is run as printed, on stores of noise; test_demo.py runs it on those of the demo."""

import re
from pathlib import Path

import pytest
from stores import fill, make_schema

import logitpipe as lp

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- python: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))
WITHOUT_NETWORK = [name for name in BLOCKS if name != "infer"]


def run_blocks(names: list[str]) -> None:
    """Run blocks of the page one after another, as in one session."""
    session: dict = {}
    for name in names:
        exec(compile(BLOCKS[name], f"docs/python.md: {name}", "exec"), session)


@pytest.mark.slow
def test_the_page_runs(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for network, kind in (("erfnet", "pixel"), ("eomt", "mask")):
        schema = make_schema(kind, images=["00.png", "01.png", "02.png"], version=2)
        place = tmp_path / "logitpipe-demo" / "stores" / f"{network}.zarr"
        fill(place, type(schema)(**{**vars(schema), "network": network}))
    run_blocks(WITHOUT_NETWORK)
    printed = capsys.readouterr().out
    assert "standard+fpr=linear+skip-without-anomaly=yes" in printed
    assert "methods: 'entropie' is no method" in printed
    made = {"00.png", "sweep.pdf", "ranking.png", "my-results", "mine.zarr"}
    assert made <= {path.name for path in tmp_path.iterdir()}


@pytest.mark.slow
def test_the_readme_runs(tmp_path, monkeypatch):
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    (block,) = re.findall(r"<!-- python: readme -->\n```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    for name in ("enet", "erfnet"):
        fill(tmp_path / f"{name}.zarr", make_schema("pixel", images=["1.png", "2.png"], version=2))
    exec(compile(block, "README.md", "exec"), {})
    assert (tmp_path / "sweep.pdf").stat().st_size > 1000


def test_everything_exported_is_on_the_page():
    from logitpipe import plot

    assert all(re.search(rf"\blp\.{name}\b", PAGE) for name in lp.__all__), lp.__all__
    assert all(f"lp.plot.{name}(" in PAGE for name in plot.__all__)
