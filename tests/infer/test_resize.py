"""How pictures come to the network's input: rules, windows and padding, from the command to the store."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import SIZES, fails
from fake_networks import GAIN
from golden_rule import BAR, golden_state
from PIL import Image
from reference import upsample

from logitpipe.cache import UsageError, open_store
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.data.layout import Sample
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.device.transfer import Transfer
from logitpipe.stages.infer.forward import launch, merged
from logitpipe.stages.infer.model import load_model
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.score.labels.ground_truth import GroundTruth
from logitpipe.stages.score.picture import read_picture
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

RULES = (
    "512x1024",
    "windows:1024",
    "short:512",
    "short:800:1333",
    "long:2048",
    "pad:640",
    "native",
    "slide:512x512:341x341",
    "short:512+slide:512x512:341x341",
    "512x1024+slide:512x512:512x256",
)


@pytest.mark.parametrize("text", RULES)
def test_a_rule_is_written_as_it_is_read(text):
    assert str(Resize.parse(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "-",
        "512",
        "0x8",
        "short",
        "short:0",
        "long:5:9",
        "windows",
        "native:3",
        "slide:8x8",
        "8x8+",
        "+slide:8x8:8x8",
        "native+short:3",
        "slide:8x8:9x8",
        "windows:8+slide:8x8:8x8",
        "short:8x8",
        "SHORT:8",
        "slide:8x8:4x4+native",
    ],
)
def test_what_is_no_rule_is_refused(text):
    with pytest.raises(UsageError):
        Resize.parse(text)


@pytest.mark.parametrize("text", ["30x32", "windows:30", "pad:30", "slide:30x32:8x8"])
def test_a_fixed_input_must_be_a_multiple(text):
    with pytest.raises(UsageError, match="multiples of 4"):
        Resize.parse(text, multiple=4)


@pytest.mark.parametrize(
    ("text", "picture", "resized", "padded", "corners"),
    [
        ("windows:1024", (1024, 2048), (1024, 2048), (1024, 1024), [(0, 0), (0, 1024)]),
        ("windows:1024", (720, 1280), (1024, 1820), (1024, 1024), [(0, 0), (0, 796)]),
        ("windows:256", (180, 320), (256, 455), (256, 256), [(0, 0), (0, 199)]),
        ("windows:256", (320, 180), (455, 256), (256, 256), [(0, 0), (199, 0)]),
        ("windows:256", (300, 300), (256, 256), (256, 256), [(0, 0)]),
        ("windows:256", (100, 290), (256, 742), (256, 256), [(0, 0), (0, 243), (0, 486)]),
        # 1867 * 1024/1051 = 1819.04, and 2 * 1024 - 1819 = 229 of overlap
        ("windows:1024", (1051, 1867), (1024, 1819), (1024, 1024), [(0, 0), (0, 795)]),
        # 1021 * 1024/333 = 3139.65; 4 * 1024 - 3140 = 956, a third of which leaves steps of 705.33
        ("windows:1024", (333, 1021), (1024, 3140), (1024, 1024), [(0, 0), (0, 705), (0, 1410), (0, 2116)]),
        ("windows:1024", (2048, 1024), (2048, 1024), (1024, 1024), [(0, 0), (1024, 0)]),
        ("pad:640", (720, 1280), (360, 640), (640, 640), [(0, 0)]),
        # 1051 * 640/1867 = 360.28, 333 * 640/1021 = 208.74
        ("pad:640", (1051, 1867), (360, 640), (640, 640), [(0, 0)]),
        ("pad:640", (333, 1021), (209, 640), (640, 640), [(0, 0)]),
        ("pad:640", (2048, 1024), (640, 320), (640, 640), [(0, 0)]),
        # 1867 * 512/1051 = 909.52, 1021 * 512/333 = 1569.83
        ("short:512", (1051, 1867), (512, 910), (512, 928), [(0, 0)]),
        ("short:512", (333, 1021), (512, 1570), (512, 1600), [(0, 0)]),
        ("short:512", (2048, 1024), (1024, 512), (1024, 512), [(0, 0)]),
        ("native", (1051, 1867), (1051, 1867), (1056, 1888), [(0, 0)]),
        ("pad:640", (1280, 720), (640, 360), (640, 640), [(0, 0)]),
        ("short:512", (720, 1280), (512, 910), (512, 928), [(0, 0)]),
        ("short:800:1333", (720, 1280), (750, 1333), (768, 1344), [(0, 0)]),
        ("long:512", (720, 1280), (288, 512), (288, 512), [(0, 0)]),
        ("native", (720, 1280), (720, 1280), (736, 1280), [(0, 0)]),
        ("96x128", (720, 1280), (96, 128), (96, 128), [(0, 0)]),
        ("slide:512x512:320x320", (720, 1280), (720, 1280), (512, 512), [(0, 0), (0, 320), (0, 640), (0, 768)]),
        ("slide:512x512:512x512", (300, 700), (300, 700), (320, 512), [(0, 0), (0, 188)]),
    ],
)
def test_where_a_picture_lies(text, picture, resized, padded, corners):
    frame = Resize.parse(text, multiple=32).frame(picture)
    assert (frame.resized, frame.padded) == (resized, padded)
    found = [box[:2] for box in frame.windows]
    assert found[: len(corners)] == corners
    assert len(found) == (8 if text == "slide:512x512:320x320" else len(corners))
    assert all(box[2:] == (box[0] + padded[0], box[1] + padded[1]) for box in frame.windows)


def upstream_windows(size: int, h: int, w: int) -> tuple[list[int], list[int]]:
    """The size of the resized picture, and where windows begin, as EoMT's authors compute them."""
    factor = max(size / h, size / w)
    new = [round(side * factor) for side in (h, w)]
    count = math.ceil(max(new) / size)
    overlap = count * size - max(new)
    each = overlap / (count - 1) if overlap > 0 else 0
    return new, [int(j * (size - each)) for j in range(count)]


