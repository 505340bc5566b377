"""`pipe infer --amp bf16`: other logits, by an amount that is measured, said and kept; and never beside float32's."""

import json
import re
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import content, fails, refused
from documented import read_version_2
from fake_networks import GAIN, Pixelwise, Queries, fake
from golden_rule import BUILD, WEIGHTS, golden_images
from PIL import Image
from torch import Tensor

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.stages.infer import amp as infer_amp
from logitpipe.stages.infer.device.device import set_arithmetic
from logitpipe.stages.infer.model import Model, load_model
from logitpipe.stages.infer.networks import NETWORKS
from logitpipe.stages.infer.networks.seam import Source

AMP = ("--amp", "bf16")
GAINS = torch.cat([GAIN[1:-1], torch.tensor([9.0, 9.04])])
"""The last two are so near each other that bfloat16 does not always tell which is the larger."""


class Convolved(Pixelwise):
    """The same logits by a convolution, which autocast computes in bfloat16; still one product each, and no sum."""

    def forward(self, images: Tensor) -> Tensor:
        return torch.nn.functional.conv2d(images[:, :1], self.gain[:, None, None, None])


class ConvolvedQueries(Queries, Convolved):
    """The mask network over it."""


@pytest.fixture
def run(run, monkeypatch, tmp_path, data_root):
    """Call `pipe infer` with networks that have something to round, on a first picture that is bright all over."""
    torch.save({"gain": GAINS}, tmp_path / "weights.pth")
    bright = np.random.default_rng(0).integers(240, 250, (24, 40, 3), np.uint8)
    Image.fromarray(bright).save(data_root / "Tiny" / "images" / "0.png")
    monkeypatch.setitem(NETWORKS, "enet", partial(fake, "pixel", Convolved))
    monkeypatch.setitem(NETWORKS, "eomt", partial(fake, "mask", ConvolvedQueries))
    return run


def logits(data_root, name: str, dtype: torch.dtype) -> Tensor:
    """What the pixel network gives for a picture, multiplied here in a precision: float32 [C, H, W]."""
    picture = Image.open(data_root / "Tiny" / "images" / name).resize((32, 16), Image.Resampling.BILINEAR)
    red = torch.from_numpy(np.array(picture)[..., 0]).float() / 255
    return (red.to(dtype) * GAINS.to(dtype)[:, None, None]).float()


def change(data_root, network: str) -> str:
    """What the first picture's logits say, computed another way than the code does."""
    exact, rounded = (logits(data_root, "0.png", dtype).double() for dtype in (torch.float32, torch.bfloat16))

    def apart(a: Tensor, b: Tensor) -> str:
        return f"by up to {(a - b).abs().max():.3g} and {(a - b).abs().mean():.3g} on average"

    def argmax(a: Tensor, b: Tensor) -> str:
        differ = [int(p.argmax()) != int(q.argmax()) for p, q in zip(a, b, strict=True)]
        return f"the argmax in {100 * sum(differ) / len(differ):.3g} %"

    if network == "enet":
        pixels = argmax(exact.flatten(1).T, rounded.flatten(1).T)
        return f"logits {apart(exact, rounded)}, and {pixels} of the pixels of '0.png'"
    masks = [z[:, ::4, ::4] for z in (exact, rounded)]
    classes = [z.flatten(1)[:, :20] for z in masks]
    return (
        f"mask_logits {apart(*masks)}, class_logits {apart(*classes)}, "
        f"and {argmax(*classes)} of the queries of '0.png'"
    )


@pytest.mark.parametrize("network", ["enet", "eomt"])
def test_logits_are_those_of_bfloat16_and_their_change_is_said_and_kept(run, tmp_path, data_root, network):
    result = run(*AMP, network=network)
    assert (result.exit_code, result.stdout) == (0, "")
    expected = change(data_root, network)
    assert result.stderr.splitlines()[1] == f"Tiny: --amp bf16 changes {expected}"
    store = open_store(tmp_path / "store")
    assert store.schema.facts == {"channels": 20, "amp": "bf16"}
    assert store.schema.software["amp_change"] == expected
    rounded = logits(data_root, "10.png", torch.bfloat16)
    if network == "enet":
        assert np.array_equal(store.read("logits", 4), rounded.half())
        assert np.array_equal(read_version_2(tmp_path / "store", "logits", 4), rounded.half())
        assert not np.array_equal(store.read("logits", 4), logits(data_root, "10.png", torch.float32).half())
    else:
        assert np.array_equal(store.read("mask_logits", 4), rounded[:, ::4, ::4].half())
        assert np.array_equal(store.read("class_logits", 4), rounded[:, ::4, ::4].flatten(1)[:, :20])


