"""Networks of one's own: a class in a file beside its own imports, an exported program; and all faults."""

import sys
import textwrap
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import content, fails
from PIL import Image
from torch import nn

from logitpipe.cache import open_store
from logitpipe.stages.infer.networks.outputs import logits_of
from logitpipe.stages.infer.networks.seam import Preprocessing

BLOCKS = """
    from torch import nn

    def block(channels):
        return nn.Sequential(nn.Conv2d(3, channels, 3, padding=1), nn.BatchNorm2d(channels))
"""
NET = """
    import torch
    from torch import nn
    from {blocks} import block

    class Net(nn.Module):
        def __init__(self, channels=3, double=False):
            super().__init__()
            torch.manual_seed(0)
            self.model = nn.ModuleDict({{"block": block(channels)}})
            self.double = double

        def forward(self, x):
            y = self.model["block"](x)
            return (y, y) if self.double else y

    def parallel():
        return nn.DataParallel(Net())

    class Probabilities(Net):
        def forward(self, x):
            return {{"seg": super().forward(x).softmax(1)}}

    class Sigmoid(Net):
        def forward(self, x):
            return super().forward(x).sigmoid()

    class Labels(Net):
        def forward(self, x):
            return super().forward(x).argmax(1)

    class Logarithms(Net):
        def forward(self, x):
            return super().forward(x).log_softmax(1)

    def needs_a_configuration(cfg):
        return Net(cfg.channels)

    class Declared(Net):
        logitpipe = {{"classes": ["a", "b", "c"], "void_class": "b", "mean": [0.5, 0.5, 0.5], "std": [0.25] * 3,
                     "multiple": 8, "resize": "16x32"}}

    class Masks(nn.Module):
        def forward(self, x):
            masks = x[:, :1, ::4, ::4] * torch.arange(1, 6).view(1, 5, 1, 1)
            return {{"pred_logits": masks.flatten(2)[..., :4], "pred_masks": masks, "aux_outputs": []}}

    class Whimsical(Net):
        count = 0
        def forward(self, x):
            type(self).count += 1
            return super().forward(x)[..., : 16 if self.count < 4 else 8]

    class NotANumber(Net):
        def forward(self, x):
            return super().forward(x) / 0 * 0

    class Angry(Net):
        def forward(self, x):
            raise RuntimeError("I only take\\nsquares")

    broken = 3
    def nothing():
        return None
    def fails():
        return {{}}["key"]
"""
NAMES = ("--declare", "classes=['a', 'b', 'c']")
CLASS = ("--declare", "classes=['a']")


@pytest.fixture
def own(run, tmp_path, monkeypatch):
    """Give a function that runs a network of a file net.py, which imports blocks.py from beside it."""
    folder = tmp_path / "someones"
    folder.mkdir()
    (folder / "own_blocks.py").write_text(textwrap.dedent(BLOCKS))
    (folder / "net.py").write_text(textwrap.dedent(NET.format(blocks="own_blocks")))
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)

    def call(name, *flags, weights=False, size="16x32"):
        words = [*flags] if size is None else [*flags, "--input-size", size]
        return run(*words, network=f"{folder / 'net.py'}:{name}", weights=weights)

    yield call
    for name in [name for name in sys.modules if name.startswith(("own_", "someones", "logitpipe_network"))]:
        del sys.modules[name]


def test_a_class_beside_its_own_imports(own, tmp_path):
    result = own("Net", *NAMES)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[:2] == [
        "Net: 3 classes (0 a, 1 b, 2 c), none is void; as declared",
        "Net: no weights were given, so it runs with those that it was made with",
    ]
    store = open_store(tmp_path / "store")
    assert (store.schema.network, store.schema.kind, store.schema.classes) == ("Net", "pixel", ("a", "b", "c"))
    assert store.schema.facts["factory"] == "net.py:Net"
    assert store.schema.logits_shape == (3, 16, 32)


