"""Weight files: from bytes that nobody vouches for to a state dict that fits a network, or a clear error."""

import hashlib
import pickle
import re
import warnings
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TypeVar

import safetensors.torch
import torch
from torch import Tensor, nn

from cache.errors import PipeError

CONTAINERS = ("state_dict", "model_state_dict", "model", "network")
PREFIXES = ("module.", "model.", "network.", "_orig_mod.")
SHOWN = 4

Module = TypeVar("Module", bound=nn.Module)


def load_state_dict(path: Path | str) -> dict[str, Tensor]:
    """Read a weight file as plain tensors; no code in it is ever run.

    Takes what ``torch.save`` wrote (read with ``weights_only=True``) or safetensors, bare or inside a container
    such as ``{"state_dict": ...}``. Prefixes that wrappers leave on every key (``module.``, ``model.``,
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
    _refuse_impostors(path)
    state = _tensors(_unwrap(_read(path)), path)
    weights = {key: _float32(value) for key, value in state.items()}
    _require_finite(weights, path)
    return strip_prefixes(weights)


def weights_sha256(path: Path | str) -> str:
    """SHA-256 of the file's bytes, as 64 hexadecimal digits; PipeError where it cannot be read."""
    try:
        with Path(path).open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise _unreadable(path, error) from error


def strip_prefixes(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take off the wrappers' prefixes, each where most weights carry it; a key without it stays, to be named later.

    A Lightning module keeps its loss beside its network, so ``criterion.*`` has no say in what "most" is.
    """
    weights = [key for key in state if not key.startswith("criterion.")]
    for prefix in PREFIXES:
        stripped = {key.removeprefix(prefix): value for key, value in state.items()}
        if 2 * sum(key.startswith(prefix) for key in weights) > len(weights) and len(stripped) == len(state):
            return strip_prefixes(stripped)
    return dict(state)


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


def _refuse_impostors(path: Path) -> None:
    """Name the files that downloads leave in place of weights; their unpickling errors would explain nothing."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError as error:
        raise _unreadable(path, error) from error
    if not head:
        raise PipeError(f"A weight file must hold weights; {path} is empty. Download it again.")
    if head.startswith(b"version https://git-lfs"):
        raise PipeError(f"A weight file must hold weights; {path} is a git-lfs pointer. Run `git lfs pull`.")
    if head.lstrip().lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        raise PipeError(f"A weight file must hold weights; {path} is a web page. Download the file itself.")


def _read(path: Path) -> object:
    try:
        if _is_safetensors(path):
            return safetensors.torch.load_file(path)
        # What torch warns of here, such as an unusual pickle protocol, becomes an error anyway where it matters.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return torch.load(path, map_location="cpu", weights_only=True)
    # Damaged bytes can make either parser raise anything at all, and every one of them means the same.
    except Exception as error:
        raise _refusal(path, error) from error


def _is_safetensors(path: Path) -> bool:
    """Safetensors open with the length of a JSON header in 8 bytes, then the header."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(9)[8:] == b"{"


def _refusal(path: Path, error: Exception) -> PipeError:
    code = re.search(r"GLOBAL (\S+)", str(error))
    if isinstance(error, pickle.UnpicklingError) and code:
        return PipeError(
            f"A weight file must hold plain tensors; {path} also holds the Python object {code[1]}, and loading "
            "that could run code. Save the state dict alone, where you trust the file: "
            "torch.save(model.state_dict(), path)."
        )
    return PipeError(
        f"A weight file must be what torch.save or safetensors wrote; {path} is not, or is cut short "
        f"({_reason(error)}). Download or copy it again."
    )


def _reason(error: Exception) -> str:
    """First sentence of the parser's own words; an unpickler's are left out, as they advise to run the code."""
    if isinstance(error, pickle.UnpicklingError):
        return "no pickle of tensors in torch.save's default protocol"
    return re.split(r"[.\n]", str(error))[0] or type(error).__name__


def _unreadable(path: Path | str, error: OSError) -> PipeError:
    return PipeError(f"A weight file must be readable; {path}: {error.strerror}. Check --weights.")


def _unwrap(content: object) -> object:
    for name in CONTAINERS:
        if isinstance(content, Mapping) and isinstance(content.get(name), Mapping):
            return _unwrap(content[name])
    return content


def _tensors(state: object, path: Path) -> Mapping[str, Tensor]:
    remedy = "Save model.state_dict()."
    if not isinstance(state, Mapping):
        raise PipeError(f"A weight file must hold a state dict; {path} holds a {type(state).__name__}. {remedy}")
    if not state:
        raise PipeError(f"A state dict must hold weights; the one in {path} is empty. {remedy}")
    for key, value in state.items():
        if not (isinstance(key, str) and isinstance(value, Tensor)):
            raise PipeError(
                f"A state dict must map names to tensors; in {path}, {key!r} is a {type(value).__name__}. {remedy}"
            )
    return state


def _float32(tensor: Tensor) -> Tensor:
    return tensor.detach().float() if tensor.is_floating_point() else tensor.detach()


def _require_finite(weights: Mapping[str, Tensor], path: Path) -> None:
    broken = [key for key, value in weights.items() if not bool(torch.isfinite(value).all())]
    if broken:
        raise PipeError(
            f"Weights must be finite; {path} holds NaN or infinity in {len(broken)} of {len(weights)} entries "
            f"({_some(broken)}). Use a checkpoint from before the training diverged."
        )