@pytest.mark.usefixtures("run")
@pytest.mark.parametrize(("network", "figures"), [("enet", 3), ("eomt", 5)])
def test_no_figure_that_is_compared_is_zero(data_root, network, figures):
    found = re.findall(r"(?<= )[0-9.e-]+(?= )", change(data_root, network))
    assert [float(figure) > 0 for figure in found] == [True] * figures
    assert found[-1] != "100"


def test_without_it_nothing_tells_of_it(run, tmp_path):
    assert run().exit_code == run("--amp", "none", out="none").exit_code == 0
    assert content(tmp_path / "store") == content(tmp_path / "none")
    assert b"amp" not in (tmp_path / "store" / "zarr.json").read_bytes()


def test_what_is_asked_for_must_be_known(run):
    fails(run("--amp", "fp8"), "pipe: Invalid value for '--amp': 'fp8' is not one of 'none', 'tf32', 'bf16'.", 2)


def test_tf32_is_refused_where_nothing_computes_it(run, monkeypatch):
    line = "pipe: TF32 is computed by CUDA devices from Ampere on, and cpu is none; take --amp none, or bf16"
    fails(run("--amp", "tf32", "--device", "cpu"), line)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda _device: (7, 5))
    with refused("TF32 is computed by CUDA devices from Ampere on, and cuda:0 is none; take --amp none, or bf16"):
        load_model(Source("enet"), torch.device("cuda", 0), "tf32")


def test_each_pass_is_told_whether_tf32_is_allowed():
    """One picture is computed both ways before a run, so that what was set at its beginning does not last."""
    seen = []

    class Module(torch.nn.Module):
        def forward(self, images: Tensor) -> Tensor:
            seen.append((torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32))
            return images

        def output_shapes(self, size: tuple[int, int]) -> tuple[tuple[int, ...], ...]:
            return ((3, *size),)

    network = SimpleNamespace(module=Module(), kind="pixel", name="fake")
    try:
        for amp in ("none", "tf32", "none"):
            Model(network, (4, 6), torch.device("cuda", 0), amp).logits(torch.zeros(1, 3, 4, 6))
    finally:
        set_arithmetic(False)
    assert seen == [(False, False), (True, True), (False, False)]


@pytest.mark.parametrize("name", BUILD)
def test_the_heads_compute_in_float32(name):
    """In bfloat16 logits near each other are one number, so that most pixels would share their score."""
    network, images = BUILD[name](WEIGHTS[name](), (32, 64)), golden_images(32, 64)
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        outputs = network(images)
    for z in outputs if isinstance(outputs, tuple) else (outputs,):
        assert z.dtype == torch.float32
        assert (z != z.bfloat16()).float().mean() > 0.9


@pytest.mark.parametrize(("first", "then"), [(AMP, ()), ((), AMP)])
def test_a_store_of_one_is_not_gone_on_with_by_the_other(run, tmp_path, first, then):
    run("--shard", "0/2", *first)
    before = content(tmp_path / "store")
    plain, mixed = '{"channels": 20}', '{"channels": 20, "amp": "bf16"}'
    there, asked = (mixed, plain) if first else (plain, mixed)
    fails(
        run(*then),
        f"pipe: {tmp_path / 'store'} holds the logits of another run: "
        f"facts: {there} in the store, {asked} asked for; choose another --out, or start anew with --overwrite",
    )
    assert content(tmp_path / "store") == before
    assert run(*then, "--overwrite").exit_code == 0


def test_every_shard_measures_the_same(run, tmp_path):
    run(*AMP, out="one")
    for order, name in (((0, 1, 2), "up"), ((2, 0, 1), "down")):
        assert all(run(*AMP, "--shard", f"{i}/3", out=name).exit_code == 0 for i in order)
        assert content(tmp_path / name) == content(tmp_path / "one")


