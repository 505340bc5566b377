"""The layout is the architecture: imports only descend, the stages do not know each other, scoring knows no torch."""

import ast
import re
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest
from stores import fill, make_schema

from logitpipe.console.advice import ADVICE

ROOT = Path(__file__).parents[1]
RANK = {"cache": 0, "stages": 1, "pipeline": 2}
TORCHLESS = (["cache"], ["stages", "score"], ["pipeline", "demo"])


def imported(source: str) -> Iterator[str]:
    """Every module that a source file imports anywhere in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, "relative imports hide where they lead"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def folder_of(name: str) -> list[str]:
    """Where a module lies: `logitpipe` is the folder pipeline/, but for its subpackages stages and cache."""
    package, *rest = name.split(".")
    if package != "logitpipe":
        return [package, *rest]
    return rest if rest[:1] in (["stages"], ["cache"]) else ["pipeline", *rest]


def violations(module: str, source: str) -> list[str]:
    """What a module imports and must not."""
    home = folder_of(module)
    found = []
    for name in imported(source):
        target = folder_of(name)
        climbs = RANK.get(target[0], -1) > RANK[home[0]]
        crosses = {tuple(home[:2]), tuple(target[:2])} == {("stages", "infer"), ("stages", "score")}
        torch = target[0] == "torch" and (home[:1] in TORCHLESS or home[:2] in TORCHLESS)
        # The folders' own names are other people's packages; ours are reached through `logitpipe` alone.
        stray = name.split(".")[0] in RANK
        if climbs or crosses or torch or stray:
            found.append(f"{module} imports {name}")
    return found


def module_of(path: Path) -> str:
    """The name by which a file is imported."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(["logitpipe", *(parts[1:] if parts[0] == "pipeline" else parts)]).removesuffix(".__init__")


def test_imports_only_descend():
    files = [path for package in RANK for path in (ROOT / package).rglob("*.py")]
    assert len(files) > 30
    for path in files:
        assert violations(module_of(path), path.read_text(encoding="utf-8")) == []


def test_no_two_files_of_tests_share_a_name():
    """pytest imports them by their names, without their folders."""
    names = [path.name for path in (ROOT / "tests").rglob("test_*.py")]
    assert [name for name in names if names.count(name) > 1] == []


def test_every_folder_with_modules_is_installed():
    """The list in pyproject.toml is written by hand; a room that it lacks would be missing from the wheel."""
    settings = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    rooms = {module_of(path) for package in RANK for path in (ROOT / package).rglob("__init__.py")}
    assert sorted(rooms) == sorted(settings["tool"]["setuptools"]["packages"])


@pytest.mark.parametrize(
    ("module", "source"),
    [
        ("logitpipe.cache.reading.store", "import logitpipe.stages.score.passes.sweep"),
        ("logitpipe.cache.reading.store", "from pipeline import cli"),
        ("logitpipe.cache.reading.store", "import torch"),
        ("logitpipe.stages.score.passes.sweep", "def f():\n    from logitpipe.stages.infer import run"),
        ("logitpipe.stages.infer.run", "from stages import score"),
        ("logitpipe.stages.score.passes.sweep", "from torch import nn"),
        ("logitpipe.demo.scenes.scene", "import torch"),
        ("logitpipe.stages.infer.run", "import logitpipe.cli as cli"),
        ("logitpipe.cache.reading.store", "import logitpipe.report.page"),
        ("logitpipe.stages.infer.run", "from logitpipe import cli"),
        ("logitpipe.cli", "from cache import errors"),
        ("logitpipe.report.page", "import pipeline"),
    ],
)
def test_the_rule_can_fail(module, source):
    assert len(violations(module, source)) == 1


def test_the_page_for_contributors_knows_the_house():
    """Rooms and files that CONTRIBUTING.md names are there, and no folder of code is missing from its table."""
    text = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    files = [path.relative_to(ROOT).as_posix() for package in RANK for path in (ROOT / package).rglob("*.py")]
    rooms = {path.removesuffix("/__init__.py") for path in files if path.endswith("/__init__.py")}
    column = re.findall(r"^\| ((?:`[a-z_/]+`(?:, )?)+) \|", text, re.MULTILINE)
    named = {name if "/" in name else f"pipeline/{name}" for cell in column for name in re.findall(r"`(.+?)`", cell)}
    assert len(named) > 20
    assert named <= rooms
    # Folders within a room may be told in its line; the three packages themselves are the heading's.
    assert [room for room in rooms - named - set(RANK) if f"`{room.rpartition('/')[2]}/`" not in text] == []
    for name in re.findall(r"`([a-z_/0-9]+\.py)`", text):
        assert (ROOT / name).is_file() or any(file.endswith(f"/{name}") for file in files), name


FLAG = re.compile(r"(?<![\w-])--[a-z]")


KERNELS = ROOT / "stages/score/kernels"
MAKERS = {"make_rows", "make_ranks", "make_row", "make_picked", "apart"}
"""Kernels that only make arrays, and cost Python no more than numba."""


