"""How a machine's cores, memory and GPUs are shared out; the devices that are not here are fakes."""

from contextlib import contextmanager
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import refused

from logitpipe.stages.infer import forward
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.device import device
from logitpipe.stages.infer.device.device import (
    MOST_BACKGROUND_THREADS,
    MOST_PASSES,
    QUEUE_BYTES,
    background_threads,
    choose_device,
    queue_depth,
    set_arithmetic,
    side_by_side,
)
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.infer.device.transfer import Transfer
from logitpipe.stages.infer.forward import _to_device, launch
from logitpipe.stages.infer.model import Model, load_model
from logitpipe.stages.infer.networks import NETWORKS
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.infer.run import windows_in_a_pass

CPU = torch.device("cpu")


def test_all_cores_work_beside_the_network(monkeypatch):
    for cores, beside in (1, 1), (6, 6), (64, MOST_BACKGROUND_THREADS):
        monkeypatch.setattr(device, "cores_of_rank", lambda cores=cores: cores)
        assert background_threads(CPU) == beside
        assert background_threads(torch.device("cuda")) == cores


@pytest.mark.parametrize(("cores", "passes", "each"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (8, MOST_PASSES, 2)])
def test_forward_passes_on_a_cpu_divide_its_cores(monkeypatch, cores, passes, each):
    monkeypatch.setattr(device, "cores_of_rank", lambda: 64)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(cores)
        with side_by_side(CPU) as found:
            assert (found, torch.get_num_threads()) == (passes, each)
        assert torch.get_num_threads() == cores
        with side_by_side(torch.device("cuda")) as found:
            assert (found, torch.get_num_threads()) == (1, cores)
    finally:
        torch.set_num_threads(before)


def test_what_waits_is_bounded_by_memory_and_never_less_than_a_batch(monkeypatch):
    """224 cores would let 228 images wait, 4.8 GB of ERFNet's logits at 21 MB each, and twice that."""
    monkeypatch.setattr(device, "cores_of_rank", lambda: 224)
    cuda, image = torch.device("cuda"), 21 << 20
    assert queue_depth(cuda, 4, image) * image <= QUEUE_BYTES
    assert queue_depth(cuda, 4, 1000) == 4 + 224
    assert queue_depth(cuda, 32, 1 << 30) == 33