def test_windows_are_those_of_upstream():
    noise = np.random.default_rng(0)
    for size, h, w in zip(*(noise.integers(low, 2000, 500).tolist() for low in (16, 50, 50)), strict=True):
        frame = Resize.parse(f"windows:{size}").frame((h, w))
        resized, starts = upstream_windows(size, h, w)
        assert list(frame.resized) == resized
        found = [max(box[:2]) for box in frame.windows]
        assert found[:-1] == starts[:-1]
        assert found[-1] in (starts[-1], starts[-1] + 1)  # where upstream's rounding leaves the last pixel out
        assert max(box[2] for box in frame.windows) >= resized[0]
        assert max(box[3] for box in frame.windows) >= resized[1]


def picture_of(data_root, name):
    return np.asarray(Image.open(data_root / "Tiny" / "images" / name).convert("RGB"))


@pytest.mark.parametrize("rule", ["native", "slide:12x16:8x12", "native+slide:12x16:8x12"])
def test_pictures_of_many_sizes(run, data_root, tmp_path, rule):
    """A network that looks at single pixels gives the same with windows and without; the store holds each size."""
    assert run("--resize", rule, "--precision", "float32").exit_code == 0
    store = open_store(tmp_path / "store")
    assert store.schema.preprocessing["resize"] == rule.removeprefix("native+")
    for image, name in enumerate(store.schema.images):
        geometry, logits = store.image(image), store.read("logits", image)
        height, width = SIZES[image]
        assert geometry.picture == geometry.resized == geometry.labels == (height, width)
        assert len(geometry.windows) == 1
        expected = picture_of(data_root, name)[:, :, 0] / 255 * GAIN.numpy()[:, None, None]
        assert logits.shape[1:] == geometry.logits == geometry.padded
        assert np.allclose(logits[:, :height, :width], expected, atol=1e-5)


def test_padding_has_the_mean_colour(run, tmp_path):
    (tmp_path / "net.py").write_text(
        "from torch import nn\nclass Net(nn.Module):\n    def forward(self, x):\n        return x[:, :, ::8, ::8]\n"
    )
    (tmp_path / "classes.txt").write_text("a\nb\nc\n")
    result = run(
        "--classes",
        str(tmp_path / "classes.txt"),
        "--declare",
        "mean=0.485,0.456,0.406",
        "--declare",
        "std=0.229,0.224,0.225",
        "--declare",
        "multiple=32",
        "--resize",
        "native",
        "--precision",
        "float32",
        network=f"{tmp_path / 'net.py'}:Net",
        weights=False,
    )
    assert result.exit_code == 0, result.stderr
    store = open_store(tmp_path / "store")
    assert store.schema.preprocessing["padding"] == [0.485, 0.456, 0.406]
    assert store.image(3).padded == (32, 32)  # 16x32
    assert np.abs(store.read("logits", 3)[:, 2:]).max() < 1e-6


