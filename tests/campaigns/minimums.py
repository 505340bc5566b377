"""Install the least versions that pyproject.toml declares, and run the fast tests with them.

    python -m tests.campaigns.minimums --folder /tmp/minimums

The folder gets the environment, of this Python, and keeps it. Prints the versions, then what the tests print; ends
with the tests' exit code.
"""

import argparse
import os
import re
import subprocess
import sys
import tomllib
import venv
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parents[2]
EXTRAS = ("cloud", "dask", "export", "infer", "plot", "dev")
"""What the tests need; the others are for benchmarks and for one campaign."""


def minimums() -> Iterator[str]:
    """Yield each requirement at its least version: `zarr==3.1` for `zarr>=3.1,<4`."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    for requirement in [*project["dependencies"], *(r for e in EXTRAS for r in project["optional-dependencies"][e])]:
        match = re.fullmatch(r"([\w.-]+(?:\[\w+\])?)>=([\w.]+)(?:,<[\w.]+)?", requirement)
        if match is None:
            raise SystemExit(f"pyproject.toml: {requirement!r} names no least version")
        yield f"{match[1]}=={match[2]}"


def main() -> None:
    """Make the environment and run the tests in it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, required=True, help="where the environment is made")
    folder = parser.parse_args().folder.resolve()
    venv.create(folder, with_pip=True)
    python, wanted = folder / "bin" / "python", list(minimums())
    print(*wanted, flush=True)
    pip = [python, "-m", "pip", "install", "--quiet"]
    subprocess.run([*pip, *wanted], check=True)
    subprocess.run([*pip, "--no-deps", "--no-build-isolation", "--editable", ROOT], check=True)
    environment = os.environ | {"PYTHONPATH": str(ROOT / ".links")}
    tests = [python, "-m", "pytest", "--quiet", "-m", "not (slow or real or gpu)", "-p", "no:cacheprovider"]
    parallel = ["--numprocesses", "auto", "--dist", "loadfile"]
    sys.exit(subprocess.run([*tests, *parallel], cwd=ROOT, env=environment, check=False).returncode)


if __name__ == "__main__":
    main()
