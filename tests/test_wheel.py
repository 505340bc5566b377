"""The wheel puts `logitpipe` and nothing else into site-packages, and works there beside packages of any name."""

import os
import shutil
import subprocess
import sys
import sysconfig
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest
from stores import fill, make_schema

ROOT = Path(__file__).parents[1]
FOLDERS = ("cache", "pipeline", "stages")
"""The repository's own, which are other people's packages on PyPI."""

BESIDE_MODULES = ("pyproject.toml", "README.md", "LICENSE")


def call(*words: object, cwd: Path) -> str:
    """Run a command that knows nothing of this checkout; return what it printed."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(
        [str(word) for word in words], capture_output=True, text=True, check=False, cwd=cwd, env=environment
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory) -> Path:
    """Build the wheel of a copy of this checkout, in which a build leaves no trace."""
    copy, out = tmp_path_factory.mktemp("copy"), tmp_path_factory.mktemp("wheel")
    for folder in FOLDERS:
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in BESIDE_MODULES:
        shutil.copy(ROOT / name, copy / name)
    call(
        *(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "--no-index"),
        *("--wheel-dir", out, copy),
        cwd=out,
    )
    (built,) = out.glob("logitpipe-*.whl")
    return built


def write_toy(folder: Path, name: str) -> Path:
    """Write the wheel of a package that breaks whoever takes it for the repository's folder of that name."""
    file, facts = folder / f"{name}-1.0-py3-none-any.whl", f"{name}-1.0.dist-info"
    members = {
        f"{name}/__init__.py": "raise ImportError('this is somebody else')\n",
        f"{facts}/METADATA": f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n",
        f"{facts}/WHEEL": "Wheel-Version: 1.0\nGenerator: toy\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    members[f"{facts}/RECORD"] = "".join(f"{member},,\n" for member in (*members, f"{facts}/RECORD"))
    with ZipFile(file, "w") as archive:
        for member, text in members.items():
            archive.writestr(member, text)
    return file


@pytest.mark.slow
def test_it_holds_every_module_and_what_they_read(wheel):
    with ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assert {name.split("/")[0].removesuffix(".dist-info").split("-")[0] for name in names} == {"logitpipe"}
    modules = {
        str(Path("logitpipe", path.relative_to(ROOT / "pipeline" if folder == "pipeline" else ROOT)))
        for folder in FOLDERS
        for path in (ROOT / folder).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == modules
    networks = {f"logitpipe/demo/weights/{name}.safetensors" for name in ("erfnet", "eomt")}
    assert {"logitpipe/py.typed", "logitpipe/report/style.css"} | networks <= names


@pytest.mark.slow
@pytest.mark.skipif(os.name == "nt", reason="a Windows environment has other folders")
def test_it_scores_beside_packages_named_as_its_folders(wheel, tmp_path):
    store = fill(tmp_path / "enet.zarr", make_schema("pixel"))
    venv.create(tmp_path / "fresh", with_pip=False)
    paths = sysconfig.get_paths("venv", {"base": str(tmp_path / "fresh"), "platbase": str(tmp_path / "fresh")})
    site = Path(paths["purelib"])
    assert list(site.iterdir()) == []
    install = (sys.executable, "-m", "pip", "--python", tmp_path / "fresh", "install", "--quiet")
    offline = ("--no-deps", "--no-index", "--no-compile")
    call(*install, *offline, wheel, cwd=tmp_path)
    assert {path.name.split("-")[0] for path in site.iterdir()} == {"logitpipe"}
    call(*install, *offline, *(write_toy(tmp_path, name) for name in FOLDERS), cwd=tmp_path)
    # The libraries that it depends on are those of this environment, whose own .pth files count only there.
    (site / "libraries.pth").write_text(f"{sysconfig.get_paths()['purelib']}\n")

    notebook = tmp_path / "notebook"
    notebook.mkdir()
    for name in FOLDERS:
        (notebook / f"{name}.py").write_text("raise ImportError('this is a notebook of somebody')\n")
    pipe = tmp_path / "fresh" / "bin" / "pipe"
    # Of all methods this one needs the least code, which is compiled anew in every place that a package lies.
    table = call(pipe, "score", store, "--methods", "margin", "--out", "results", cwd=notebook)
    assert table.startswith("Tiny, protocol standard, per cent (3 images, ")
    assert call(pipe, "report", "results", cwd=notebook) == f"{Path('results', 'report.html')}\n"
    page = (notebook / "results" / "report.html").read_text(encoding="utf-8")
    assert (ROOT / "pipeline/report/style.css").read_text(encoding="utf-8").splitlines()[0] in page
    where = "import logitpipe.stages.infer, logitpipe.cache; print(logitpipe.__file__)"
    assert call(tmp_path / "fresh/bin/python", "-c", where, cwd=notebook).startswith(str(site))