@pytest.mark.parametrize(
    ("variables", "gpus", "found"),
    [
        ({}, 4, 0),
        ({"RANK": "6", "WORLD_SIZE": "8", "LOCAL_RANK": "2"}, 4, 2),
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"}, 2, 1),  # more ranks than GPUs share them
        ({"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "3"}, 1, 0),  # the launcher shows each rank its own alone
        ({"SLURM_PROCID": "5", "SLURM_STEP_ID": "0", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1"}, 4, 1),
        ({"SLURM_PROCID": "0", "SLURM_NTASKS": "8", "SLURM_LOCALID": "1"}, 4, 0),  # a script of sbatch
        ({"LOCAL_RANK": "2"}, 4, 0),  # left over: without a rank it says nothing
    ],
)
@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_each_rank_takes_a_gpu_of_its_own(monkeypatch, variables, gpus, found, name):
    for variable in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "SLURM_STEP_ID", "SLURM_STEP_NUM_TASKS", "SLURM_PROCID"):
        monkeypatch.delenv(variable, raising=False)
    for variable, value in variables.items():
        monkeypatch.setenv(variable, value)
    current = []
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    monkeypatch.setattr(torch.cuda, "set_device", current.append)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")  # put back after the test
    assert choose_device(name) == torch.device("cuda", found)
    assert current == [torch.device("cuda", found)]
    assert choose_device("cuda:0") == torch.device("cuda", 0)


@pytest.mark.parametrize(("kind", "asynchronous"), [("cuda", True), ("mps", False), ("cpu", False)])
def test_only_cuda_copies_from_memory_that_is_given_back_at_once(monkeypatch, kind, asynchronous):
    """The batch is a temporary. What MPS copies later it reads from memory that holds something else by then."""
    asked = []

    def to(tensor: torch.Tensor, _where: object, non_blocking: bool = False) -> torch.Tensor:
        asked.append(non_blocking)
        return tensor

    monkeypatch.setattr(torch.Tensor, "to", to)
    monkeypatch.setattr(torch.Tensor, "pin_memory", lambda tensor: tensor)
    batch = _to_device([np.full((4, 6, 3), 255, np.uint8)], SimpleNamespace(type=kind))
    assert asked == [asynchronous]
    assert batch.shape == (1, 3, 4, 6) and (batch == 1).all()


class Doubled(torch.nn.Module):
    """A network of one channel, twice the first colour, that notes how many pictures come at once."""

    def __init__(self) -> None:
        super().__init__()
        self.seen = []

    def forward(self, images):
        self.seen.append(len(images))
        return 2 * images[:, :1]

    def output_shapes(self, size):
        return ((1, *size),)


def model_of(module, kind="cpu", rule="4x6") -> Model:
    network = SimpleNamespace(
        module=module, kind="pixel", name="fake", preprocessing=SimpleNamespace(mean=[0], range=1)
    )
    return Model(network, Resize.parse(rule), torch.device(kind))


def pictures(count: int) -> list:
    frame = Resize.parse("4x6").frame((4, 6))
    shades = [np.full((4, 6, 3), 10 * (i + 1), np.uint8) for i in range(count)]
    return [SimpleNamespace(frame=frame, crops=lambda shade=shade: [shade]) for shade in shades]


@pytest.mark.parametrize(("at_once", "seen"), [(4, [4]), (2, [2, 2]), (None, [3])])
def test_a_pass_that_comes_out_short_is_filled_up_with_copies(monkeypatch, at_once, seen):
    monkeypatch.setattr(Model, "padding_colour", (0, 0, 0))
    model = model_of(module := Doubled())
    arriving = launch(model, Transfer(CPU), pictures(3), "float32", ["a", "b", "c"], at_once)
    assert module.seen == seen
    for i, arrive in enumerate(arriving):
        assert np.allclose(arrive()["logits"], 20 * (i + 1) / 255)
    assert len(arriving) == 3


@pytest.mark.parametrize(
    ("kind", "rule", "sizes", "found"),
    [
        ("cuda", "4x6", {(10, 20), (30, 30)}, 8),
        ("mps", "native", {(10, 20)}, 8),
        ("cuda", "native", {(10, 20), (30, 30)}, None),  # most passes would be filled with copies
        ("cpu", "4x6", {(10, 20)}, 8),
    ],
)
def test_each_pass_takes_as_many_windows(kind, rule, sizes, found):
    data = SimpleNamespace(picture_sizes=sizes, samples=[None] * 9)
    assert windows_in_a_pass(model_of(None, kind, rule), data, 8) == found
    data.samples.pop()
    data.samples.pop()
    assert windows_in_a_pass(model_of(None, kind, rule), data, 8) == (found and 7)


def test_the_thread_that_computes_has_the_device_of_its_rank(monkeypatch):
    """A thread begins with the first GPU, whatever another has chosen, and would take memory of it."""
    current = []

    @contextmanager
    def chosen(which):
        current.append(which)
        yield
        current.pop()

    class Watching(Doubled):
        def forward(self, images):
            assert current == [torch.device("cuda", 2)]
            return super().forward(images)

    class Copies:
        def begin(self, tensor):
            assert current == [torch.device("cuda", 2)]
            return lambda: tensor

    monkeypatch.setattr(torch.cuda, "device", chosen)
    monkeypatch.setattr(Model, "padding_colour", (0, 0, 0))
    monkeypatch.setattr(forward, "_to_device", lambda pixels, *_: _to_device(pixels, CPU))
    (arrive,) = launch(model_of(Watching(), "cuda:2"), Copies(), pictures(1), "float32", ["a"])
    assert np.allclose(arrive()["logits"], 20 / 255)
    assert current == []


def test_a_copy_waits_for_the_network_and_its_reader_for_the_copy(monkeypatch):
    """A copy that begins early, or memory that is given away early, would be a wrong logit without a sign."""
    done = []

    class Stream:
        def __init__(self, where):
            self.where = where

        def wait_stream(self, other):
            done.append(f"copies wait for {other}")

        def record_event(self):
            done.append("mark")
            return SimpleNamespace(synchronize=lambda: done.append("reader waits"))

    @contextmanager
    def inside(_stream):
        done.append("on the stream of copies")
        yield
        done.append("off it")

    def empty(shape, dtype, pin_memory):
        assert pin_memory
        return torch.zeros(shape, dtype=dtype)

    copy = torch.Tensor.copy_
    monkeypatch.setattr(torch.cuda, "Stream", Stream)
    monkeypatch.setattr(torch.cuda, "current_stream", lambda _device: "the network")
    monkeypatch.setattr(torch.cuda, "stream", inside)
    monkeypatch.setattr(torch, "empty", empty)
    monkeypatch.setattr(torch.Tensor, "record_stream", lambda *_: done.append("memory kept for the copy"))
    monkeypatch.setattr(
        torch.Tensor, "copy_", lambda to, of, non_blocking: done.append(f"copy {non_blocking}") or copy(to, of)
    )
    arrive = Transfer(torch.device("cuda", 0)).begin(torch.arange(3.0))
    before = ["copies wait for the network", "on the stream of copies", "copy True", "mark", "off it"]
    assert done == [*before, "memory kept for the copy"]
    assert arrive().tolist() == [0, 1, 2]
    assert done[-1] == "reader waits"


def test_what_a_network_s_own_code_sets_does_not_last():
    cudnn, names = torch.backends.cudnn, ("benchmark", "deterministic")
    before = [getattr(cudnn, name) for name in names]
    has_new_names = hasattr(torch.backends, "fp32_precision")
    try:
        torch.set_float32_matmul_precision("high")
        cudnn.benchmark, cudnn.deterministic = True, False
        if has_new_names:
            torch.backends.fp32_precision = "tf32"
        for tf32 in (True, False):
            set_arithmetic(tf32)
            assert (cudnn.benchmark, cudnn.deterministic) == (False, True)
            assert torch.backends.cuda.matmul.allow_tf32 is cudnn.allow_tf32 is tf32
            if has_new_names:
                # Unset, it would be what fp32_precision says for everything.
                assert cudnn.conv.fp32_precision == ("tf32" if tf32 else "ieee")
    finally:
        if has_new_names:
            torch.backends.fp32_precision = "none"
        for name, value in zip(names, before, strict=True):
            setattr(cudnn, name, value)
        torch.set_float32_matmul_precision("highest")


MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.95 GB, other allocations: 64.00 KB)"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("cuDNN error: CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED"),
)
FAILURES = (
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
    RuntimeError("GET was unable to find an engine to execute this computation"),
    TypeError("Cannot convert a MPS Tensor to float64 dtype as the MPS framework doesn't support float64."),
)
LACKING = NotImplementedError(
    "The operator 'aten::max_unpool2d' is not currently implemented for the MPS device. If you want this op to be"
)


@pytest.mark.parametrize("error", [*MEMORY, *FAILURES], ids=lambda error: str(error)[:20])
def test_what_a_device_says_becomes_one_line(error):
    lines = {
        True: "cuda:1 has too little memory for 2 images at once; choose a smaller --batch-size",
        False: f"cuda:1 failed at image 'a.png' or shortly before ({str(error).splitlines()[0]}); call the same "
        "command again; with CUDA_LAUNCH_BLOCKING=1 it says where, and --device cpu does without",
    }
    with refused(lines[error in MEMORY]), device_errors(torch.device("cuda", 1), ["a.png", "b.png"]):
        raise error


def test_an_operation_that_torch_lacks_on_a_device_is_named():
    line = (
        f"torch {torch.__version__} does not compute aten::max_unpool2d on mps, and the network needs it; set "
        "PYTORCH_ENABLE_MPS_FALLBACK=1, which computes it on the CPU, or take a newer torch or --device cpu"
    )
    with refused(line), device_errors(torch.device("mps"), ["a.png"]):
        raise LACKING


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MEMORY[0], "cpu has too little memory for the network; free memory of it, or take another --device"),
        (FAILURES[1], f"cpu failed before any image was computed ({FAILURES[1]})"),
    ],
)
def test_a_network_that_does_not_come_onto_its_device_is_told_in_one_line(monkeypatch, error, line):
    class Large(torch.nn.Module):
        def to(self, *_, **__):
            raise error

    channels = SimpleNamespace(names=("road", "car"), void=None, outlier=None)
    network = SimpleNamespace(module=Large(), resize="4x6", multiple=1, channels=channels)
    monkeypatch.setitem(NETWORKS, "enet", lambda _: network)
    with refused(line):
        load_model(Source("enet"), CPU)


