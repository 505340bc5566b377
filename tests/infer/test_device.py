"""How a machine's cores, memory and GPUs are shared out; the devices that are not here are fakes."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from conftest import refused

from logitpipe.stages.infer.device import device
from logitpipe.stages.infer.device.device import (
    MOST_BACKGROUND_THREADS,
    MOST_PASSES,
    QUEUE_BYTES,
    background_threads,
    choose_device,
    queue_depth,
    side_by_side,
)
from logitpipe.stages.infer.device.failures import device_errors
from logitpipe.stages.infer.forward import _to_device

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


MEMORY = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nSee documentation"),
    RuntimeError("MPS backend out of memory (MPS allocated: 17.95 GB, other allocations: 64.00 KB)"),
    RuntimeError("CUDA error: out of memory\nCUDA kernel errors might be asynchronously reported"),
    RuntimeError("[enforce fail at alloc_cpu.cpp:114] . DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)
FAILURES = (
    RuntimeError("CUDA error: an illegal memory access was encountered\nCUDA kernel errors might be"),
    RuntimeError("cuDNN error: CUDNN_STATUS_EXECUTION_FAILED"),
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


@pytest.mark.parametrize("error", [RuntimeError("shapes cannot be multiplied"), ValueError("CUDA out of memory")])
def test_what_is_no_device_s_stays_what_it_is(error):
    with pytest.raises(type(error), check=lambda found: found is error), device_errors(torch.device("cpu"), ["a"]):
        raise error
