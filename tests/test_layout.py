"""The layout is the architecture: imports only descend, the stages do not know each other, scoring knows no torch."""

import ast
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import fill, make_schema

ROOT = Path(__file__).parents[1]
TORCHLESS = (["stages", "score"], ["stages", "scenes"])
RANK = {"cache": 0, "stages": 1, "pipeline": 2}


def imported(source: str) -> Iterator[str]:
    """Every module that a source file imports anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """What a module imports and must not."""
    home = module.split(".")
    found = []
    for name in imported(source):
        target = name.split(".")
        climbs = RANK.get(target[0], -1) > RANK[home[0]]
        crosses = {tuple(home[:2]), tuple(target[:2])} == {("stages", "infer"), ("stages", "score")}
        torch = target[0] == "torch" and (home[0] == "cache" or home[:2] in TORCHLESS)
        if climbs or crosses or torch:
            found.append(f"{module} imports {name}")
    return found


def test_imports_only_descend():
    files = [path for package in RANK for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 30
    for path in files:
        module = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        assert violations(module, path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("cache.store", "import stages.score.run"),
        ("cache.store", "from pipeline import cli"),
        ("cache.store", "import torch"),
        ("stages.score.run", "def f():\n    from stages.infer import run"),
        ("stages.infer.run", "from stages import score"),
        ("stages.score.run", "from torch import nn"),
        ("stages.scenes.scene", "import torch"),
        ("stages.infer.run", "import pipeline.cli as cli"),
    ],
)
def test_the_rule_can_fail(module, source):
    assert len(violations(module, source)) == 1


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def test_scoring_loads_no_torch():
    loaded = loaded_by("import stages.score.exact, stages.score.run, pipeline.score, pipeline.report.page, cache")
    assert "numba" in loaded
    assert "torch" not in loaded


def test_a_sweep_waits_for_no_library_that_it_does_not_use(tmp_path):
    """scikit-learn and xarray take longer to load than many a store to score."""
    store, words = fill(tmp_path / "store", make_schema("pixel")), "'score', '--json'"
    run = f"from pipeline.cli import cli; cli([{words}, {str(store)!r}], standalone_mode=False)"
    loaded = loaded_by(f"import sys, io; kept, sys.stdout = sys.stdout, io.StringIO(); {run}; sys.stdout = kept")
    assert "numba" in loaded
    assert not {"torch", "sklearn", "xarray", "pandas"} & loaded


def test_help_loads_nothing_heavy_and_answers_at_once():
    assert not {"torch", "numba", "sklearn", "xarray", "scipy", "obstore"} & loaded_by("import pipeline.cli")
    started = time.perf_counter()
    subprocess.run([sys.executable, "-m", "pipeline", "--help"], check=True, capture_output=True, cwd=ROOT)
    assert time.perf_counter() - started < 5  # alone it takes a tenth of that; a busy machine takes more
