"""`pipe infer` on a CUDA device: the logits of a CPU, twice the same, and one line where memory ends."""

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import content, refused
from golden_rule import BAR, BUILD, WEIGHTS, golden_images, golden_weights, outputs

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.stages.infer.device.device import choose_device, set_arithmetic
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.infer.networks.erfnet import ERFNet

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here"),
]


@pytest.fixture
def cuda() -> torch.device:
    return choose_device("cuda")


@pytest.mark.parametrize("name", BUILD)
def test_logits_agree_with_those_of_a_cpu(cuda, name):
    size = (128, 256)
    images, network = golden_images(*size, batch=2), BUILD[name](WEIGHTS[name](), size)
    expected = outputs(network, images)
    network.to(cuda).to(memory_format=torch.channels_last)
    for z, reference in zip(outputs(network, images.to(cuda)), expected, strict=True):
        apart = (z.cpu() - reference).abs() / reference.std()
        # Of two values of a pooling window that are all but equal ENet may take the place of the other.
        assert (apart > BAR).float().mean() <= (1e-3 if name == "enet" else 0)


def test_tf32_is_on_only_where_it_was_asked_for(cuda):
    a, b = torch.rand((2, 256, 256), generator=torch.Generator().manual_seed(0)).to(cuda)
    image, kernel = a.view(1, 4, 128, 128), b.view(1024, 4, 4, 4)
    exact = a.double() @ b.double(), torch.nn.functional.conv2d(image.double(), kernel.double())
    off = {}
    for tf32 in (True, False):
        set_arithmetic(tf32)
        found = a @ b, torch.nn.functional.conv2d(image, kernel)
        off[tf32] = [
            float((z - reference).abs().max() / reference.std()) for z, reference in zip(found, exact, strict=True)
        ]
    assert max(off[False]) < BAR
    if torch.cuda.get_device_capability(cuda) >= (8, 0):
        assert off[True][0] > 10 * off[False][0]  # products; for convolutions it is cuDNN's choice


@pytest.mark.parametrize("network", ["enet", "eomt"])
def test_a_store_holds_what_a_cpu_s_holds(run, tmp_path, network):
    for device in ("cpu", "cuda"):
        result = run("--device", device, "--precision", "float32", out=device, network=network)
        assert result.exit_code == 0, result.stderr
    cpu, gpu = (open_store(tmp_path / device) for device in ("cpu", "cuda"))
    for image in range(5):
        for array in ("logits",) if network == "enet" else ("mask_logits", "class_logits"):
            assert np.allclose(gpu.read(array, image), cpu.read(array, image), rtol=1e-6, atol=1e-6)
        assert np.array_equal(gpu.labels(image), cpu.labels(image))
    assert gpu.schema.software["tf32"] == "off"
    assert gpu.schema.software["cudnn_algorithms"] == "deterministic"


def test_a_store_is_the_same_again_and_by_shards(tmp_path, data_root):
    torch.save(golden_weights(lambda: ERFNet(20)), tmp_path / "weights.pth")
    words = ["--network", "erfnet", "--weights", tmp_path / "weights.pth", "--resize", "64x128", "--batch-size", 2]
    words += ["--dataset", "Tiny", "--data-root", data_root, "--device", "cuda"]
    for out, shard in ("one", "0/1"), ("again", "0/1"), ("many", "2/3"), ("many", "0/3"), ("many", "0/1"):
        result = CliRunner().invoke(cli, ["infer", *map(str, words), "--out", str(tmp_path / out), "--shard", shard])
        assert result.exit_code == 0, result.stderr
    assert content(tmp_path / "again") == content(tmp_path / "one")
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_memory_that_is_not_there_is_one_line(cuda):
    with refused(f"{cuda} has too little memory for 2 images at once"), device_errors(cuda, ["a", "b"]):
        torch.empty(1 << 46, device=cuda)
