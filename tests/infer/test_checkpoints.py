"""Weight files, good and bad: what is read, what is refused, and in which words."""

import argparse
import hashlib
import pickle
from collections import OrderedDict, defaultdict
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
import torch
from torch import nn

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.weights.checkpoints import (
    CONTAINERS,
    PLAIN,
    PREFIXES,
    WRAPPERS,
    read_checkpoint,
    read_raw,
)
from logitpipe.stages.infer.weights.fitting import fit, shape
from logitpipe.stages.infer.weights.weightfile import weights_sha256

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3, 1, 1), "conv.bias": torch.tensor([1.0, -1.0])}


def saved(folder, content, name="weights.pth", **options):
    torch.save(content, folder / name, **options)
    return folder / name


def load_state_dict(path):
    return read_checkpoint(path).tensors


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


@pytest.mark.parametrize("container", CONTAINERS)
def test_containers(tmp_path, container):
    path = saved(tmp_path, {"epoch": 3, "arch": "ERFNet", container: STATE, "optimizer": {"lr": 0.1}})
    assert_same(load_state_dict(path), STATE)


def test_of_several_state_dicts_one_must_be_asked_for(tmp_path):
    other = {key: value + 1 for key, value in STATE.items()}
    path = saved(tmp_path, {"epoch": 1, "student": {"state_dict": STATE}, "teacher": other})
    with pytest.raises(UsageError, match=r"several state dicts, under student, teacher$"):
        read_checkpoint(path)
    assert_same(read_checkpoint(path, "student").tensors, STATE)
    assert_same(read_checkpoint(path, "student.state_dict").tensors, STATE)
    assert_same(read_checkpoint(path, "teacher").tensors, other)
    with pytest.raises(UsageError, match="under student, teacher"):
        read_checkpoint(path, "tutor")


def test_two_networks_in_one_state_dict(tmp_path):
    both = {
        f"{name}.{key}": value + i for i, name in enumerate(("student", "teacher")) for key, value in STATE.items()
    }
    path = saved(tmp_path, {"state_dict": both})
    with pytest.raises(UsageError, match="several networks, student and teacher"):
        read_checkpoint(path)
    assert_same(read_checkpoint(path, "teacher").tensors, {key: value + 1 for key, value in STATE.items()})
    with pytest.raises(UsageError, match="no weights under 'tutor'"):
        read_checkpoint(path, "tutor")


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


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_wrappers_of_parts_of_a_network(tmp_path, wrapper):
    state = {"block.conv.weight": torch.ones(1), "block.conv.bias": torch.ones(1), "head.bias": torch.ones(1)}
    wrapped = {key.replace("conv.", f"{wrapper}conv.{wrapper}"): value for key, value in state.items()}
    assert_same(load_state_dict(saved(tmp_path, wrapped)), state)


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


class Settings(dict):
    """An object of a training, with a whole network in it."""


BESIDE = {
    "argparse.Namespace": argparse.Namespace(lr=1),
    "numpy": {"miou": np.float64(0.6), "classes": np.arange(3)},
    "collections.defaultdict": defaultdict(list, a=[1]),
    "pathlib.": Path("runs"),
    "builtins.getattr": Path("runs").exists,
    "test_checkpoints.Settings": Settings(network=nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))),
    "torch._utils._rebuild_sparse_tensor": torch.ones(2, 2).to_sparse(),
}
"""What trainings keep beside their weights, by the start of a name that is then told."""


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("name", BESIDE)
def test_objects_beside_the_weights_are_skipped_and_named(tmp_path, name, zipped):
    content = {"hyper_parameters": BESIDE[name], "state_dict": OrderedDict(STATE), "optimizer": {"lr": 0.1}}
    checkpoint = read_checkpoint(saved(tmp_path, content, _use_new_zipfile_serialization=zipped))
    assert_same(checkpoint.tensors, STATE)
    assert len(checkpoint.notes) == 1
    assert name in checkpoint.notes[0]
    assert read_checkpoint(saved(tmp_path, {"state_dict": STATE})).notes == ()


def test_names_that_only_one_training_has(tmp_path):
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(2)}}, "param_groups": [{"params": [0]}]}
    ours = {"epoch": 3, "loss": torch.tensor(0.5), "the_weights": STATE, "optim": optimizer, "ema": {}}
    assert_same(load_state_dict(saved(tmp_path, ours)), STATE)
    two = saved(tmp_path, {"encoder": STATE, "decoder": STATE})
    with pytest.raises(UsageError, match="holds several state dicts, under encoder, decoder"):
        load_state_dict(two)
    assert_same(read_checkpoint(two, "decoder").tensors, STATE)
    with pytest.raises(UsageError, match=r"there are no weights under 'teacher': .* under encoder, decoder"):
        read_checkpoint(two, "teacher")
    assert_same(load_state_dict(saved(tmp_path, {"round": {"state_dict": STATE}, "optim": optimizer})), STATE)
    # A list of the codes of classes among the weights, as a well-known U-Net has it.
    among = read_checkpoint(saved(tmp_path, STATE | {"mask_values": [0, 1], "_extra_state": {"a": 1}}))
    assert_same(among.tensors, STATE)
    assert among.notes == (
        "weights.pth: beside the weights lie objects that were not read: mask_values, _extra_state",
    )


