"""Read sizes of a network off a state dict, and load the state dict if it fits key by key."""

from collections.abc import Collection, Mapping
from typing import TypeVar

import torch
from torch import Tensor, nn

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.weights.checkpoints import some

Module = TypeVar("Module", bound=nn.Module)


def shape(state: Mapping[str, Tensor], key: str, rank: int) -> tuple[int, ...]:
    """Shape of the entry that tells a size of the network; PipeError where it is absent or not of that rank."""
    if key not in state:
        raise PipeError(
            f"The weights must hold {key}; found {len(state)} other keys: {some(state)}",
            "check-network",
        )
    if state[key].ndim != rank:
        raise PipeError(
            f"{key} must have {rank} dimensions; the weights have it as {tuple(state[key].shape)}",
            "check-network",
        )
    return tuple(state[key].shape)


def fit(
    module: Module,
    state: Mapping[str, Tensor],
    unused: Collection[str] = (),
    remedy: str = "check-network-weights-config",
) -> Module:
    """Put the weights into a module, all of them, and freeze it for inference.

    Every key of the module must be there in its shape, and nothing else may be. Exempt are keys that only training
    uses (those of losses, ``num_batches_tracked``) or that measuring leaves (``total_ops``, of thop), and the keys
    that the caller lists as `unused`. The module may be on the meta device: its tensors are replaced, not filled.

    Parameters
    ----------
    module : the network
    state : its weights
    unused : keys of `state` that it has no place for
    remedy : for the error, what may be wrong

    Raises
    ------
    PipeError
        Naming the keys that are missing, left over or of another shape.
    """
    # Compared here and not by torch's `strict`: its error lists hundreds of keys, and it does not look at the kind
    # of number.
    expected = module.state_dict()
    faults = _faults(expected, {key: state[key] for key in state if key not in unused})
    if faults:
        raise PipeError(
            f"The weights must fit the network key by key: {'; '.join(faults)}; nothing runs on weights "
            "that do not fit",
            remedy,
        )
    loaded = {
        key: _counter() if _is_counter(key) else state.get(key, like).to(like.dtype) for key, like in expected.items()
    }
    # `assign`: a module on the meta device has no memory to copy into.
    module.load_state_dict(loaded, assign=True)
    return module.eval().requires_grad_(False)


def _faults(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    misfits = [
        f"{key} {_describe(state[key])} instead of {_describe(like)}"
        for key, like in expected.items()
        if key in state and not _is_counter(key) and _describe(state[key]) != _describe(like)
    ]
    groups = {
        "missing": [key for key in expected if key not in state and not (_is_counter(key) or _is_criterion(key))],
        "left over": [key for key in state if key not in expected and not _is_idle(key)],
        "of another shape": misfits,
    }
    return [f"{len(keys)} {name} ({some(keys)})" for name, keys in groups.items() if keys]


def _is_counter(key: str) -> bool:
    return key.endswith("num_batches_tracked")


def _is_criterion(key: str) -> bool:
    return key.startswith("criterion.")


def _is_idle(key: str) -> bool:
    """Whether a key is of training or of measuring alone, wherever a network has no such key."""
    *owners, last = key.lower().split(".")
    if last in ("num_batches_tracked", "total_ops", "total_params"):
        return True
    return any("criterion" in owner or "loss" in owner for owner in owners)


def _counter() -> Tensor:
    """Batch norm's count of batches, which only a running training reads."""
    return torch.zeros((), dtype=torch.int64)


def _describe(tensor: Tensor) -> str:
    """Shape, and the kind of number where it is not a float: a quantised weight is not the weight."""
    return f"{tuple(tensor.shape)}" if tensor.is_floating_point() else f"{tuple(tensor.shape)} {tensor.dtype}"