def test_weights_options_and_declarations(own, tmp_path):
    assert own("Declared", size=None).exit_code == 0
    before = open_store(tmp_path / "store")
    assert (before.schema.void_class, before.schema.input_size) == (1, (16, 32))
    module = sys.modules["logitpipe_network_net"].Declared()
    # Under the module's own prefix `model.`, which is also one that wrappers leave, and wrapped once more.
    # A training's own name for its network is a prefix as well.
    state = {f"module.segmenter.{key}": value for key, value in module.state_dict().items()}
    torch.save({"state_dict": state, "best": np.float64(0.5)}, tmp_path / "weights.pth")
    flags = ("--network-options", "channels=3", "--network-options", "double=True", "--declare", "output=1")
    result = own("Declared", *flags, "--out", str(tmp_path / "two"), weights=True, size=None)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.splitlines()[1].startswith(
        "weights.pth: beside the weights lie objects that were not read: "
    )
    assert np.array_equal(open_store(tmp_path / "two").read("logits", 0), before.read("logits", 0))
    assert open_store(tmp_path / "two").schema.weights_sha256 != before.schema.weights_sha256


def test_preprocessing_is_what_was_declared(own, tmp_path):
    own("Declared", size=None)
    flags = ("--declare", "mean=127.5,127.5,127.5", "--declare", "std=63.75,63.75,63.75", "--declare", "range=255")
    assert own("Declared", *flags, "--out", str(tmp_path / "two"), size=None).exit_code == 0
    one, two = (open_store(tmp_path / name).read("logits", 0).astype(float) for name in ("store", "two"))
    np.testing.assert_allclose(one, two, atol=2e-3)
    assert own("Net", *NAMES, "--out", str(tmp_path / "plain")).exit_code == 0
    assert np.abs(open_store(tmp_path / "plain").read("logits", 0) - one).max() > 0.1


def test_channels_in_the_order_of_opencv(own, tmp_path):
    flags = (*NAMES, "--declare", "mean=0.2,0.3,0.5", "--declare", "colour=BGR")
    assert own("Net", *flags).exit_code == 0
    store = open_store(tmp_path / "store")
    assert store.schema.preprocessing["colour"] == "BGR"
    module = sys.modules["logitpipe_network_net"].Net().eval()
    picture = np.asarray(Image.open(tmp_path / "data" / "Tiny" / "images" / "0.png").resize((32, 16), 2)) / 255
    blue_first = torch.tensor(picture[..., ::-1].copy()).float() - torch.tensor([0.2, 0.3, 0.5])
    expected = module(blue_first.permute(2, 0, 1)[None])[0].detach().numpy()
    np.testing.assert_allclose(store.read("logits", 0), expected, atol=2e-3)
    assert Preprocessing((0, 51, 255), (1, 1, 1), 255, "BGR").padding == (1, 0.2, 0)


def test_a_network_that_trains_on_several_gpus(own, tmp_path):
    own("Net", *NAMES)
    torch.save(sys.modules["logitpipe_network_net"].Net().state_dict(), tmp_path / "weights.pth")
    result = own("parallel", *NAMES, "--out", str(tmp_path / "two"), weights=True)
    assert result.exit_code == 0, result.stderr
    assert (
        open_store(tmp_path / "two").read("logits", 0).sum() == open_store(tmp_path / "store").read("logits", 0).sum()
    )


def test_logarithms_of_probabilities_are_named(own):
    result = own("Logarithms", *NAMES)
    assert result.exit_code == 0, result.stderr
    assert result.stderr.count("Logarithms: it gives logarithms of probabilities") == 1
    assert "Sigmoid: all that it gives lies between 0 and 1" in own("Sigmoid", *NAMES, "--overwrite").stderr


