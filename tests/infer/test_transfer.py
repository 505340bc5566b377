"""Logits reach the host as they were, from devices whose copies take their time too."""

import numpy as np
import pytest
import torch

from logitpipe.stages.infer.device.transfer import Transfer

CUDA = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA device here")


def test_a_cpu_hands_over_what_it_has():
    transfer, values = Transfer(torch.device("cpu")), torch.arange(6.0)
    assert transfer.batches_behind == 0
    assert transfer.begin(values)().data_ptr() == values.data_ptr()


@pytest.mark.gpu
@CUDA
def test_copies_behind_the_next_batch_are_those_of_their_own():
    device = torch.device("cuda")
    transfer, arriving, expected = Transfer(device), [], []
    assert transfer.batches_behind == 1
    for seed in range(20):
        generator = torch.Generator(device).manual_seed(seed)
        values = torch.rand((20, 512, 1024), device=device, generator=generator)
        expected.append(values.half().cpu())
        arriving.append(transfer.begin(values.half()))
        del values
    for arrive, copy in zip(arriving, expected, strict=True):
        assert np.array_equal(arrive().numpy(), copy.numpy())