def uncompiled(source: str, kernels: set[str]) -> list[str]:
    """Kernels of other modules that a source file calls from plain Python, where they would be interpreted."""
    named = {
        name.removeprefix("logitpipe.stages.score.kernels."): name.rpartition(".")[2] for name in imported(source)
    }
    found = [name for name in named if name in kernels]
    # `from ... import sums`, then `sums.f(...)`.
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            found += [f"{module}.{node.attr}" for module, short in named.items() if short == node.value.id]
    return [name for name in found if name in kernels and name.rpartition(".")[2] not in MAKERS]


def kernels_of_the_house() -> set[str]:
    """The functions that are compiled only as a part of others, each as `module.function`."""
    return {
        f"{'.'.join(path.relative_to(KERNELS).with_suffix('').parts)}.{node.name}"
        for path in KERNELS.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.FunctionDef)
        and {ast.unparse(each) for each in node.decorator_list} & {"kernel", "inlined"}
    }


def test_nobody_but_kernels_calls_a_kernel():
    kernels = kernels_of_the_house()
    assert len(kernels) > 30
    files = [path for folder in ("stages", "pipeline") for path in (ROOT / folder).rglob("*.py")]
    outside = [path for path in files if KERNELS not in path.parents]
    assert [(path, name) for path in outside for name in uncompiled(path.read_text(encoding="utf-8"), kernels)] == []


def test_a_kernel_that_is_interpreted_is_found():
    by_name = "from logitpipe.stages.score.kernels.curves.figures import precision"
    by_module = "from logitpipe.stages.score.kernels.curves import figures\nfigures.precision(1, 1)"
    assert [uncompiled(each, kernels_of_the_house()) for each in (by_name, by_module)] == [
        ["curves.figures.precision"]
    ] * 2


def flags_in(source: str) -> list[str]:
    """Texts of a source file that name a flag of the command line, docstrings aside."""
    tree = ast.parse(source)
    told = [node.value for node in ast.walk(tree) if isinstance(node, ast.Expr)]
    texts = [node for node in ast.walk(tree) if isinstance(node, ast.Constant) and node not in told]
    return [node.value for node in texts if isinstance(node.value, str) and FLAG.search(node.value)]


@pytest.mark.parametrize("package", ["cache", "stages"])
def test_what_computes_knows_no_flags(package):
    """Flags and advice belong to the command line: who calls from Python is told of arguments."""
    assert [
        text for path in (ROOT / package).rglob("*.py") for text in flags_in(path.read_text(encoding="utf-8"))
    ] == []


def test_a_flag_is_found():
    assert flags_in('"""Say --out."""\nraise ValueError(f"give --out {1}")') == ["give --out "]


def test_every_advice_is_given_somewhere():
    files = [path for package in RANK for path in (ROOT / package).rglob("*.py") if path.name != "advice.py"]
    code = "".join(path.read_text(encoding="utf-8") for path in files)
    assert [name for name in ADVICE if f'"{name}"' not in code] == []


def loaded_by(statement: str) -> set[str]:
    """The top-level modules that a fresh interpreter has loaded after a statement."""
    code = f"import sys; {statement}; print(*{{name.split('.')[0] for name in sys.modules}})"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    return set(result.stdout.split())


def test_scoring_loads_no_torch():
    loaded = loaded_by(
        "import logitpipe.stages.score.passes.exact, logitpipe.stages.score.passes.sweep, "
        "logitpipe.commands.score, logitpipe.report.page, logitpipe.cache"
    )
    assert "numba" in loaded
    assert "torch" not in loaded


@pytest.mark.slow
def test_a_sweep_waits_for_no_library_that_it_does_not_use(tmp_path):
    """scikit-learn and xarray take longer to load than many a store to score."""
    store, words = fill(tmp_path / "store", make_schema("pixel")), "'score', '--json'"
    run = f"from logitpipe.cli import cli; cli([{words}, {str(store)!r}], standalone_mode=False)"
    loaded = loaded_by(f"import sys, io; kept, sys.stdout = sys.stdout, io.StringIO(); {run}; sys.stdout = kept")
    assert "numba" in loaded
    assert not {"torch", "sklearn", "xarray", "pandas"} & loaded


# What numpy brings along, and what of the standard library takes long to load.
HEAVY = {"numpy", "numcodecs", "zarr", "numba", "torch", "xarray", "PIL", "sklearn", "scipy", "obstore", "pandas"}
SLOW = {"multiprocessing", "email", "hashlib", "importlib.metadata", "logging", "socket", "concurrent.futures"}


@pytest.mark.parametrize("words", ["--help", "list --help", "completion bash"])
def test_help_loads_only_what_it_needs(words):
    run = f"from logitpipe.cli import cli; cli({words.split()}, standalone_mode=False)"
    code = f"import sys, io; kept, sys.stdout = sys.stdout, io.StringIO(); {run}; print(*sys.modules, file=kept)"
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    modules = result.stdout.split()
    assert not (HEAVY | SLOW) & set(modules)
    # What the command line itself consists of, and no command that was not called.
    rooms = {name.split(".")[1] for name in modules if name.startswith("logitpipe.")}
    assert rooms <= {"cli", "console", "cache", "commands"}
    called = {f"logitpipe.commands.{name}" for name in words.split() if name in ("list", "completion")}
    assert {name for name in modules if name.startswith("logitpipe.commands.")} == called


def test_importing_the_package_loads_nothing_heavy():
    assert not HEAVY & loaded_by("import logitpipe, logitpipe.cache.errors, logitpipe.cli")