def test_a_gpu_that_is_taken_by_another_is_told_in_one_line(monkeypatch):
    def taken(_device):
        raise RuntimeError("CUDA error: CUDA-capable device(s) is/are busy or unavailable\nCUDA kernel errors might")

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "set_device", taken)
    monkeypatch.setenv("CUBLAS_WORKSPACE_CONFIG", "")
    with refused(
        "cuda:0 failed before any image was computed (CUDA error: CUDA-capable device(s) is/are busy or unavailable)"
    ):
        choose_device("cuda:0")


@pytest.mark.parametrize(
    ("kind", "place"),
    [("cuda", (torch.cuda, "is_bf16_supported")), ("mps", (torch.backends.mps, "is_macos_or_newer"))],
)
def test_bfloat16_is_refused_where_it_would_fail_later_or_be_left_out_silently(monkeypatch, kind, place):
    monkeypatch.setattr(*place, lambda *_: False)
    with refused(f"{kind} does not compute in bfloat16 here; take --amp none"):
        load_model(Source("enet"), torch.device(kind), "bf16")


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("CUDA out of memory")])
def test_what_is_no_device_s_stays_what_it_is(error):
    with pytest.raises(type(error), check=lambda found: found is error), device_errors(torch.device("cpu"), ["a"]):
        raise error