def test_imports_from_the_root_of_a_repository(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    folder = tmp_path / "repository" / "own_parts" / "nets"
    folder.mkdir(parents=True)
    (folder.parent / "own_blocks.py").write_text(textwrap.dedent(BLOCKS))
    # The parser in its file does not see the arguments of `pipe`.
    parser = "import argparse\nargparse.ArgumentParser().parse_args()\n"
    (folder / "absolute.py").write_text(parser + textwrap.dedent(NET.format(blocks="own_parts.own_blocks")))
    (folder / "relative.py").write_text(textwrap.dedent(NET.format(blocks=".own_blocks")))
    (folder / "own_blocks.py").write_text(textwrap.dedent(BLOCKS))
    arguments = list(sys.argv)
    for name in ("absolute", "relative"):
        flags = (*NAMES, "--input-size", "16x32")
        result = run(*flags, network=f"{folder / name}.py:Net", weights=False, out=name)
        assert result.exit_code == 0, result.stderr
    assert sys.argv == arguments


def test_a_module_of_a_package(run, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    package = tmp_path / "some_package"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "blocks.py").write_text(textwrap.dedent(BLOCKS))
    (package / "net.py").write_text(textwrap.dedent(NET.format(blocks=".blocks")))
    for number, name in enumerate(("some_package.net:Net", f"{package / 'net.py'}:Net")):
        result = run(*NAMES, "--input-size", "16x32", network=name, weights=False, out=str(number))
        assert result.exit_code == 0, result.stderr


def test_a_mask_network(own, tmp_path):
    result = own("Masks", *NAMES)
    assert result.exit_code == 0, result.stderr
    schema = open_store(tmp_path / "store").schema
    assert (schema.kind, schema.logits_shape, schema.classes) == ("mask", (5, 4, 8), ("a", "b", "c"))


@pytest.mark.parametrize(
    ("name", "flags", "line"),
    [
        ("Absent", (), "{file} has nothing called 'Absent'"),
        ("broken", (), "{file}:broken is a int, and neither a torch module nor what makes one"),
        ("nothing", (), "{file}:nothing gives a NoneType, and a torch module is expected"),
        ("fails", (), "{file}:fails cannot be made: KeyError: 'key' (net.py, line 66)"),
        (
            "Net",
            ("--network-options", "colour=red"),
            "{file}:Net cannot be made: TypeError: Net.__init__() got an unexpected keyword argument 'colour'",
        ),
        (
            "Net",
            ("--network-options", "double=True"),
            "a network returns logits [B, C, h, w], or of masks [B, Q, h, w] and of classes [B, Q, K + 1], and Net "
            "returns ((1, 3, 16, 32) float32, (1, 3, 16, 32) float32); "
            "name the part that is meant with --declare output=NAME, or output=INDEX",
        ),
        (
            "Net",
            ("--declare", "output=aux"),
            "Net returns (1, 3, 16, 32) float32, which has no part 'aux'; "
            "name the part that is meant with --declare output=NAME, or output=INDEX",
        ),
        (
            "needs_a_configuration",
            NAMES,
            "{file}:needs_a_configuration cannot be made: TypeError: needs_a_configuration() missing 1 required "
            "positional argument: 'cfg' {place}",
        ),
        (
            "Labels",
            NAMES,
            "a network returns logits [B, C, h, w], or of masks [B, Q, h, w] and of classes [B, Q, K + 1], and "
            "Labels returns (1, 16, 32) int64; write a function or a class around it",
        ),
        ("Probabilities", NAMES, "Probabilities gives probabilities, and scores are computed from the logits before"),
        (
            "Net",
            ("--network-options", "channels=1", *CLASS),
            "scores compare classes, and Net has 1 beside void; write a class around it",
        ),
        ("Angry", (), "Angry fails on pictures of 16x32 (HxW), 1 at once: RuntimeError: I only take squares {place}"),
        (
            "Net",
            ("--declare", "hue=3"),
            "a flag declares 'hue', and what can be declared is mean, {rest}",
        ),
        (
            "Net",
            (*NAMES, "--declare", "mean=124,116,104"),
            "the mean of pictures is at most their range, 1, not (124, 116, 104); give --declare range=255 where",
        ),
        ("Net", ("--declare", "std=0,1,1"), "range and std of a network are positive, and 1.0 and (0, 1, 1) are not"),
        ("Net", ("--config", "a.yaml"), "--config: it is for other networks than {file}:Net; leave it out"),
        ("Net", (), "nothing says which classes the network's 3 channels are; name {advice}"),
    ],
)
def test_faults_end_in_one_line(own, tmp_path, name, flags, line):
    result = own(name, *flags)
    shown = line.split(" {")[0].format(file=tmp_path / "someones" / "net.py")
    assert (result.exit_code in (1, 2), result.stdout) == (True, "")
    assert result.stderr.startswith(f"pipe: {shown}")
    assert len(result.stderr.splitlines()) == 1
    assert not (tmp_path / "store").exists()


def test_a_size_must_be_said(own):
    fails(
        own("Net", *NAMES, size=None),
        "pipe: nothing says which input size Net takes; give --resize HxW, or another rule",
        code=2,
    )
    assert "must be multiples of 8 pixels; found 12x32" in own("Declared", size="12x32").stderr


def test_another_shape_on_the_second_picture(own, tmp_path):
    result = own("Whimsical", *NAMES)
    expected = "Whimsical gave logits of shape (1, 3, 16, 8) for 1 pictures, where (1, 3, 16, 16) was expected"
    assert result.stderr.splitlines()[-1].startswith(f"pipe: {expected}")
    assert result.exit_code == 1
    store = open_store(tmp_path / "store")
    # Two passes may run at once, so that either of the next two images comes third.
    assert store.completed() in ([0], [0, 1], [0, 2])
    assert all(store.read("logits", image).shape == (3, 16, 16) for image in store.completed())


def test_logits_that_are_no_numbers(own, tmp_path):
    result = own("NotANumber", *NAMES)
    assert "image '0.png': 1536 of 1536 logits are NaN or infinite" in result.stderr.splitlines()[-1]
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("text", ["import nowhere_at_all", "raise SystemExit(3)", "def f(:"])
def test_a_file_that_cannot_be_imported(run, tmp_path, text):
    (tmp_path / "net.py").write_text(text)
    result = run(network=f"{tmp_path / 'net.py'}:Net", weights=False)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith(f"pipe: {tmp_path / 'net.py'} cannot be imported: ")
    result = run(network=f"{tmp_path / 'absent.py'}:Net", weights=False)
    assert result.stderr == f"pipe: {tmp_path / 'absent.py'}: there is no such file\n"


def test_what_networks_return():
    pixel, masks, classes = torch.zeros(1, 3, 4, 8), torch.zeros(1, 5, 4, 8), torch.zeros(1, 5, 4)
    assert logits_of({"out": pixel, "aux": masks}, None, "") is pixel
    assert logits_of([pixel], None, "") is pixel
    assert logits_of({"seg": pixel}, None, "") is pixel
    assert logits_of(SimpleNamespace(seg=[pixel, masks]), "seg.0", "") is pixel
    assert logits_of({"a": [{"b": pixel}]}, "a.0.b", "") is pixel
    assert logits_of((classes, masks), None, "") == (masks, classes)
    assert logits_of({"pred_masks": masks, "pred_logits": classes}, None, "") == (masks, classes)


@pytest.mark.slow
def test_an_exported_program_is_read_only_where_it_is_trusted(run, tmp_path):
    network = nn.Sequential(nn.Conv2d(3, 3, 3, padding=1), nn.ReLU()).eval()
    torch.export.save(torch.export.export(network, (torch.zeros(1, 3, 16, 32),)), tmp_path / "net.pt2")
    flags = ("--input-size", "16x32", *NAMES)
    fails(
        run(*flags, network=str(tmp_path / "net.pt2"), weights=False),
        f"pipe: {tmp_path / 'net.pt2'} is a program, and to read one can run code that is hidden in it; "
        "give --trust-model if you trust who made it",
        code=2,
    )
    result = run(*flags, "--trust-model", network=str(tmp_path / "net.pt2"), weights=False)
    assert result.exit_code == 0, result.stderr
    assert open_store(tmp_path / "store").read("logits", 0).min() == 0
    before = content(tmp_path / "store")
    result = run(*flags, "--trust-model", "--input-size", "32x32", network=str(tmp_path / "net.pt2"), weights=False)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
    assert result.stderr.startswith("pipe: net fails on pictures of 32x32 (HxW), 1 at once: ")
    assert content(tmp_path / "store") == before
    (tmp_path / "net.pt2").write_bytes(b"PK no program")
    result = run(*flags, "--trust-model", network=str(tmp_path / "net.pt2"), weights=False)
    assert (result.exit_code, len(result.stderr.splitlines())) == (1, 1)
