"""`pipe infer` when something is wrong: one clear line, the right exit code, and a store to go on with."""

import sys
from collections.abc import Callable

import pytest
import torch
from conftest import SIZES, content, fails
from fake_networks import Pixelwise
from PIL import Image

from logitpipe.cache import StoreWriter, open_store
from logitpipe.stages.infer import forward
from logitpipe.stages.infer import run as infer_run
from logitpipe.stages.infer.device.device import choose_device, default_batch_size
from logitpipe.stages.infer.networks import NETWORKS


def test_overwrite_and_shards_exclude_each_other(run):
    fails(
        run("--overwrite", "--shard", "0/3"),
        "pipe: --overwrite would remove what the other 2 shards write; "
        "remove the store before they start, and leave --overwrite out",
        code=2,
    )


@pytest.mark.parametrize("text", ["2/2", "1", "-1/2", "a/b", "0/0"])
def test_a_shard_must_be_one_of_its_number(run, text):
    fails(
        run(f"--shard={text}"),
        f"pipe: Invalid value for '--shard': expected I/N with 0 <= I < N, such as 0/4, and found '{text}'",
        code=2,
    )


def test_a_shard_from_the_environment_is_checked_too(run, monkeypatch):
    monkeypatch.setenv("RANK", "2")
    monkeypatch.setenv("WORLD_SIZE", "2")
    fails(
        run(),
        "pipe: Invalid value for '--shard': expected I/N with 0 <= I < N, such as 0/4, and found '2/2' "
        "in the variables RANK and WORLD_SIZE",
        code=2,
    )


@pytest.mark.parametrize("text", ["512", "0x8", "8x", "8 x 8", "-8x8"])
def test_an_input_size_must_be_two_numbers(run, text):
    fails(
        run(f"--input-size={text}"),
        f"pipe: Invalid value for '--input-size': expected HEIGHTxWIDTH, such as 512x1024, and found '{text}'",
        code=2,
    )


def test_an_unknown_network_is_refused(run):
    line = f"pipe: a network is one of {', '.join(NETWORKS)}, FILE.py:NAME, package.module:NAME or MODEL.pt2, and "
    fails(run(network="resnet"), f"{line}'resnet' is none of these", code=2)


def test_an_unknown_device_is_refused(run):
    fails(run("--device", "tpu"), "pipe: --device tpu: expected auto, cpu, cuda, cuda:INDEX or mps", 2)


def test_an_absent_device_is_refused(run):
    count = torch.cuda.device_count()
    fails(
        run("--device", f"cuda:{count}"),
        f"pipe: --device cuda:{count}: torch {torch.__version__} finds {count} cuda devices here; "
        "take --device auto, or install the torch build for this machine",
    )


def test_the_best_device_is_taken(monkeypatch):
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert choose_device("auto").type == "mps"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "set_device", lambda _device: None)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back after the test
    assert choose_device("auto").type == "cuda"
    assert default_batch_size(torch.device("cuda")) > default_batch_size(torch.device("cpu")) == 1


def test_a_machine_without_torch_is_told_what_to_install(run, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    monkeypatch.delitem(sys.modules, "logitpipe.stages.infer.device.device")
    fails(
        run(),
        "pipe: a network needs torch, which is not installed; run pip install '.[infer]' in the project's folder",
    )


def test_logits_beyond_float16_name_the_image_and_the_flag(run, tmp_path, data_root):
    images = data_root / "Tiny" / "images"
    for picture, size in zip(
        sorted(images.iterdir()), (SIZES[0], SIZES[1], SIZES[4], SIZES[2], SIZES[3]), strict=True
    ):
        Image.new("RGB", size[::-1], "white" if picture.stem == "2" else "black").save(picture)
    torch.save({"gain": torch.full((20,), 80000.0)}, tmp_path / "weights.pth")
    fails(
        run(),
        "pipe: image '2.png': a logit of magnitude 80000 does not fit float16, which ends at 65504; "
        "the image was not stored; use --precision float32, with another --out or --overwrite",
    )
    assert open_store(tmp_path / "store").completed() == [0, 1]
    assert run("--precision", "float32", "--overwrite").exit_code == 0


@pytest.mark.parametrize(("network", "precision"), [("enet", "float16"), ("enet", "float32"), ("eomt", "float16")])
def test_logits_that_are_not_numbers_name_the_image(run, tmp_path, monkeypatch, network, precision):
    torch.save({"gain": torch.ones(20)}, tmp_path / "weights.pth")
    monkeypatch.setattr(Pixelwise, "forward", lambda self, x: (x[:, :1] * self.gain[:, None, None]).log().mul(0) / 0)
    result = run("--precision", precision, network=network)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.splitlines()[-1].startswith("pipe: image '0.png': ")
    assert "logits are NaN or infinite" in result.stderr
    assert not (tmp_path / "store").exists()


def fail_at(call: int, error: BaseException, function: Callable) -> Callable:
    """Wrap a function so that one of its calls fails."""
    calls = iter(range(1, 1000))

    def wrapped(*args, **kwargs):
        if next(calls) == call:
            raise error
        return function(*args, **kwargs)

    return wrapped


PLACES = {
    "decoder": (infer_run, "prepare"),
    "network": (forward, "_to_device"),
    "writer": (StoreWriter, "commit"),
}


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize("call", [1, 3, 5])
def test_a_failure_anywhere_surfaces_as_itself_and_leaves_a_store_to_go_on_with(
    run, tmp_path, monkeypatch, place, call
):
    run(out="undisturbed")
    owner, name = PLACES[place]
    error = RuntimeError("the roof is on fire")
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_at(call, error, getattr(owner, name)))
        assert run().exception is error
    assert run().exit_code == 0
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


@pytest.mark.parametrize("place", PLACES)
def test_an_interruption_ends_in_its_exit_code_and_a_store_to_go_on_with(run, tmp_path, monkeypatch, place):
    run(out="undisturbed")
    owner, name = PLACES[place]
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail_at(2, KeyboardInterrupt(), getattr(owner, name)))
        fails(run(), "pipe: interrupted; the same command again goes on where it stopped", code=130)
    assert run().exit_code == 0
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


def test_too_little_memory_on_the_device_names_the_flag(run, monkeypatch):
    monkeypatch.setattr(forward, "_to_device", fail_at(1, torch.OutOfMemoryError(), len))
    fails(
        run("--batch-size", "4"),
        "pipe: cpu has too little memory for 4 images at once; choose a smaller --batch-size",
    )


def test_missing_weights_leave_nothing_behind(run, tmp_path):
    (tmp_path / "weights.pth").unlink()
    result = run()
    assert (result.exit_code, result.stdout) == (1, "")
    assert str(tmp_path / "weights.pth") in result.stderr
    assert not (tmp_path / "store").exists()
