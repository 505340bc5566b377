"""Weight files made to harm: no code of theirs runs, no promise of theirs is believed, one clear line ends each."""

import io
import json
import os
import pickle
import struct
import tarfile
import time
import warnings
import zipfile
from collections import OrderedDict
from pathlib import Path

import pytest
import safetensors.torch
import torch
from conftest import fails, refused
from hostile import posix

from logitpipe.cache import PipeError
from logitpipe.stages.infer.networks.eomt.keys import upstream_layout
from logitpipe.stages.infer.weights import pickles, weightfile
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint, strip_prefixes

pytestmark = pytest.mark.usefixtures("within_limits")

STATE = {"conv.weight": torch.arange(6.0).reshape(2, 3), "conv.bias": torch.tensor([1.0, -1.0])}
ADVICE = "Download or copy it again, or save it anew: torch.save(model.state_dict(), path)."
WHOLE = "Save contiguous tensors."


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "weights.pth"


def no_weights(path: Path, reason: str) -> str:
    start = f"A weight file must be what torch.save or safetensors wrote; {path} is not, or is cut short"
    return f"{start} ({reason}). {ADVICE}"


def load_state_dict(path: Path) -> dict[str, torch.Tensor]:
    return read_checkpoint(path).tensors


def among(path: Path, key: str, name: str) -> str:
    return f"A state dict must map names to tensors; in {path}, {key!r} is a {name}. Save model.state_dict()."


# ---- Code


class Call:
    """Calls a function where it is unpickled by a reader that runs code."""

    def __init__(self, function, *arguments):
        self.function, self.arguments = function, arguments

    def __reduce__(self):
        return self.function, self.arguments


class Build:
    """Sets attributes of what it pretends to be."""

    def __init__(self, like, state, items):
        self.like, self.state, self.items = like, state, items

    def __reduce__(self):
        return self.like, (), self.state, None, iter(self.items.items())


TRAPS = {
    "io.open": lambda marker: Call(open, str(marker), "w"),
    "posix.system": lambda marker: Call(os.system, f"touch {marker}"),
    "builtins.exec": lambda marker: Call(exec, f"open({str(marker)!r}, 'w').close()"),
    "pickle.loads": lambda marker: Call(
        pickle.loads, pickle.dumps(Call(exec, f"open({str(marker)!r}, 'w').close()"))
    ),
}
"""Objects that leave a marker where they are unpickled, by the name that stands in the pickle."""


@pytest.fixture(params=TRAPS)
def trap(request, tmp_path):
    """Give such an object and its name; the marker must not be there after the test."""
    yield TRAPS[request.param](tmp_path / "marker"), request.param
    assert not (tmp_path / "marker").exists()


@posix
@pytest.mark.parametrize("name", TRAPS)
def test_the_traps_work(tmp_path, name):
    made = pickle.loads(pickle.dumps(TRAPS[name](tmp_path / "marker"), protocol=2))
    getattr(made, "close", bool)()  # the file of io.open
    assert (tmp_path / "marker").exists()


@pytest.mark.parametrize("zipped", [True, False])
def test_an_object_among_the_weights_is_named_and_not_made(path, trap, zipped):
    torch.save(STATE | {"trap": trap[0]}, path, _use_new_zipfile_serialization=zipped)
    with refused(among(path, "trap", trap[1])):
        load_state_dict(path)


@pytest.mark.parametrize("zipped", [True, False])
def test_an_object_beside_the_weights_is_named_and_not_made(path, trap, zipped):
    torch.save({"trap": trap[0], "state_dict": STATE}, path, _use_new_zipfile_serialization=zipped)
    checkpoint = read_checkpoint(path)
    assert checkpoint.tensors.keys() == STATE.keys()
    assert checkpoint.notes == (f"{path.name}: beside the weights lie objects that were not read: {trap[1]}",)


