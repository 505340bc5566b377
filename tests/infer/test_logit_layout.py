"""Logits leave the network in C order and finite, or are named."""

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from logitpipe.stages.infer.device.planes import STRIP, all_finite, planes


@given(
    st.tuples(st.integers(1, 3), st.integers(1, 5), st.integers(1, 3 * STRIP), st.integers(1, 9)),
    st.sampled_from([torch.float16, torch.float32]),
    st.sampled_from([torch.contiguous_format, torch.channels_last]),
)
def test_planes_are_the_same_logits_in_c_order(shape, dtype, order):
    logits = torch.randn(shape).to(dtype).to(memory_format=order)
    assert torch.equal(planes(logits), logits)
    assert planes(logits).is_contiguous()


def test_what_is_in_c_order_is_not_copied():
    for logits in torch.rand(2, 3, 4, 5), torch.rand(2, 3, 4):
        assert planes(logits).data_ptr() == logits.data_ptr()


@pytest.mark.parametrize("broken", [float("nan"), float("inf"), -float("inf")])
@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_one_broken_logit_is_found_in_its_image(broken, dtype):
    noise = torch.Generator().manual_seed(0)
    for _ in range(30):
        logits = torch.randn((3, 5, 67, 31), generator=noise).to(dtype)
        assert all_finite(logits).tolist() == [True] * 3
        image, place = (int(torch.randint(n, (), generator=noise)) for n in (3, 5 * 67 * 31))
        logits[image].view(-1)[place] = broken
        assert all_finite(logits).tolist() == [i != image for i in range(3)]


@pytest.mark.parametrize("dtype", [torch.float16, torch.float32])
def test_logits_whose_sum_is_beyond_the_type_are_finite(dtype):
    logits = torch.full((2, 3, 4, 50), torch.finfo(dtype).max, dtype=dtype)
    assert all_finite(logits).tolist() == [True, True]
    logits[1, 0, 0, :2] = torch.tensor([float("inf"), -float("inf")])
    assert all_finite(logits).tolist() == [True, False]
