"""Which channel is which class: declared, or by a convention that is printed; and a network from outside."""

import json

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import fails
from fake_networks import GAIN, SIZE, Pixelwise

from logitpipe.cache import open_store
from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.cli import cli
from logitpipe.stages.classes import CITYSCAPES, CLASS_LISTS
from logitpipe.stages.infer.networks import NETWORKS
from logitpipe.stages.infer.networks.channels import Channels, name_channels
from logitpipe.stages.infer.networks.seam import Network, Preprocessing, Source
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint

NAMES = CLASS_LISTS["cityscapes"]
ABC = ["a", "b", "c"]


def test_cityscapes_and_coco():
    assert [len(CLASS_LISTS[name]) for name in ("cityscapes", "coco")] == [19, 133]
    assert all(len(set(names)) == len(names) for names in CLASS_LISTS.values())
    assert {each.name: each.code for each in CITYSCAPES}["train"] == 31
    assert {each.name: each.colour for each in CITYSCAPES}["road"] == (128, 64, 128)


@pytest.mark.parametrize(
    ("count", "void", "outlier", "expected"),
    [
        (3, None, None, (ABC, None, None)),
        (3, "none", "none", (ABC, None, None)),
        (3, "first", None, (ABC, 0, None)),
        (3, "last", "a", (ABC, 2, 0)),
        (4, "first", None, (["void", *ABC], 0, None)),
        (4, "last", None, ([*ABC, "void"], 3, None)),
        (4, None, "last", ([*ABC, "outlier"], None, 3)),
        (4, "b", "first", (["outlier", *ABC], 2, 0)),
        (5, "first", "last", (["void", *ABC, "outlier"], 0, 4)),
    ],
)
def test_channels_as_they_are_declared(count, void, outlier, expected):
    assert name_channels(count, ABC, void, outlier, "") == Channels(tuple(expected[0]), *expected[1:], "")


@pytest.mark.parametrize(
    ("count", "classes", "void", "outlier", "message"),
    [
        (3, None, None, None, "nothing says which classes the network's 3 channels are"),
        (4, ABC, None, None, "3 classes are declared, and the network has 4 channels"),
        (2, ABC, "first", None, "3 classes are declared, and the network has 2 channels"),
        (6, ABC, "first", "last", "5 classes are declared, and the network has 6 channels"),
        (3, ABC, "sky", None, "the void class is none of the channels' names: 'sky'"),
        (4, ABC, "last", "last", "void and outlier cannot both be the class 'last'"),
        (3, ["a", "b", "a"], None, None, "two channels are both called 'a'"),
    ],
)
def test_declarations_that_do_not_fit(count, classes, void, outlier, message):
    with pytest.raises(UsageError, match=message) as error:
        name_channels(count, classes, void, outlier, "")
    assert error.value.remedy


def test_classes_in_a_file(tmp_path):
    path = tmp_path / "classes.txt"
    path.write_text("road\n\n sky \n")
    assert name_channels(2, str(path), None, None, "").names == ("road", "sky")
    path.write_bytes(b"\xff\xfe")
    with pytest.raises(PipeError, match="one name on each line"):
        name_channels(2, str(path), None, None, "")
    with pytest.raises(PipeError, match=r"cityscapes, coco or a file of names; .*absent: No such file"):
        name_channels(2, str(tmp_path / "absent"), None, None, "")


def test_the_convention_is_printed_and_a_declaration_replaces_it(run, tmp_path):
    assert run().stderr.splitlines()[0] == (
        "enet: 19 classes (0 road, 1 sidewalk, ..., 18 bicycle), 19 is void; by the convention of enet checkpoints"
    )
    result = run("--void-class", "first", out="first")
    assert result.stderr.splitlines()[0] == (
        "enet: 19 classes (1 road, 2 sidewalk, ..., 19 bicycle), 0 is void; as declared"
    )
    schema = open_store(tmp_path / "first").schema
    assert (schema.classes, schema.void_class) == (("void", *NAMES), 0)
    assert run("--outlier-class", "last", out="outlier").exit_code == 0
    assert open_store(tmp_path / "outlier").schema.classes == (*NAMES, "outlier")