def test_views_transposed_and_shared_numbers(tmp_path):
    whole = torch.arange(24.0)
    state = {"view": whole[3:9].view(2, 3), "transposed": whole.view(4, 6).t(), "scalar": whole[5], "whole": whole}
    for zipped in (True, False):
        assert_same(load_state_dict(saved(tmp_path, state, _use_new_zipfile_serialization=zipped)), state)


@pytest.mark.parametrize("dtype", PLAIN, ids=str)
def test_every_kind_of_number_is_what_torch_reads(tmp_path, dtype):
    state = {"a": torch.tensor([0, 1, 1, 0]).to(dtype), "empty": torch.zeros(0, 3).to(dtype)}
    for zipped in (True, False):
        path = saved(tmp_path, state, _use_new_zipfile_serialization=zipped)
        read = read_raw(path)[0]
        for key, value in torch.load(path, weights_only=True).items():
            assert torch.equal(read[key], value.float() if value.is_floating_point() else value)
            assert read[key].shape == value.shape


def test_sha256(tmp_path):
    path = saved(tmp_path, STATE)
    assert weights_sha256(path) == hashlib.sha256(path.read_bytes()).hexdigest()


# ---- What is refused


@pytest.mark.parametrize("read", [load_state_dict, weights_sha256])
def test_a_missing_file(tmp_path, read):
    with pytest.raises(PipeError, match=r"must be readable; .*nowhere\.pth: No such file"):
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
    with pytest.raises(PipeError, match=r"must map names to tensors; in .*, 'trap' is a \S+open\. "):
        load_state_dict(path)
    assert_same(load_state_dict(saved(tmp_path, {"model": STATE, "trap": Trap(marker)})), STATE)
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
        ({"best": {"conv": 1.0}}, "must map names to tensors; in .*, 'best' is a dict"),
        ({"best": {3: torch.ones(1)}}, "must map names to tensors; in .*, 'best' is a dict"),
        ({"loss": torch.tensor(1.0), "epoch": 7}, "must map names to tensors; in .*, 'loss' is a Tensor"),
        ({3: torch.ones(1)}, "must map names to tensors; in .*, 3 is a Tensor"),
    ],
)
def test_what_is_not_a_state_dict(tmp_path, content, message):
    with pytest.raises(PipeError, match=rf"{message}.*model\.state_dict"):
        load_state_dict(saved(tmp_path, content))


@pytest.mark.parametrize(
    ("extra", "what"),
    [
        ({"blocks.0.attn.qkv.lora_a": torch.ones(1), "blocks.0.attn.qkv.lora_b": torch.ones(1)}, "low-rank adapters"),
        ({"base.q_proj.lora_A.default.weight": torch.ones(1)}, "low-rank adapters"),
        ({"fc.SCB": torch.ones(1), "fc.weight": torch.ones(1, dtype=torch.int8)}, "quantised weights"),
        ({"fc._packed_params._packed_params": (torch.ones(1), None)}, "quantised weights"),
    ],
)
def test_weights_that_are_no_plain_ones_are_said_to_be_so(tmp_path, extra, what):
    with pytest.raises(PipeError, match=rf"weights\.pth holds {what}.*{next(iter(extra))}"):
        load_state_dict(saved(tmp_path, STATE | extra))


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


@pytest.mark.parametrize(
    "extra",
    [
        {},
        {"bn.num_batches_tracked": torch.tensor(8)},
        {
            "criterion.w": torch.ones(2),
            "sem_loss.criterion.weight": torch.ones(2),
            "loss_fn.weight": torch.ones(1),
        },
        {"conv.total_ops": torch.zeros(1), "total_params": torch.zeros(1)},
    ],
)
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
        "1 of another shape (conv.weight (2, 3, 3, 3) instead of (2, 3, 1, 1)); "
        "nothing runs on weights that do not fit"
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
    with pytest.raises(PipeError, match=r"must hold head\.weight; found 2 other keys: conv\.weight, conv\.bias"):
        shape(STATE, "head.weight", rank=4)
    with pytest.raises(PipeError, match=r"conv\.bias must have 4 dimensions; the weights have it as \(2,\)"):
        shape(STATE, "conv.bias", rank=4)