def test_what_a_store_has_is_said_and_not_measured_again(run, tmp_path, data_root, monkeypatch):
    run(*AMP, "--shard", "1/2")
    measured = []
    monkeypatch.setattr(infer_amp, "_change", lambda *_: measured.append(1) or "everything")
    result = run(*AMP)
    line = f"Tiny: --amp bf16 changes {change(data_root, 'enet')}"
    assert result.stderr.splitlines()[1] == f"{line}, as measured when the store was made"
    assert open_store(tmp_path / "store").missing() == []
    assert run(*AMP).stderr.splitlines()[1].startswith("Tiny: 5 of 5 images (0 new, 5 already there), ")
    assert measured == []
    result = run(*AMP, "--overwrite")
    assert result.stderr.splitlines()[1] == "Tiny: --amp bf16 changes everything of '0.png'"
    assert open_store(tmp_path / "store").schema.software["amp_change"] == "everything of '0.png'"


def test_a_picture_that_cannot_be_measured_on_is_named_and_no_store_is_made(run, tmp_path, data_root):
    picture = data_root / "Tiny" / "images" / "0.png"
    picture.write_bytes(picture.read_bytes()[:-30])
    result = run(*AMP, "--shard", "1/2")
    assert result.exit_code == 1
    assert result.stderr.splitlines()[1].startswith(f"pipe: {picture}: expected an image that decodes to its end")
    assert not (tmp_path / "store").exists()


def test_metadata_that_is_gone_is_written_anew(run, tmp_path):
    run(*AMP)
    before = content(tmp_path / "store")
    (tmp_path / "store" / "zarr.json").unlink()
    result = run(*AMP, "--repair")
    assert result.exit_code == 0, result.stderr
    assert content(tmp_path / "store") == before


def test_it_is_shown_and_goes_on_a_line_of_its_own(run, tmp_path, data_root):
    run(*AMP)
    words = ["show", str(tmp_path / "store")]
    text = CliRunner().invoke(cli, words).stdout
    lines = text.splitlines()
    assert "facts          channels 20, amp bf16" in lines
    start = next(i for i, line in enumerate(lines) if line.startswith("amp changes    "))
    end = next(i for i, line in enumerate(lines) if line.startswith("weights "))
    assert " ".join(line[15:] for line in lines[start:end]) == change(data_root, "enet")
    assert "amp_change" not in text
    (document,) = json.loads(CliRunner().invoke(cli, [*words, "--json"]).stdout)["stores"]
    assert document["software"]["amp_change"] == change(data_root, "enet")


@pytest.mark.slow
@pytest.mark.usefixtures("run")
def test_a_store_in_a_bucket_keeps_it_too(s3, tmp_path, data_root):
    words = ["infer", "--network", "enet", "--weights", str(tmp_path / "weights.pth"), "--dataset", "Tiny"]
    words += ["--data-root", str(data_root), "--out", f"{s3}/store", *AMP]
    for shard, ending in (("0/2", ""), ("1/2", ", as measured when the store was made")):
        result = CliRunner().invoke(cli, [*words, "--shard", shard])
        assert result.exit_code == 0, result.stderr
        assert result.stderr.splitlines()[1] == f"Tiny: --amp bf16 changes {change(data_root, 'enet')}{ending}"
    assert open_store(f"{s3}/store").schema.software["amp_change"] == change(data_root, "enet")


@pytest.mark.parametrize("network", ["erfnet", "enet"])
def test_the_change_of_a_real_network_is_that_between_two_stores(real_data, tmp_path, network):
    weights = {"erfnet": "erfnet_cityscapes.pth", "enet": "enet_cityscapes_void.pth"}[network]
    words = ["infer", "--network", network, "--weights", str(real_data / "weights" / weights), "--limit", "1"]
    words += ["--dataset", "RoadAnomaly21", "--data-root", str(real_data), "--precision", "float32"]
    for amp in ("none", "bf16"):
        result = CliRunner().invoke(cli, [*words, "--amp", amp, "--out", str(tmp_path / amp)])
        assert result.exit_code == 0, result.stderr
    exact, rounded = (open_store(tmp_path / amp).read("logits", 0) for amp in ("none", "bf16"))
    apart, changed = np.abs(exact - rounded), exact.argmax(0) != rounded.argmax(0)
    assert result.stderr.splitlines()[1] == (
        f"RoadAnomaly21: --amp bf16 changes logits by up to {apart.max():.3g} and {apart.mean():.3g} on average, "
        f"and the argmax in {100 * changed.mean():.3g} % of the pixels of '0.png'"
    )
    assert 0 < apart.mean() < 0.02 * exact.std()
    assert 0 < changed.mean() < 0.02
