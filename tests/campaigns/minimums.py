"""Install the least versions that pyproject.toml declares, and try each of them.

    python -m tests.campaigns.minimums --folder /tmp/minimums [--all]

The folder gets the environment, of this Python, and keeps it: a second call installs nothing. What is run are the
linter, `pipe score` on a cluster of two processes, and the fast tests of those files that meet a library from
outside; with --all every fast test. Prints the versions, then what the tests print; ends with the first exit code
that is not 0.

On Linux the package index gives torch with 2.9 GB of CUDA libraries; where pip is told of an index with the build for
CPUs (PIP_EXTRA_INDEX_URL), it may take that one.
"""

import argparse
import os
import re
import subprocess
import sys
import tempfile
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = ("cloud", "dask", "export", "infer", "plot", "dev")
"""What the tests need; the others are for benchmarks and for one campaign."""

TESTS = (
    "tests/cache/test_bucket_site.py",  # obstore, moto, flask
    "tests/cache/test_codec.py",  # google-crc32c, numcodecs, xxhash
    "tests/cache/test_foreign_readers.py",  # zarr, xarray, tensorstore
    "tests/cache/test_store.py",  # zarr, numpy, hypothesis
    "tests/infer/test_checkpoints.py",  # torch, safetensors
    "tests/infer/test_device.py",  # torch
    "tests/infer/test_eomt_config.py",  # pyyaml
    "tests/infer/test_hostile_images.py",  # pillow
    "tests/infer/test_huggingface.py",  # transformers
    "tests/infer/test_transfer.py",  # torch
    "tests/pipeline/test_completion.py",  # click
    "tests/pipeline/test_export.py",  # h5py
    "tests/pipeline/test_figure_command.py",  # matplotlib
    "tests/pipeline/test_python.py",  # pandas, xarray
    "tests/score/test_cluster.py",  # cloudpickle
    "tests/score/test_components.py",  # scipy
    "tests/score/test_sweep.py",  # numba, threadpoolctl, scikit-learn
)


def minimums() -> Iterator[str]:
    """Yield each requirement at its least version: `zarr==3.1` for `zarr>=3.1,<4`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in [*project["dependencies"], *(r for e in EXTRAS for r in project["optional-dependencies"][e])]:
        match = re.fullmatch(r"([\w.-]+(?:\[\w+\])?)>=([\w.]+)(?:,<[\w.]+)?", requirement)
        if match is None:
            raise SystemExit(f"pyproject.toml: {requirement!r} names no least version")
        yield f"{match[1]}=={match[2]}"


def main() -> None:
    """Make the environment and try it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the environment is made")
    parser.add_argument("--all", action="store_true", help="run every fast test")
    arguments = parser.parse_args()
    folder, wanted = arguments.folder.resolve(), list(minimums())
    python = folder / "bin" / "python"
    if not python.exists():
        venv.create(folder, with_pip=True)
    print(*wanted, flush=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    # Not compiled: most modules of these libraries are never loaded.
    subprocess.run([*pip, "--no-compile", *wanted], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".links")}
    tests = [
        python,
        "-m",
        "pytest",
        "--quiet",
        "-p",
        "no:cacheprovider",
        "--numprocesses",
        "auto",
        "--dist",
        "loadfile",
        # What an old library warns of is of newer ones that it does not know yet: matplotlib 3.8 of pyparsing 3.3.
        "-W",
        "ignore::DeprecationWarning",
    ]
    files = ["tests"] if arguments.all else TESTS
    with tempfile.TemporaryDirectory() as name:
        make = "from stores import fill, make_schema; import sys; fill(sys.argv[1], make_schema('pixel'))"
        store = str(Path(name) / "made.zarr")
        codes = [
            subprocess.run(words, cwd=ROOT, env=environment | more, check=False).returncode
            for words, more in (
                ([python, "-m", "ruff", "check", "."], {}),
                ([python, "-c", make, store], {"PYTHONPATH": f"{ROOT / '.links'}{os.pathsep}{ROOT / 'tests'}"}),
                ([python, "-m", "logitpipe", "score", store, "--temperatures", "1", "--dask", "local:2"], {}),
                ([*tests, "-m", "not (slow or real or gpu)", *files], {}),
            )
        ]
    sys.exit(next((code for code in codes if code), 0))


if __name__ == "__main__":
    main()
