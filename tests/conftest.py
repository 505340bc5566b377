"""What several test files share: a tiny data set on disk, and the way to the real one."""

import gc
import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from urllib.request import Request, urlopen

import numpy as np
import pytest
from click.testing import CliRunner, Result
from PIL import Image

from logitpipe.cache import PipeError
from logitpipe.cli import cli
from logitpipe.console.advice import with_advice

SIZES = ((24, 40), (20, 36), (24, 40), (16, 32), (24, 40))


def write_sample(folder: Path, name: str, size: tuple[int, int], seed: int) -> None:
    """Write a picture of noise and a mask with normal, anomalous and void pixels."""
    noise = np.random.default_rng(seed)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    (folder / "labels_masks").mkdir(exist_ok=True)
    Image.fromarray(noise.integers(0, 256, (*size, 3), dtype=np.uint8)).save(folder / "images" / name)
    codes = noise.choice(np.array([0, 1, 255], np.uint8), size)
    Image.fromarray(codes).save(folder / "labels_masks" / f"{Path(name).stem}.png")


def pytest_configure(config: pytest.Config) -> None:
    """Let what a parallel worker starts be interrupted, which execnet keeps from it, and share the cores fairly."""
    if hasattr(config, "workerinput"):
        signal.signal(signal.SIGINT, signal.default_int_handler)
        os.environ.setdefault("OMP_NUM_THREADS", "1")


FIRST = ("test_known_answers", "test_demo", "test_wheel", "test_readme", "test_hostile_stores")
"""Files that take longest, so that no worker is left alone with one of them; the last one compiles the kernels."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs real data, and begin with what takes longest; beside it runs what needs no compiled kernels."""
    for item in items:
        if "real_data" in getattr(item, "fixturenames", ()):
            item.add_marker("real")
    place = {name: i for i, name in enumerate(FIRST)}
    items.sort(key=lambda item: (place.get(item.path.stem, len(FIRST)), item.path.parent.name != "infer"))


@pytest.fixture
def data_root(tmp_path: Path) -> Path:
    """Give a root with the data set Tiny: five pictures of several sizes, 0.png to 3.png and 10.png."""
    root = tmp_path / "data"
    for seed, (number, size) in enumerate(zip((0, 1, 2, 3, 10), SIZES, strict=True)):
        write_sample(root / "Tiny", f"{number}.png", size, seed)
    return root


@pytest.fixture(scope="session")
def real_data() -> Path:
    """Give the folder of real data, or skip the test."""
    folder = os.environ.get("PIPE_REAL_DATA")
    if not folder:
        pytest.skip("PIPE_REAL_DATA is not set: no real data to test on")
    return Path(folder).resolve()


@pytest.fixture
def run(data_root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Result]]:
    """Give a function that calls `pipe infer` with a fake network on Tiny; check that no thread outlives the test."""
    import torch  # here, as what only scores is tested without it
    from fake_networks import FAKES, GAIN

    from logitpipe.stages.infer.networks import NETWORKS

    for name, network in FAKES.items():
        monkeypatch.setitem(NETWORKS, name, network)
    for variable in ("RANK", "WORLD_SIZE", "SLURM_PROCID", "SLURM_NTASKS", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS"):
        monkeypatch.delenv(variable, raising=False)
    torch.save({"gain": GAIN}, tmp_path / "weights.pth")

    def call(
        *flags: str, out: str = "store", network: str = "enet", dataset: str = "Tiny", weights: bool = True
    ) -> Result:
        required = {"--network": network, "--dataset": dataset, "--data-root": data_root, "--out": tmp_path / out}
        words = [str(word) for pair in required.items() for word in pair]
        words += ["--weights", str(tmp_path / "weights.pth")] if weights else []
        return CliRunner().invoke(cli, ["infer", *words, *flags])

    before = set(threading.enumerate())
    yield call
    # A library's pool may end only when it is collected, which takes a while, and its threads a moment later.
    if set(threading.enumerate()) - before:
        gc.collect()
    for thread in set(threading.enumerate()) - before:
        thread.join(5)
    assert set(threading.enumerate()) <= before


@pytest.fixture
def pixel_store(tmp_path: Path) -> Path:
    """Give a complete store of a pixel network."""
    from stores import fill, make_schema

    return fill(tmp_path / "pixel.zarr", make_schema("pixel"))


@pytest.fixture
def mask_store(tmp_path: Path) -> Path:
    """Give a complete store of a mask network."""
    from stores import fill, make_schema

    return fill(tmp_path / "mask.zarr", make_schema("mask"))


@pytest.fixture(scope="session")
def compiled_kernels(tmp_path_factory: pytest.TempPathFactory) -> None:
    """Have the kernels of both kinds compiled: an alarm in the midst of that leaves numba unable to compile more."""
    from stores import fill, make_schema

    for kind in ("pixel", "mask"):
        store = fill(tmp_path_factory.mktemp("compiled") / f"{kind}.zarr", make_schema(kind))
        assert CliRunner().invoke(cli, ["score", str(store)]).exit_code == 0


@pytest.fixture
def within_limits(request: pytest.FixtureRequest) -> Iterator[None]:
    """Let a test fail that takes too long or makes room for too much."""
    request.getfixturevalue("compiled_kernels")
    from hostile import bounded

    with bounded():
        yield


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Wait for tenths of seconds where users wait for seconds; start from an environment without credentials."""
    from logitpipe.cache.files import remote

    monkeypatch.setattr(remote, "PATIENCE", 2.0)
    monkeypatch.setitem(remote.CLIENT, "read_timeout", "500ms")
    monkeypatch.setitem(remote.RETRY, "max_retries", 3)
    for name in [n for n in os.environ if n.startswith(("AWS_", "GOOGLE_")) or n.lower().endswith("_proxy")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9")  # a machine of a cloud has credentials there


@pytest.fixture(scope="session")
def s3_url() -> Iterator[str]:
    """Give the address of a real S3 server on loopback."""
    from servers import s3_server

    with s3_server() as url:
        yield url


@pytest.fixture
def s3(s3_url: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Give the URL of an empty bucket, the way to which is in the environment."""
    from logitpipe.cache.files.remote import Bucket

    request.getfixturevalue("impatient")
    monkeypatch.setenv("AWS_ENDPOINT_URL", s3_url)
    monkeypatch.setenv("AWS_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    with urlopen(Request(f"{s3_url}/bucket", method="PUT")):  # again and again it is made only once
        pass
    objects = Bucket("s3://bucket").objects
    objects.delete([meta["path"] for page in objects.list() for meta in page])
    return "s3://bucket"


def content(store: Path) -> dict[str, bytes]:
    """Every file of a store."""
    return {str(file.relative_to(store)): file.read_bytes() for file in store.rglob("*") if file.is_file()}


def fails(result: Result, line: str, code: int = 1) -> None:
    """Assert that a command ended in this line and code, and printed no result."""
    assert (result.exit_code, result.stdout) == (code, "")
    assert result.stderr.splitlines()[-1] == line


def refused(line: str) -> AbstractContextManager[object]:
    """Expect a PipeError that a user would be told of in exactly this line; the advice at its end may be left out."""
    return pytest.raises(PipeError, check=lambda error: line in (str(error), with_advice(error)))
