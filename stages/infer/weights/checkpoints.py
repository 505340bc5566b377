"""Checkpoints: from whatever a weight file holds to a state dict, or a clear error."""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.weights.pickles import Foreign, StoredTensor
from logitpipe.stages.infer.weights.weightfile import read_weight_file

CONTAINERS = (
    *("state_dict", "model_state_dict", "model_state", "model", "network", "net", "module", "weights"),
    *("state_dict_ema", "model_ema", "ema", "student", "teacher"),
)
"""Names under which trainings keep a state dict among other things."""

WRAPPERS = ("_orig_mod.", "_fsdp_wrapped_module.", "_checkpoint_wrapped_module.")
"""Names that torch's wrappers of a part of a network insert anywhere in a key."""

PREFIXES = ("module.", "model.", "network.", "net.", "eomt.", "_forward_module.", *WRAPPERS)
SIBLINGS = ("student", "teacher")
"""Prefixes of two different networks in one state dict, as distillation saves them."""

SHOWN = 4
"""Keys that an error names."""

NESTED = 8
"""Containers within containers and wrappers around wrappers; a file may have its content contain itself."""
MOST_ENTRIES = 10_000

PLAIN = (
    *(torch.float16, torch.bfloat16, torch.float32, torch.float64),
    *(torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool),
)
"""Numbers that any device computes with; what is quantised or complex is no weight of the networks known here."""


@dataclass(frozen=True)
class Checkpoint:
    """Weights as a file has them.

    Parameters
    ----------
    tensors : key -> tensor on the CPU, every floating-point tensor float32 and finite
    notes : lines about the file that whoever uses it must see
    """

    tensors: dict[str, Tensor]
    notes: tuple[str, ...] = ()


def read_checkpoint(path: Path | str, key: str | None = None) -> Checkpoint:
    """Read a weight file as plain tensors; no code in it is ever run, and no object in it made.

    Takes what ``torch.save`` wrote or safetensors, bare or inside a container such as ``{"state_dict": ...}``.
    Prefixes that wrappers leave on every key (``module.``, ``model.``, ``_orig_mod.``, ...) are stripped.

    Parameters
    ----------
    path : of the file
    key : which of several state dicts is wanted: names in the file's content with dots between them, or a prefix

    Raises
    ------
    PipeError
        The file is missing, damaged or not a weight file, holds several state dicts of which none was asked for, or
        the state dict holds anything but plain, dense tensors that are finite.
    """
    path = Path(path)
    tensors, objects = read_raw(path, key)
    return Checkpoint(strip_prefixes(tensors), passed_over(path, objects))


def passed_over(path: Path, objects: Sequence[str]) -> tuple[str, ...]:
    """Return the line that names the objects beside the weights of a file, if there are any."""
    return (f"{path.name}: beside the weights lie objects that were not read: {some(objects)}",) if objects else ()


def read_raw(path: Path, key: str | None = None) -> tuple[dict[str, Tensor], Sequence[str]]:
    """Tensors of a weight file under the very keys that it has, and names of the objects that lie beside them."""
    file = read_weight_file(path)
    content = _chosen(file.content, key, path) if key else _unwrap(file.content, path)
    entries, others = _entries(content, path)
    state = file.load(entries)
    # Who names a state dict with a key has chosen between siblings.
    if key is None:
        _refuse_siblings(state, path)
    _require_real(state, path)
    # After the check of sizes: the conversion would make room for a tensor that is mostly a claim.
    weights = {name: _float32(value) for name, value in state.items()}
    _require_finite(weights, path)
    return weights, [*file.objects, *others]


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the wrappers' prefixes, each where most weights carry it; a key without it stays, to be named later.

    A Lightning module keeps its loss beside its network, so ``criterion.*`` has no say in what "most" is.
    """
    *_, stripped = without_prefixes(state)
    return stripped


def without_prefixes(state: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor]]:
    """Yield a state dict as it is, and then again and again with one prefix less, as `strip_prefixes` takes them."""
    stripped: dict[str, Tensor] | None = _unwrapped_keys(state)
    for _ in range(NESTED + 1):
        if stripped is None:
            return
        yield stripped
        # One prefix at a time and then all again: wrappers nest in any order (`module.model.`, `model.module.`).
        shorter = (_without(prefix, stripped) for prefix in PREFIXES)
        stripped = next((state for state in shorter if state), None)


def _unwrapped_keys(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take wrappers out of the midst of keys, unless two keys would become one."""
    inner = {re.sub("|".join(rf"(?<=\.){re.escape(name)}" for name in WRAPPERS), "", key): key for key in state}
    return {name: state[key] for name, key in inner.items()} if len(inner) == len(state) else dict(state)