def test_padded_logits_are_scored_at_the_size_of_the_resized_picture(run, data_root, tmp_path):
    """With pixel-size=network padding is cut off, and a network of single pixels has the picture's own scores."""
    assert run("--resize", "pad:48", "--precision", "float32").exit_code == 0
    store = open_store(tmp_path / "store")
    protocol = replace(PROTOCOLS["standard"], pixel_size="network")
    plan = make_plan(store.schema, protocol, ["maxlogit"], [1.0])
    truth = GroundTruth(store, protocol, store.completed())
    for image, name in enumerate(store.schema.images):
        geometry, picture = store.image(image), read_picture(store, truth, image)
        height, width = SIZES[image]
        assert geometry.padded == geometry.logits == (48, 48)
        assert geometry.resized == (round(height * 48 / max(height, width)), round(width * 48 / max(height, width)))
        assert picture.labels.shape == geometry.resized
        small = Image.fromarray(picture_of(data_root, name)).resize(geometry.resized[::-1], Image.Resampling.BILINEAR)
        known = np.delete(GAIN.numpy(), store.schema.void_class)
        expected = -(np.asarray(small)[:, :, 0, None] / 255 * known).max(axis=2)
        assert np.abs(picture.formula_map(plan, 0) - expected).max() < 1e-4


@pytest.mark.slow
def test_a_mask_network_on_padded_pictures(run, tmp_path):
    """The network's input is a square, and scores are of the picture alone, at the size of its mask."""
    assert run("--resize", "pad:40", "--classes", "cityscapes", network="eomt").exit_code == 0
    store = open_store(tmp_path / "store")
    assert store.schema.preprocessing["resize"] == "pad:40"
    plan = make_plan(store.schema, PROTOCOLS["standard"], ["mask2anomaly"], [1.0])
    truth = GroundTruth(store, PROTOCOLS["standard"], store.completed())
    for image, size in enumerate(SIZES):
        geometry = store.image(image)
        assert (geometry.padded, geometry.logits) == ((40, 40), (10, 10))
        m = upsample(store.read("mask_logits", image).astype(np.float64), (40, 40))
        M = 1 / (1 + np.exp(-m))
        z = store.read("class_logits", image).astype(np.float64)
        P = np.exp(z) / np.exp(z).sum(axis=1, keepdims=True)
        height, width = geometry.resized
        if store.schema.sigmoid_at == "masks":
            M = upsample(1 / (1 + np.exp(-store.read("mask_logits", image).astype(np.float64))), (40, 40))
        S = np.einsum("qk,qhw->khw", P[:, :-1], M[:, :height, :width])
        found = read_picture(store, truth, image).formula_map(plan, 0)
        assert found.shape == size
        assert np.abs(found - (1 - upsample(S, size).max(axis=0))).max() < 1e-5


def test_windows_of_a_mask_network_are_stored_one_by_one(run, tmp_path):
    assert run("--resize", "windows:20", "--classes", "cityscapes", network="eomt").exit_code == 0
    store = open_store(tmp_path / "store")
    # 24x40, 20x36, 24x40, 16x32, 24x40
    assert [len(store.image(image).windows) for image in range(5)] == [2, 2, 2, 2, 2]
    assert store.image(0).windows == ((0, 0, 20, 20), (0, 13, 20, 33))
    assert store.read("mask_logits", 0, window=1).shape == (20, 5, 5)


def test_a_run_goes_on_with_its_sizes(run):
    assert run("--resize", "short:16", "--shard", "0/2").exit_code == 0
    result = run("--resize", "short:16")
    assert "5 of 5 images (2 new, 3 already there)" in result.stderr
    refused = run("--resize", "long:16")
    assert refused.exit_code == 1
    assert "preprocessing" in refused.stderr


