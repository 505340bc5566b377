"""Checkpoints: from whatever a weight file holds to a state dict that fits a network, or a clear error."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

import torch
from torch import Tensor, nn

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.weights.weightfile import read_weight_file

CONTAINERS = ("state_dict", "model_state_dict", "model", "network")
PREFIXES = ("module.", "model.", "network.", "_orig_mod.")
SHOWN = 4
NESTED = 8
"""Containers within containers and wrappers around wrappers; a file may have its content contain itself."""
MOST_ENTRIES = 10_000

PLAIN = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
"""Numbers that any device computes with; what is quantised or complex is no weight of the networks known here."""

Module = TypeVar("Module", bound=nn.Module)


def load_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read a weight file as plain tensors; no code in it is ever run.

    Takes what ``torch.save`` wrote or safetensors, bare or inside a container such as ``{"state_dict": ...}``.
    Prefixes that wrappers leave on every key (``module.``, ``model.``,
    ``network.``, ``_orig_mod.``, in any order and number) are stripped.

    Returns
    -------
    dict
        Key -> tensor on the CPU, every floating-point tensor float32 and finite.

    Raises
    ------
    PipeError
        Where the file is missing, damaged, not a weight file, or holds anything but tensors.
    """
    path = Path(path)
    state = _tensors(_unwrap(read_weight_file(path)), path)
    _require_real(state, path)
    weights = {key: _float32(value) for key, value in state.items()}
    _require_finite(weights, path)
    return strip_prefixes(weights)


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the wrappers' prefixes, each where most weights carry it; a key without it stays, to be named later.

    A Lightning module keeps its loss beside its network, so ``criterion.*`` has no say in what "most" is.
    """
    stripped = dict(state)
    for _ in range(NESTED):
        shorter = (_without(prefix, stripped) for prefix in PREFIXES)
        stripped = next((state for state in shorter if state), stripped)
    return stripped


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Take off one prefix; None where few weights carry it, or two keys would become one."""
    weights = [key for key in state if not key.startswith("criterion.")]
    stripped = {key.removeprefix(prefix): value for key, value in state.items()}
    common = 2 * sum(key.startswith(prefix) for key in weights) > len(weights)
    return stripped if common and len(stripped) == len(state) else None


def shape(state: Mapping[str, Tensor], key: str, rank: int) -> tuple[int, ...]:
    """Shape of the entry that tells a size of the network; PipeError where it is absent or not of that rank."""
    if key not in state:
        raise PipeError(
            f"The weights must hold {key}; found {len(state)} other keys: {_some(state)}. "
            "Check that --network is the network these weights were trained for."
        )
    if state[key].ndim != rank:
        raise PipeError(
            f"{key} must have {rank} dimensions; the weights have it as {tuple(state[key].shape)}. "
            "Check that --network is the network these weights were trained for."
        )
    return tuple(state[key].shape)


def fit(module: Module, state: Mapping[str, Tensor], unused: Collection[str] = ()) -> Module:
    """Put the weights into a module, all of them, and freeze it for inference.

    Every key of the module must be there in its shape, and nothing else may be. Exempt are the keys that only
    training uses, ``criterion.*`` and ``num_batches_tracked``, and the keys that the caller lists as `unused`.
    The module may be on the meta device: its tensors are replaced, not filled.

    Raises
    ------
    PipeError
        Naming the keys that are missing, left over or of another shape.
    """
    expected = module.state_dict()
    faults = _faults(expected, {key: state[key] for key in state if key not in unused})
    if faults:
        raise PipeError(
            f"The weights must fit the network key by key: {'; '.join(faults)}. "
            "Check --network, --weights and --config; nothing runs on weights that do not fit."
        )
    loaded = {key: _counter() if _training_only(key) else state[key].to(like.dtype) for key, like in expected.items()}
    module.load_state_dict(loaded, assign=True)
    return module.eval().requires_grad_(False)


def _faults(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> list[str]:
    misfits = [
        f"{key} {_describe(state[key])} instead of {_describe(like)}"
        for key, like in expected.items()
        if key in state and not _training_only(key) and _describe(state[key]) != _describe(like)
    ]
    groups = {
        "missing": [key for key in expected if key not in state and not _training_only(key)],
        "left over": [key for key in state if key not in expected and not _training_only(key)],
        "of another shape": misfits,
    }
    return [f"{len(keys)} {name} ({_some(keys)})" for name, keys in groups.items() if keys]


def _training_only(key: str) -> bool:
    return key.startswith("criterion.") or key.endswith("num_batches_tracked")


def _counter() -> Tensor:
    """Batch norm's count of batches, which only a running training reads."""
    return torch.zeros((), dtype=torch.int64)


def _describe(tensor: Tensor) -> str:
    """Shape, and the kind of number where it is not a float: a quantised weight is not the weight."""
    return f"{tuple(tensor.shape)}" if tensor.is_floating_point() else f"{tuple(tensor.shape)} {tensor.dtype}"


def _some(keys: Collection[str]) -> str:
    names = list(keys)
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _unwrap(content: object) -> object:
    for _ in range(NESTED):
        inner = [content[name] for name in CONTAINERS if isinstance(content, dict) and name in content]
        content = next((value for value in inner if isinstance(value, dict)), content)
    return content


def _tensors(state: object, path: Path) -> dict[str, Tensor]:
    remedy = "Save model.state_dict()."
    if not isinstance(state, dict):
        raise PipeError(f"A weight file must hold a state dict; {path} holds a {type(state).__name__}. {remedy}")
    if not 0 < len(state) <= MOST_ENTRIES:
        found = f"has {len(state)} entries, and {MOST_ENTRIES} are the most" if state else "is empty"
        raise PipeError(f"A state dict must hold weights; the one in {path} {found}. {remedy}")
    entries = dict(dict.items(state))  # a pickle may set attributes of an OrderedDict, `items` for one
    for key, value in entries.items():
        if not (isinstance(key, str) and isinstance(value, Tensor)):
            raise PipeError(
                f"A state dict must map names to tensors; in {path}, {key!r} is a {type(value).__name__}. {remedy}"
            )
    return entries


def _require_real(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse numbers of unusual kinds, and tensors that are larger than the file that they came from.

    A stride of 0 repeats one stored number as often as the shape says, up to any size. Tied weights share numbers,
    so twice the file is granted.
    """
    odd = [key for key, value in state.items() if value.dtype not in PLAIN]
    if odd:
        raise PipeError(
            f"Weights must be plain numbers; in {path}, {len(odd)} of {len(state)} entries are not ({_some(odd)}: "
            f"{state[odd[0]].dtype}). Save the weights as float32."
        )
    claimed, size = sum(value.nbytes for value in state.values()), path.stat().st_size
    if claimed > 2 * size:
        raise PipeError(
            f"A weight file must store its tensors whole; {path} has {size} bytes, and its tensors claim {claimed}. "
            "Save contiguous tensors."
        )


def _float32(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    broken = [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise PipeError(
            f"Weights must be finite; {path} holds NaN or infinity in {len(broken)} of {len(weights)} entries "
            f"({_some(broken)}). Use a checkpoint from before the training diverged."
        )