def _without(prefix: str, state: Mapping[str, Tensor]) -> dict[str, Tensor] | None:
    """Take off one prefix; None where few weights carry it, or two keys would become one."""
    weights = [key for key in state if not key.startswith("criterion.")]
    stripped = {key.removeprefix(prefix): value for key, value in state.items()}
    # More than half of the keys: a network may have a part of its own called `model.` or `net.`.
    common = 2 * sum(key.startswith(prefix) for key in weights) > len(weights)
    return stripped if common and len(stripped) == len(state) else None


def some(keys: Collection[str]) -> str:
    """Return the first few names in one text, and how many more there are."""
    names = list(keys)
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _unwrap(content: object, path: Path) -> object:
    """Descend through containers to a state dict; UsageError where the way forks."""
    for _ in range(NESTED):
        inner = {}
        if isinstance(content, dict):
            inner = {name: content[name] for name in CONTAINERS if isinstance(content.get(name), dict)}
        # A checkpoint may have an empty `ema` beside its weights: only dicts with tensors count.
        full = [name for name, value in inner.items() if _holds_tensors(value)]
        if not full and isinstance(content, dict) and not any(map(_has_sides, content.values())):
            # No name that is known, and nothing that is a weight beside it: a training's own name for a state dict.
            inner |= {str(name): value for name, value in content.items() if _is_state(value)}
            full = [name for name, value in inner.items() if _is_state(value)]
        if len(full) > 1:
            raise UsageError(f"{path} holds several state dicts, under {', '.join(full)}", "weights-key")
        content = inner[full[0]] if full else next(iter(inner.values()), content)
    return content


def _holds_tensors(content: object, depth: int = NESTED) -> bool:
    """Whether a dict is a state dict or a container of one."""
    if depth == 0 or not isinstance(content, dict):
        return False
    if any(isinstance(value, (Tensor, StoredTensor)) for value in content.values()):
        return True
    return any(_holds_tensors(content.get(name), depth - 1) for name in CONTAINERS)


def _has_sides(value: object) -> bool:
    """Whether a value is a tensor of at least one dimension; a loss is often kept as one of none."""
    return isinstance(value, (Tensor, StoredTensor)) and len(value.shape) > 0


def _is_state(content: object) -> bool:
    """Whether a dict maps names to nothing but tensors, or has such a dict; an optimizer's has numbers for names."""
    if not isinstance(content, dict):
        return False
    return any(_holds_tensors(content.get(name)) for name in CONTAINERS) or (
        any(map(_has_sides, content.values()))
        and all(isinstance(key, str) and isinstance(value, (Tensor, StoredTensor)) for key, value in content.items())
    )


def _chosen(content: object, key: str, path: Path) -> object:
    """State dict under a key with dots, or those entries of the state dict that begin with it."""
    found = content
    for name in key.split("."):
        found = found.get(name) if isinstance(found, dict) else None
    if isinstance(found, dict):
        return _unwrap(found, path)
    try:
        state = _unwrap(content, path)
    except UsageError as error:
        raise UsageError(f"there are no weights under {key!r}: {error}", error.remedy) from error
    prefix = f"{key}."
    if isinstance(state, dict):
        state = {k.removeprefix(prefix): v for k, v in state.items() if isinstance(k, str) and k.startswith(prefix)}
    if not state:
        raise UsageError(f"{path} has no weights under {key!r}", "weights-key")
    return state