def test_a_rule_and_a_size_exclude_each_other(run):
    fails(
        run("--resize", "native", "--input-size", "16x32"),
        "pipe: --input-size is another name for --resize HxW; give only one of them",
        code=2,
    )
    result = run("--resize", "wide")
    assert result.exit_code == 2
    assert "'--resize': a rule of resizing is HxW, windows:N, short:N" in result.stderr


def test_merged_logits_are_averages():
    """Windows as mmsegmentation merges them: each resampled to its size, summed, divided by the count."""
    noise = torch.Generator().manual_seed(0)
    frame = Resize.parse("slide:8x8:6x6").frame((10, 13))
    logits = [torch.rand((1, 3, 4, 4), generator=noise) for _ in frame.windows]
    total, count = torch.zeros(3, 10, 13, dtype=torch.float64), torch.zeros(10, 13)
    for each, (top, left, bottom, right) in zip(logits, frame.windows, strict=True):
        up = torch.nn.functional.interpolate(each.double(), (8, 8), mode="bilinear")[0]
        total[:, top:bottom, left:right] += up
        count[top:bottom, left:right] += 1
    assert torch.allclose(merged(logits, frame)[0].double(), total / count, atol=1e-6)


def golden_windows(real_data, tmp_path):
    """Upstream's reference for windows, and an EoMT of its weights."""
    paths = [real_data.parent / "golden" / f"{name}.npz" for name in ("eomt_windows_180x320", "eomt_small_256x512")]
    if not all(path.is_file() for path in paths):
        pytest.skip(f"no reference output at {paths[0]}")
    reference = dict(np.load(paths[0]))
    keys = [
        (key, (1, 256, shape[-1]) if key.endswith("pos_embed") else shape)
        for key, shape in json.loads(str(np.load(paths[1])["keys"]))
    ]
    torch.save(golden_state(keys) | {"attn_mask_probs": torch.zeros(3)}, tmp_path / "eomt.pth")
    return reference, load_model(Source("eomt", tmp_path / "eomt.pth"), torch.device("cpu"))


def test_windows_reproduce_upstream(real_data, tmp_path):
    """Windows lie where upstream's do, their logits and the merged S are upstream's."""
    from logitpipe.cache.format.geometry import Geometry
    from logitpipe.stages.score.kinds.bands import sampled
    from logitpipe.stages.score.kinds.mask import MaskLogits
    from logitpipe.stages.score.kinds.planes import softmax

    reference, model = golden_windows(real_data, tmp_path)
    assert (str(model.resize), model.network.sigmoid_at) == ("windows:256", "window")
    Image.fromarray(reference["image"]).save(tmp_path / "0.png")
    prepared = prepare(Sample("0.png", tmp_path / "0.png"), model.resize)
    assert prepared.frame.resized == tuple(reference["resized"])
    assert [[0, box[1], box[3]] for box in prepared.frame.windows] == reference["origins"].tolist()
    (arriving,) = launch(model, Transfer(model.device), [prepared], "float32", ["0.png"])
    logits = arriving()
    for name, ours in (
        ("mask_logits", logits["mask_logits"][:, ::10, ::8, ::8]),
        ("class_logits", logits["class_logits"]),
    ):
        assert np.abs(ours - reference[name]).max() <= BAR * reference[name].std()
    frame, size = prepared.frame, tuple(reference["S_shape"][1:].tolist())
    geometry = Geometry(size, frame.resized, frame.padded, (64, 64), size, (1, 1), frame.windows)
    windows = [{name: each[w] for name, each in logits.items()} for w in range(2)]
    S = np.empty(reference["S_shape"], np.float32)
    for block in MaskLogits.prepare(windows, geometry, "window").blocks(size):
        P = [softmax(each.class_logits)[:, :-1].T.astype(np.float32) for each in block.queries]
        for band in block.bands([of_class @ each.M for of_class, each in zip(P, block.queries, strict=True)]):
            S[:, band.rows] = sampled(band, range(len(S)), band.rows)
    assert np.abs(S[:, ::9, ::16] - reference["S"]).max() <= BAR * reference["S"].std()