def test_any_other_number_of_channels_must_be_declared(run, tmp_path):
    torch.save({"gain": torch.arange(3.0)}, tmp_path / "weights.pth")
    fails(
        run(),
        "pipe: nothing says which classes the network's 3 channels are; name the channels with --classes "
        "cityscapes|coco|FILE, and say with --void-class and --outlier-class (first, last, NAME or none) which of "
        "them are no classes",
        code=2,
    )
    assert not (tmp_path / "store").exists()
    (tmp_path / "abc").write_text("a\nb\nc\n")
    assert run("--classes", str(tmp_path / "abc"), "--void-class", "b").exit_code == 0
    assert open_store(tmp_path / "store").schema.void_class == 1


def figures(*words: object) -> list[dict]:
    result = CliRunner().invoke(cli, ["score", *map(str, words), "--json"])
    assert result.exit_code == 0, result.stderr
    return json.loads(result.stdout)["results"]


@pytest.mark.slow
def test_the_order_of_the_channels_changes_no_figure(run, tmp_path):
    assert run(out="last").exit_code == 0
    torch.save({"gain": torch.roll(GAIN, 1)}, tmp_path / "weights.pth")
    assert run("--void-class", "first", out="first").exit_code == 0
    last, first = (figures(tmp_path / name, "--temperatures", "0.5,1") for name in ("last", "first"))
    assert len(last) > 5
    for one, other in zip(last, first, strict=True):
        assert (one["method"], one["temperature"]) == (other["method"], other["temperature"])
        for column in ("auprc", "fpr95", "auroc"):
            assert one[column] == pytest.approx(other[column], abs=1e-9)


@pytest.mark.slow
def test_a_real_enet_with_its_void_channel_first(real_data, tmp_path):
    weights = real_data / "weights" / "enet_cityscapes_void.pth"
    state = dict(read_checkpoint(weights).tensors)
    state["transposed_conv.weight"] = torch.roll(state["transposed_conv.weight"], 1, 1)
    torch.save(state, tmp_path / "unlabelled_first.pth")
    data = ["--dataset", "RoadAnomaly21", "--data-root", str(real_data), "--limit", "1", "--input-size", "256x512"]
    for name, path, flags in (
        ("last", weights, []),
        ("first", tmp_path / "unlabelled_first.pth", ["--void-class", "first"]),
        ("shifted", tmp_path / "unlabelled_first.pth", []),
    ):
        words = ["infer", "--network", "enet", "--weights", str(path), *data, "--out", str(tmp_path / name), *flags]
        result = CliRunner().invoke(cli, words)
        assert result.exit_code == 0, result.stderr
    last, first, shifted = (figures(tmp_path / name) for name in ("last", "first", "shifted"))
    for one, other in zip(last, first, strict=True):
        assert one["auprc"] == pytest.approx(other["auprc"], abs=1e-6)
    assert abs(last[0]["auprc"] - shifted[0]["auprc"]) > 1e-3


def test_a_network_from_outside(run, tmp_path, monkeypatch):
    def load(_source: Source) -> Network:
        return Network(
            name="brightness",
            module=Pixelwise(torch.tensor([1.0, 2.0])),
            kind="pixel",
            channels=name_channels(2, ["dark", "bright"], None, None, "as the plug-in says"),
            weights_sha256="0" * 64,
            preprocessing=Preprocessing(),
            multiple=1,
            resize="x".join(map(str, SIZE)),
            notes=("it is a plug-in",),
        )

    monkeypatch.setitem(NETWORKS, "brightness", load)
    result = run(network="brightness")
    assert result.stderr.splitlines()[:2] == [
        "brightness: 2 classes (0 dark, 1 bright), none is void; as the plug-in says",
        "it is a plug-in",
    ]
    logits = open_store(tmp_path / "store").read("logits", 0)
    assert np.array_equal(logits[1], 2 * logits[0])
