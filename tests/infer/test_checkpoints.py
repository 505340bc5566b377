"""Weight files, good and bad: what is read, what is refused, and in which words."""

import hashlib
import pickle
from collections import OrderedDict
from itertools import permutations

import pytest
import safetensors.torch
import torch
from torch import nn

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.weights.checkpoints import PREFIXES, fit, load_state_dict, shape
from logitpipe.stages.infer.weights.weightfile import weights_sha256

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3, 1, 1), "conv.bias": torch.tensor([1.0, -1.0])}


def saved(folder, content, name="weights.pth", **options):
    torch.save(content, folder / name, **options)
    return folder / name


def assert_same(state, expected):
    assert state.keys() == expected.keys()
    for key, value in expected.items():
        torch.testing.assert_close(state[key], value, rtol=0, atol=0)


# ---- What is read


@pytest.mark.parametrize("zipped", [True, False])
def test_plain_state_dict(tmp_path, zipped):
    path = saved(tmp_path, OrderedDict(STATE), _use_new_zipfile_serialization=zipped)
    assert_same(load_state_dict(path), STATE)


@pytest.mark.parametrize("name", ["model.safetensors", "renamed.bin"])
def test_safetensors_by_content(tmp_path, name):
    safetensors.torch.save_file(STATE, tmp_path / name)
    assert_same(load_state_dict(tmp_path / name), STATE)


@pytest.mark.parametrize("container", ["state_dict", "model_state_dict", "model", "network"])
def test_containers(tmp_path, container):
    path = saved(tmp_path, {"epoch": 3, "arch": "ERFNet", container: STATE, "optimizer": {"lr": 0.1}})
    assert_same(load_state_dict(path), STATE)


def test_containers_within_containers(tmp_path):
    assert_same(load_state_dict(saved(tmp_path, {"model": {"state_dict": STATE}})), STATE)


@pytest.mark.parametrize(
    "prefix",
    [*PREFIXES, "model.network.", *("".join(pair) for pair in permutations(PREFIXES, 2))],
)
def test_prefixes(tmp_path, prefix):
    path = saved(tmp_path, {prefix + key: value for key, value in STATE.items()})
    assert_same(load_state_dict(path), STATE)


@pytest.mark.parametrize("prefix", ["network.", "_orig_mod.network.", "model.network."])
def test_a_loss_beside_the_network(tmp_path, prefix):
    loss = {prefix.removesuffix("network.") + "criterion.empty_weight": torch.ones(20)}
    path = saved(tmp_path, {"state_dict": loss | {prefix + key: value for key, value in STATE.items()}})
    assert_same(load_state_dict(path), {"criterion.empty_weight": torch.ones(20)} | STATE)


def test_a_prefix_of_some_keys_is_no_prefix(tmp_path):
    state = {"module.conv.weight": torch.ones(1), "conv.bias": torch.ones(1)}
    assert_same(load_state_dict(saved(tmp_path, state)), state)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_every_precision_becomes_float32(tmp_path, dtype):
    path = saved(tmp_path, {key: value.to(dtype) for key, value in STATE.items()} | {"steps": torch.tensor(3)})
    assert_same(load_state_dict(path), STATE | {"steps": torch.tensor(3)})


def test_parameters_come_without_gradients(tmp_path):
    state = load_state_dict(saved(tmp_path, {key: nn.Parameter(value) for key, value in STATE.items()}))
    assert not any(value.requires_grad for value in state.values())


def test_sha256(tmp_path):
    path = saved(tmp_path, STATE)
    assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


# ---- What is refused


@pytest.mark.parametrize("read", [load_state_dict, weights_sha256])
def test_a_missing_file(tmp_path, read):
    with pytest.raises(PipeError, match=r"must be readable; .*nowhere\.pth: No such file.*--weights"):
        read(tmp_path / "nowhere.pth")


@pytest.mark.parametrize("read", [load_state_dict, weights_sha256])
def test_a_folder(tmp_path, read):
    with pytest.raises(PipeError, match=r"must be readable; .*Is a directory"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("content", "found"),
    [
        (b"", "is empty"),
        (b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "is a git-lfs pointer.*git lfs pull"),
        (b"\n<!DOCTYPE html><html>", "is a web page"),
        (b"<html><body>", "is a web page"),
    ],
)
def test_what_downloads_leave_in_place_of_weights(tmp_path, content, found):
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(PipeError, match=rf"must hold weights; .*weights\.pth {found}"):
        load_state_dict(path)


@pytest.mark.parametrize("kind", ["zip", "legacy", "safetensors"])
@pytest.mark.parametrize("share", [0.1, 0.5, 0.99])
def test_a_truncated_file(tmp_path, kind, share):
    path = tmp_path / "weights.bin"
    state = {"weight": torch.rand(64, 64)}
    if kind == "safetensors":
        safetensors.torch.save_file(state, path)
    else:
        saved(tmp_path, state, path.name, _use_new_zipfile_serialization=kind == "zip")
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(PipeError, match=r"weights\.bin is not, or is cut short \(.+\)"):
        load_state_dict(path)


def test_a_newer_pickle_protocol(tmp_path):
    with pytest.raises(PipeError, match=r"\(its pickle is not in torch\.save's default protocol\)"):
        load_state_dict(saved(tmp_path, STATE, pickle_protocol=4))