def _refuse_siblings(state: Mapping[str, Tensor], path: Path) -> None:
    there = [name for name in SIBLINGS if any(key.startswith(f"{name}.") for key in state)]
    if len(there) > 1:
        raise UsageError(f"{path} holds the weights of several networks, {' and '.join(there)}", "weights-key")


def _entries(state: object, path: Path) -> tuple[dict[str, Tensor | StoredTensor], list[str]]:
    """Return the tensors of a state dict, and names of what else lies among them."""
    remedy = "Save model.state_dict()."
    if not isinstance(state, dict):
        raise PipeError(f"A weight file must hold a state dict; {path} holds a {_kind(state)}. {remedy}")
    if not 0 < len(state) <= MOST_ENTRIES:
        found = f"has {len(state)} entries, and {MOST_ENTRIES} are the most" if state else "is empty"
        raise PipeError(f"A state dict must hold weights; the one in {path} {found}. {remedy}")
    _refuse_adapters(state, path)
    tensors, others = dict[str, Tensor | StoredTensor](), list[str]()
    for key, value in state.items():
        if isinstance(key, str) and isinstance(value, (Tensor, StoredTensor)):
            tensors[key] = value
        elif isinstance(key, str) and _is_plain(value):
            # Such as the codes of the classes. What is a weight in another form is refused below.
            others.append(key)
        else:
            raise PipeError(
                f"A state dict must map names to tensors; in {path}, {key!r} is a {_kind(value)}. {remedy}"
            )
    if not any(map(_has_sides, tensors.values())):
        key, value = next(iter(state.items()))
        raise PipeError(f"A state dict must map names to tensors; in {path}, {key!r} is a {_kind(value)}. {remedy}")
    return tensors, others


def _is_plain(value: object) -> bool:
    """Whether a value is no weight in any form: a number, a text, or a list or dict without tensors."""
    if isinstance(value, dict):
        return not any(isinstance(each, (Tensor, StoredTensor, Foreign)) for each in value.values())
    return type(value) in (int, float, bool, str, list, tuple, type(None))


ADAPTERS = (
    (("lora_a", "lora_b", "lora_embedding"), "low-rank adapters (LoRA) that were not merged into the weights"),
    (
        ("_packed_params", ".absmax", ".quant_map", ".scb", ".qweight", ".qzeros", "weight_format"),
        "quantised weights",
    ),
)
"""Parts of a key, in lower case -> what a state dict with such keys holds."""


def _refuse_adapters(state: Mapping[object, object], path: Path) -> None:
    """Say what weights are that are no plain ones, instead of naming hundreds of keys that do not fit."""
    for parts, what in ADAPTERS:
        if odd := [key for key in state if any(part in str(key).lower() for part in parts)]:
            raise PipeError(f"{path} holds {what}: {some([str(key) for key in odd])}", "save-merged")
    if odd := [key for key, value in state.items() if _kind(value) == "torch._utils._rebuild_qtensor"]:
        raise PipeError(f"{path} holds quantised weights: {some([str(key) for key in odd])}", "save-merged")


def _kind(value: object) -> str:
    """Name of a value's type, for errors."""
    if isinstance(value, Foreign):
        return {"_codecs.encode": "bytes", "builtins.set": "set"}.get(value.name, value.name)
    return (
        "Tensor" if isinstance(value, StoredTensor) else "dict" if isinstance(value, dict) else type(value).__name__
    )


def _require_real(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse numbers of unusual kinds, and tensors that are larger than the file that they came from.

    A stride of 0 repeats one stored number as often as the shape says, up to any size. Tied weights share numbers,
    so twice the file is granted.
    """
    odd = [key for key, value in state.items() if value.dtype not in PLAIN]
    if odd:
        raise PipeError(
            f"Weights must be plain numbers; in {path}, {len(odd)} of {len(state)} entries are not ({some(odd)}: "
            f"{state[odd[0]].dtype}). Save the weights as float32."
        )
    # `nbytes` counts by shape, so a stride of 0 shows here as it will in memory after a copy.
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
            f"({some(broken)}). Use a checkpoint from before the training diverged."
        )
