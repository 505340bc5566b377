"""docs/python.md and the README's lines in Python; test_demo.py runs the page as printed, in the folder of a demo."""

import re
from pathlib import Path

import pytest
from stores import fill, make_schema

import logitpipe as lp

PAGE = (Path(__file__).parents[2] / "docs" / "python.md").read_text(encoding="utf-8")
BLOCKS = dict(re.findall(r"<!-- python: (\w+) -->\n```python\n(.*?)```", PAGE, re.DOTALL))


def run_blocks() -> None:
    """Run the blocks of the page one after another, as in one session."""
    session: dict = {}
    for name, block in BLOCKS.items():
        exec(compile(block, f"docs/python.md: {name}", "exec"), session)


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