@pytest.mark.parametrize("name", ["weights.pth", "weights.safetensors"])
def test_bytes_that_are_no_weights(tmp_path, name):
    path = tmp_path / name
    path.write_bytes(b"not a checkpoint at all, just some text")
    with pytest.raises(PipeError, match=r"is not, or is cut short \(.+\)"):
        load_state_dict(path)


class Trap:
    """Leaves a file behind where it is unpickled by a reader that runs code."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return open, (str(self.marker), "w")


@pytest.mark.parametrize("zipped", [True, False])
def test_code_is_never_run(tmp_path, zipped):
    marker = tmp_path / "marker"
    path = saved(tmp_path, STATE | {"trap": Trap(marker)}, _use_new_zipfile_serialization=zipped)
    with pytest.raises(PipeError, match=r"must hold plain, dense tensors; .* also holds the Python object \S+open, "):
        load_state_dict(path)
    assert not marker.exists()


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_code_in_a_bare_pickle_is_never_run(tmp_path, protocol):
    marker = tmp_path / "marker"
    path = tmp_path / "weights.pth"
    path.write_bytes(pickle.dumps(Trap(marker), protocol=protocol))
    with pytest.raises(PipeError, match="A weight file must") as error:
        load_state_dict(path)
    assert not marker.exists()
    assert "weights_only" not in str(error.value)


def test_the_trap_works(tmp_path):
    pickle.loads(pickle.dumps(Trap(tmp_path / "marker"))).close()
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ([1.0, 2.0], "must hold a state dict; .* holds a list"),
        (torch.ones(3), "must hold a state dict; .* holds a Tensor"),
        ({}, "must hold weights; the one in .* is empty"),
        ({"state_dict": {}}, "must hold weights; the one in .* is empty"),
        ({"epoch": 7}, "must map names to tensors; in .*, 'epoch' is a int"),
        ({"weights": {"conv": torch.ones(1)}}, "must map names to tensors; in .*, 'weights' is a dict"),
        ({3: torch.ones(1)}, "must map names to tensors; in .*, 3 is a Tensor"),
    ],
)
def test_what_is_not_a_state_dict(tmp_path, content, message):
    with pytest.raises(PipeError, match=rf"{message}.*model\.state_dict"):
        load_state_dict(saved(tmp_path, content))


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -float("inf")])
def test_numbers_that_are_none(tmp_path, value):
    path = saved(tmp_path, STATE | {"conv.bias": torch.tensor([0.0, value])})
    with pytest.raises(PipeError, match=r"must be finite; .* in 1 of 2 entries \(conv\.bias\)"):
        load_state_dict(path)


# ---- Fit


def network():
    with torch.device("meta"):
        return nn.Sequential(OrderedDict(conv=nn.Conv2d(3, 2, 1), bn=nn.BatchNorm2d(2)))


def weights():
    norm = {"bn.weight": torch.ones(2), "bn.bias": torch.zeros(2)}
    return STATE | norm | {"bn.running_mean": torch.zeros(2), "bn.running_var": torch.ones(2)}


@pytest.mark.parametrize("extra", [{}, {"bn.num_batches_tracked": torch.tensor(8)}, {"criterion.w": torch.ones(2)}])
def test_keys_of_the_training_may_be_there_or_not(extra):
    module = fit(network(), weights() | extra)
    assert not module.training
    assert_same({key: value for key, value in module.state_dict().items() if "tracked" not in key}, weights())
    assert module(torch.ones(1, 3, 4, 4)).isfinite().all()


def test_half_precision_is_cast():
    module = fit(network(), {key: value.half() for key, value in weights().items()})
    assert {value.dtype for key, value in module.state_dict().items() if "tracked" not in key} == {torch.float32}


def test_unused_keys_are_those_that_the_caller_names():
    fit(network(), weights() | {"head.weight": torch.ones(1)}, unused=("head.weight",))
    with pytest.raises(PipeError, match=r"1 left over \(head\.weight\)"):
        fit(network(), weights() | {"head.weight": torch.ones(1)})


def test_every_fault_is_named():
    state = weights() | {"surplus": torch.ones(1), "conv.weight": torch.ones(2, 3, 3, 3)}
    del state["bn.running_var"]
    with pytest.raises(PipeError) as error:
        fit(network(), state)
    assert str(error.value) == (
        "The weights must fit the network key by key: 1 missing (bn.running_var); 1 left over (surplus); "
        "1 of another shape (conv.weight (2, 3, 3, 3) instead of (2, 3, 1, 1)). "
        "Check --network, --weights and --config; nothing runs on weights that do not fit."
    )


def test_many_faults_are_counted():
    surplus = {f"surplus.{i}": torch.ones(1) for i in range(9)}
    with pytest.raises(PipeError, match=r"9 left over \(surplus\.0, surplus\.1, surplus\.2, surplus\.3 and 5 more\)"):
        fit(network(), weights() | surplus)


def test_quantised_numbers_are_not_the_weights():
    with pytest.raises(PipeError, match=r"conv\.bias \(2,\) torch\.int8 instead of \(2,\)"):
        fit(network(), weights() | {"conv.bias": torch.ones(2, dtype=torch.int8)})


def test_the_entry_that_tells_a_size():
    assert shape(STATE, "conv.weight", rank=4) == (2, 3, 1, 1)
    with pytest.raises(PipeError, match=r"must hold head\.weight; found 2 other keys: conv\.weight, conv\.bias\."):
        shape(STATE, "head.weight", rank=4)
    with pytest.raises(PipeError, match=r"conv\.bias must have 4 dimensions; the weights have it as \(2,\)"):
        shape(STATE, "conv.bias", rank=4)
