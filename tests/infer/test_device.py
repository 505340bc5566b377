"""How a machine's cores are shared out between the network and what runs beside it."""

import pytest
import torch

from logitpipe.stages.infer.device import device
from logitpipe.stages.infer.device.device import (
    MOST_BACKGROUND_THREADS,
    MOST_PASSES,
    background_threads,
    side_by_side,
)

CPU = torch.device("cpu")


def test_all_cores_work_beside_the_network(monkeypatch):
    for cores, beside in (1, 1), (6, 6), (64, MOST_BACKGROUND_THREADS):
        monkeypatch.setattr(device, "available_cores", lambda cores=cores: cores)
        assert background_threads(CPU) == beside
        assert background_threads(torch.device("cuda")) == cores


@pytest.mark.parametrize(("cores", "passes", "each"), [(1, 1, 1), (2, 2, 1), (3, 3, 1), (8, MOST_PASSES, 2)])
def test_forward_passes_on_a_cpu_divide_its_cores(monkeypatch, cores, passes, each):
    monkeypatch.setattr(device, "available_cores", lambda: 64)
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