@pytest.mark.parametrize("hidden", ["second pickle", "upper case", "duplicate"])
def test_a_zip_has_one_pickle(path, trap, hidden):
    torch.save(STATE, path)
    names = {"second pickle": "weights/other.pkl", "upper case": "weights/DATA.PKL", "duplicate": "weights/data.pkl"}
    with warnings.catch_warnings(), zipfile.ZipFile(path, "a") as archive:
        warnings.simplefilter("ignore")
        archive.writestr(names[hidden], pickle.dumps(trap[0], protocol=2))
    with refused(no_weights(path, "a zip archive with other members than torch.save writes")):
        load_state_dict(path)


class Code:
    """Builds a pickle by hand, for what no object of Python's would write."""

    def __init__(self, *parts: bytes) -> None:
        self.data = b"\x80\x02" + b"".join(parts) + b"."


OPENS = b"cio\nopen\n"
STRANGE = {
    "a class that is called": Code(OPENS, b"X\x01\x00\x00\x00a\x85\x81"),
    "attributes of a name": Code(OPENS, b"}X\x04\x00\x00\x00nameX\x10\x00\x00\x00torch.save_thingsb"),
    "a name that calls a name": Code(OPENS, OPENS, b"\x85R"),
    "what a call gave, called": Code(OPENS, b")R)R"),
    "a method of a tensor": Code(b"ctorch\nTensor.backward\n", b")R"),
    "an extension": Code(b"\x82\x01"),
    "room for a terabyte": Code(b"\x96" + struct.pack("<Q", 1 << 40)),
    "a storage of a name": Code(OPENS, b"Q"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_pickles_that_no_torch_save_writes_do_nothing(path, tmp_path, name):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", STRANGE[name].data)
    with pytest.raises(PipeError, match=r"^A (weight file|state dict) must "):
        load_state_dict(path)
    assert list(tmp_path.iterdir()) == [path]


def test_a_pickle_under_the_name_of_safetensors_is_not_unpickled(tmp_path, trap):
    path = tmp_path / "weights.safetensors"
    torch.save(STATE | {"trap": trap[0]}, path)
    with refused(no_weights(path, "safetensors that cannot be read")):
        load_state_dict(path)


def test_a_bare_pickle_is_not_unpickled(path, trap):
    path.write_bytes(pickle.dumps(trap[0]))
    with refused(no_weights(path, "a pickle that torch.save did not write")):
        load_state_dict(path)


def test_the_oldest_format_of_torch_is_not_unpickled(path, trap):
    with tarfile.open(path, "w") as archive:
        for name in ("storages", "tensors", "pickle", "../../marker"):
            data = pickle.dumps(trap[0], protocol=2)
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    with refused(no_weights(path, "it begins like neither")):
        load_state_dict(path)


def test_members_that_lead_out_of_a_zip_are_written_nowhere(path, tmp_path):
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../marker", "x")
        archive.writestr(str(tmp_path / "marker"), "x")
    before = set(tmp_path.parent.rglob("*"))
    with refused(no_weights(path, "a zip archive with other members than torch.save writes")):
        load_state_dict(path)
    assert set(tmp_path.parent.rglob("*")) == before


def test_torchscript_is_named(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/constants.pkl", pickle.dumps(()))
    with refused(
        f"A weight file must hold plain, dense tensors; {path} is TorchScript, which is code. "
        "Save the state dict alone: torch.save(model.state_dict(), path)."
    ):
        load_state_dict(path)


def test_attributes_set_by_a_pickle_do_not_shadow_methods(path):
    torch.save(Build(OrderedDict, {"items": 1, "keys": 2, "get": 3, "__len__": 4}, STATE), path)
    assert load_state_dict(path).keys() == STATE.keys()


# ---- Tensors that are none


def tensors():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return {
            "_rebuild_qtensor": torch.quantize_per_tensor(STATE["conv.bias"], 0.1, 0, torch.qint8),
            "_rebuild_sparse_tensor": torch.sparse_coo_tensor([[0], [0]], torch.ones(1), (10**6, 10**6)),
            "_rebuild_meta_tensor_no_storage": torch.empty(10**12, device="meta"),
            "_rebuild_tensor_v3": torch.zeros(4, dtype=torch.float8_e4m3fn),
        }


@pytest.mark.parametrize("name", list(tensors()))
def test_tensors_of_other_kinds_are_refused(path, name):
    torch.save(STATE | {"odd": tensors()[name]}, path)
    advice = "merge or dequantise them, and save the state dict of the plain network"
    quantised = f"{path} holds quantised weights: odd; {advice}"
    found = quantised if name == "_rebuild_qtensor" else among(path, "odd", f"torch._utils.{name}")
    with refused(found):
        load_state_dict(path)


@pytest.mark.parametrize("dtype", [torch.complex64, torch.float8_e4m3fn, torch.uint16])
def test_numbers_of_other_kinds_are_refused(tmp_path, dtype):
    path = tmp_path / "weights.safetensors"
    try:
        safetensors.torch.save_file(STATE | {"odd": torch.zeros(4, dtype=dtype)}, path)
    except KeyError:
        pytest.skip(f"this release of safetensors writes no {dtype}")
    with refused(
        f"Weights must be plain numbers; in {path}, 1 of 3 entries are not (odd: {dtype}). "
        "Save the weights as float32."
    ):
        load_state_dict(path)


@pytest.mark.parametrize("value", [None, 3, "text", [1.0], {"a": 1}])
def test_plain_values_among_the_weights_are_named(path, value):
    torch.save(STATE | {"epoch": value}, path)
    checkpoint = read_checkpoint(path)
    assert checkpoint.tensors.keys() == STATE.keys()
    assert checkpoint.notes == (f"{path.name}: beside the weights lie objects that were not read: epoch",)


@pytest.mark.parametrize("value", [b"bytes", {1, 2}])
def test_what_is_no_tensor_is_refused(path, value):
    torch.save(STATE | {"epoch": value}, path)
    with refused(
        f"A state dict must map names to tensors; in {path}, 'epoch' is a {type(value).__name__}. "
        "Save model.state_dict()."
    ):
        load_state_dict(path)


# ---- Bombs and lies


@pytest.mark.parametrize("member", ["data.pkl", "data/0"])
def test_a_compressed_member_is_never_opened(path, tmp_path, member):
    torch.save(STATE, tmp_path / "plain.pth")
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as bomb:
        for name in plain.namelist():
            with bomb.open(name, "w", force_zip64=True) as file:
                for _ in range(100 if name.endswith(member) else 1):
                    file.write(bytes(1 << 20) if name.endswith(member) else plain.read(name))
    reason = "a zip archive whose members are compressed, or claim more bytes than it has"
    with refused(no_weights(path, reason)):
        load_state_dict(path)


def test_a_tensor_larger_than_its_file_is_refused(path):
    torch.save({"weight": torch.zeros(1).expand(200_000, 100_000)}, path)
    with refused(
        f"A weight file must store its tensors whole; {path} has {path.stat().st_size} bytes, and its tensors claim "
        f"80000000000. {WHOLE}"
    ):
        load_state_dict(path)


def test_a_tensor_repeated_under_many_names_is_refused(path):
    weight = torch.zeros(100_000, dtype=torch.float16)
    torch.save({f"weight.{i}": weight for i in range(2000)}, path)
    with refused(
        f"A weight file must store its tensors whole; {path} has {path.stat().st_size} bytes, and its tensors claim "
        f"400000000. {WHOLE}"
    ):
        load_state_dict(path)


def test_tied_weights_are_taken(path):
    weight = torch.ones(1000)
    torch.save({"embedding": weight, "head": weight}, path)
    assert torch.equal(load_state_dict(path)["head"], weight)


def pickled(opcodes: bytes) -> bytes:
    return b"\x80\x02" + opcodes + b"."


BOMBS = {
    "key": b"})" + b"\x85" * 150_000 + b"Ns",
    "memo": b"]r\xff\xff\xff\x7f0",
    "text": b"X\xff\xff\xff\x7fabc",
    "call": b"}q\x00(" + b"".join(b"M" + struct.pack("<H", i) + b"N" for i in range(60_000)) + b"u"
    b"ccollections\nOrderedDict\nq\x01" + b"h\x01h\x00\x85R0" * 50_000,
}
"""Pickles that ask for gigabytes in a few bytes: a place in the memo, a text, copies of a long dictionary."""


@pytest.mark.parametrize("name", BOMBS)
@pytest.mark.parametrize("zipped", [True, False])
def test_a_pickle_that_asks_for_gigabytes_gets_none(path, name, zipped):
    if zipped:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("weights/data.pkl", pickled(BOMBS[name]))
            archive.writestr("weights/version", "3\n")
    else:
        path.write_bytes(weightfile.LEGACY_START + 4 * pickled(BOMBS[name]))
    form = "a zip archive" if zipped else "pickles"
    if name == "key":  # which is passed over, and nothing is left
        with pytest.raises(PipeError, match="is empty"):
            load_state_dict(path)
        return
    with refused(no_weights(path, f"{form} that cannot be read")):
        load_state_dict(path)


def test_the_bombs_of_calls_are_stopped_by_what_they_copy():
    with pytest.raises(pickle.UnpicklingError, match="copy more than tensors need"):
        pickles.read_pickles(io.BytesIO(pickled(BOMBS["call"])))


def test_a_pickle_that_is_too_long_is_refused_at_once(path):
    data = pickled(b"]" + b"]0" * pickles.MOST_BYTES)
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("weights/data.pkl", data)
    with refused(no_weights(path, f"a pickle of {len(data)} bytes, and {pickles.MOST_BYTES} are the most")):
        load_state_dict(path)


@pytest.mark.slow
def test_the_longest_pickle_is_looked_through_in_seconds():
    slow = pickled(b"]" * (pickles.MOST_BYTES - 3))
    started = time.thread_time()
    assert pickles.read_pickles(io.BytesIO(slow)).objects == []
    assert time.thread_time() - started < 15


def test_storages_that_claim_more_than_the_file_has_are_refused(path, tmp_path):
    torch.save({"weight": torch.zeros(20)}, tmp_path / "plain.pth")
    claim = b"K\x14t", b"\x8a\x05\x00\x00\x00\x00\x06t"  # 20 numbers become 25 thousand million
    with zipfile.ZipFile(tmp_path / "plain.pth") as plain, zipfile.ZipFile(path, "w") as lie:
        assert claim[0] in plain.read("plain/data.pkl")
        for name in plain.namelist():
            lie.writestr(name, plain.read(name).replace(*claim))
    with refused(no_weights(path, "a zip archive that cannot be read")):
        load_state_dict(path)
    torch.save({"weight": torch.zeros(20)}, path, _use_new_zipfile_serialization=False)
    content = path.read_bytes()
    assert b"K\x14N" in content
    path.write_bytes(content.replace(b"K\x14N", claim[1].replace(b"t", b"N")))
    with refused(no_weights(path, "pickles that cannot be read")):
        load_state_dict(path)


def safetensors_file(header: object, numbers: bytes = bytes(80), length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text) if length is None else length) + text + numbers


TENSOR = {"dtype": "F32", "shape": [20], "data_offsets": [0, 80]}
LIES = {
    "a header of a terabyte": safetensors_file(b"{}", length=1 << 40),
    "a header of no bytes": struct.pack("<Q", 0) + b"{",
    "nothing but a length": bytes(8),
    "overlapping tensors": safetensors_file({"a": TENSOR, "b": TENSOR}),
    "a tensor of 100 GB": safetensors_file({"a": TENSOR | {"shape": [25 * 10**9], "data_offsets": [0, 10**11]}}),
    "a shape that overflows": safetensors_file({"a": TENSOR | {"shape": [1 << 62, 8]}}),
    "numbers that lack": safetensors_file({"a": TENSOR}, bytes(40)),
    "numbers of no tensor": safetensors_file({"a": TENSOR}, bytes(400)),
    "a tensor that is none": safetensors_file(b'{"a": NaN}'),
    "deep nesting": safetensors_file(b'{"a":' * 100_000),
    "another kind of number": safetensors_file({"a": TENSOR | {"dtype": "F31"}}),
}


@pytest.mark.parametrize("lie", LIES)
@pytest.mark.parametrize("name", ["weights.safetensors", "weights.pth"])
def test_safetensors_that_lie_are_refused(tmp_path, lie, name):
    path = tmp_path / name
    path.write_bytes(LIES[lie])
    head = LIES[lie][8:9] == b"{" or name.endswith(".safetensors")
    with refused(no_weights(path, "safetensors that cannot be read" if head else "it begins like neither")):
        load_state_dict(path)


# ---- Files that are none


@posix
@pytest.mark.parametrize("kind", ["pipe", "device", "link to a device", "link to itself", "dangling link", "sparse"])
@pytest.mark.parametrize("read", [load_state_dict, weightfile.weights_sha256])
def test_what_is_no_file_is_not_opened(path, kind, read):
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "sparse":
        path.touch()
        os.truncate(path, 1 << 40)
    else:
        target = {"device": "/dev/zero", "link to a device": "/dev/zero", "dangling link": "/nowhere"}.get(kind, path)
        path.symlink_to(target)
    shown = Path("/dev/zero") if kind == "device" else path
    reason = {
        "link to itself": "Too many levels of symbolic links",
        "dangling link": "No such file or directory",
        "sparse": f"{1 << 40} bytes, and {weightfile.MOST_BYTES} are the most",
    }.get(kind, "a device, pipe or socket and no file")
    with refused(f"A weight file must be readable; {shown}: {reason}; check --weights"):
        read(shown)


# ---- Names


def test_a_state_dict_within_itself_ends(path):
    content: dict[str, object] = {}
    content["model"] = content
    torch.save(content, path)
    with refused(f"A state dict must map names to tensors; in {path}, 'model' is a dict. Save model.state_dict()."):
        load_state_dict(path)


def test_any_number_of_prefixes_ends():
    key = "module." * 100_000 + "weight"
    assert list(strip_prefixes({key: torch.ones(1)})) == [key.replace("module.", "", 8)]


@pytest.mark.slow
def test_too_many_entries_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    safetensors.torch.save_file({str(i): torch.zeros(1) for i in range(10_001)}, path)
    with refused(
        f"A state dict must hold weights; the one in {path} has 10001 entries, and 10000 are the most. "
        "Save model.state_dict()."
    ):
        load_state_dict(path)


@pytest.mark.parametrize("shapes", [((4, 4), (4, 4), (3, 5)), ((4,), (), (4,)), ((), (), ())])
def test_projections_of_several_shapes_are_refused(shapes):
    keys = [f"layers.0.attention.{name}_proj.weight" for name in "qkv"]
    state = {"embeddings.cls_token": torch.zeros(1), **{k: torch.zeros(s) for k, s in zip(keys, shapes, strict=True)}}
    with pytest.raises(PipeError, match=r"^Attention needs projections of one shape; the weights have \["):
        upstream_layout(state)


def test_the_command_ends_in_one_short_line(run, tmp_path):
    torch.save({"\x1b[31m\n" + "k" * 10**6: 3}, tmp_path / "weights.pth")
    bad = tmp_path / "weights\x1b[2J\nFORGED.pth"
    bad.write_bytes((tmp_path / "weights.pth").read_bytes())
    result = run("--weights", str(bad))
    shown = f"{tmp_path}/weights\\x1b[2J\\nFORGED.pth"
    assert result.stderr.startswith(f"pipe: A state dict must map names to tensors; in {shown}, '\\x1b[31m\\nkkk")
    assert result.stderr.endswith("kkk' is a int. Save model.state_dict().\n")
    assert (result.exit_code, result.stdout, len(result.stderr.splitlines())) == (1, "", 1)
    assert len(result.stderr) < 2100
    bad.unlink()
    fails(
        run("--weights", str(bad)),
        f"pipe: A weight file must be readable; {shown}: No such file or directory; check --weights",
    )
