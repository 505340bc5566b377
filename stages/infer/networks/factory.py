"""A network of one's own: `FILE.py:NAME` or `package.module:NAME`, a class, a function or a module.

Nothing of the network is guessed: what it returns tells its kind; its classes, its preprocessing and the sizes that
it takes are declared by flags, or by a mapping called `logitpipe` on the module or on what makes it.
"""

import importlib
import importlib.util
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import Any

from torch import Tensor, nn

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.networks.channels import name_channels
from logitpipe.stages.infer.networks.foreign import Declaration, Foreign, state_sha256, told
from logitpipe.stages.infer.networks.outputs import notes_on_scale
from logitpipe.stages.infer.networks.seam import Network, Source
from logitpipe.stages.infer.weights.checkpoints import passed_over, read_raw, without_prefixes
from logitpipe.stages.infer.weights.fitting import fit
from logitpipe.stages.infer.weights.weightfile import weights_sha256

ATTRIBUTE = "logitpipe"
"""Where a module, or what makes it, declares what must be known of it: a mapping with the keys of `Declaration`."""


def load(source: Source) -> Network:
    """Make a network that a user wrote, with the weights of a checkpoint or with those that it brings.

    Raises
    ------
    PipeError
        It cannot be imported or made, the weights do not fit it, it fails on a picture of its input size, or nothing
        says which classes its channels are.
    """
    source.refuse_all_but("network_options", "declare")
    place, _, name = source.name.rpartition(":")
    maker, options = _import(place, name), source.own.get("network_options", {})
    module = _make(maker, options, source.name)
    declaration = Declaration()
    # What a module says of itself comes after what its class says, and so over it.
    for owner in (maker, module):
        if isinstance(found := getattr(owner, ATTRIBUTE, None), Mapping):
            declaration = declaration.with_values(found, source.name)
    notes: tuple[str, ...] = ()
    if source.weights is None:
        module.eval().requires_grad_(False)
        digest, notes = (
            state_sha256(module),
            (f"{name}: no weights were given, so it runs with those that it was made with",),
        )
    else:
        notes = _fill(module, source.weights, source.weights_key)
        digest = weights_sha256(source.weights)
    facts = {
        "factory": f"{Path(place).name}:{name}",
        "options": {key: str(value) for key, value in options.items()},
    }
    return as_network(source, module, name, declaration, digest, facts, notes)


def as_network(
    source: Source,
    module: nn.Module,
    name: str,
    declaration: Declaration,
    digest: str,
    facts: dict[str, Any],
    notes: tuple[str, ...] = (),
) -> Network:
    """Run a module once, to see what it returns, and describe it as a network.

    Parameters
    ----------
    source : with the user's flags, which override what the module declares
    module : ready for inference
    name : of the network
    declaration : of the module's author
    digest : SHA-256 of its weights
    facts : about it, plain enough for JSON
    notes : as in `Network`
    """
    declaration = declaration.with_values(source.own.get("declare", {}), "a flag")
    if (wanted := source.resize or declaration.resize) is None:
        raise UsageError(f"nothing says which input size {name} takes", "give-input-size")
    # The network is run once at that size: an error of its own shall come now, and not after the store is made.
    rule = Resize.of(wanted, declaration.multiple)
    network = Foreign(module, name, declaration.preprocessing, declaration.output, facts)
    notes += notes_on_scale(network.probe(rule.probe_size), name)
    shapes = network.output_shapes(rule.probe_size)
    count = shapes[0][0] if len(shapes) == 1 else shapes[1][1] - 1
    return Network(
        name=name,
        module=network,
        kind="pixel" if len(shapes) == 1 else "mask",
        channels=name_channels(
            count,
            source.classes or declaration.classes,
            source.void_class or declaration.void_class,
            source.outlier_class or declaration.outlier_class,
            "as declared",
        ),
        weights_sha256=digest,
        preprocessing=declaration.preprocessing,
        multiple=declaration.multiple,
        resize=str(rule),
        notes=notes,
    )


def _import(place: str, name: str) -> Any:  # noqa: ANN401 (whatever has that name)
    if not place or not name:
        raise UsageError(f"expected FILE.py:NAME or package.module:NAME, and found {f'{place}:{name}'!r}")
    try:
        with _no_arguments(place):
            module = _import_file(Path(place)) if place.endswith(".py") else _import_module(place)
    except PipeError:
        raise
    except (Exception, SystemExit) as error:  # foreign code can raise anything
        remedy = "importable" if isinstance(error, ImportError) else None
        raise PipeError(f"{place} cannot be imported: {told(error)}", remedy) from error
    if not hasattr(module, name):
        raise UsageError(f"{place} has nothing called {name!r}")
    return getattr(module, name)


@contextmanager
def _no_arguments(place: str) -> Iterator[None]:
    """Let foreign code see a command line without arguments: those of `pipe` are not for the parser in its file."""
    arguments, sys.argv = sys.argv, [place]
    try:
        yield
    finally:
        sys.argv = arguments


def _import_module(name: str) -> ModuleType:
    # As `python -m` does: a package in the folder from which the command is called is found.
    _make_importable(Path.cwd())
    return importlib.import_module(name)


def _import_file(path: Path) -> ModuleType:
    """Import a file as Python would where it lies: from its package, if it is in one, else beside its own imports."""
    if not path.is_file():
        raise UsageError(f"{path}: there is no such file")
    folder, names = path.resolve().parent, [path.stem]
    while (folder / "__init__.py").exists():
        names.insert(0, folder.name)
        folder = folder.parent
    _make_importable(Path.cwd())
    _make_importable(folder)
    while True:
        try:
            return importlib.import_module(".".join(names)) if len(names) > 1 else _execute(path)
        except ModuleNotFoundError as error:
            # Its authors start their scripts elsewhere, mostly in the root of the repository: wherever above the
            # file the missing name is.
            above = [place for place in folder.parents[:-1] if error.name and _holds(place, error.name)]
            if not above or str(above[0]) in sys.path:
                raise
            _make_importable(above[0])
        except ImportError as error:
            # `from .blocks import ...` in a folder without an `__init__.py`, which is a package all the same.
            if len(names) > 1 or "no known parent package" not in str(error):
                raise
            names.insert(0, folder.name)
            _make_importable(folder.parent)


def _holds(folder: Path, name: str) -> bool:
    """Whether a module or a package of that name lies in a folder."""
    top = folder / name.partition(".")[0]
    return top.is_dir() or top.with_suffix(".py").is_file()


def _execute(path: Path) -> ModuleType:
    """Import a file under a name of its own, as `model.py` and the like may be imported already."""
    specification = importlib.util.spec_from_file_location(f"logitpipe_network_{path.stem}", path)
    assert specification
    assert specification.loader
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    specification.loader.exec_module(module)
    return module


def _make_importable(folder: Path) -> None:
    if str(folder) not in sys.path:
        sys.path.insert(0, str(folder))


def _make(maker: Any, options: Mapping[str, Any], name: str) -> nn.Module:  # noqa: ANN401 (whatever was named)
    if isinstance(maker, nn.Module):
        if options:
            raise UsageError(f"{name} is a network already and takes no options")
        return maker
    if not callable(maker):
        raise UsageError(f"{name} is a {type(maker).__name__}, and neither a torch module nor what makes one")
    try:
        with _no_arguments(name):
            module = maker(**options)
    except (Exception, SystemExit) as error:
        remedy = "network-options" if isinstance(error, TypeError) else None
        raise PipeError(f"{name} cannot be made: {told(error)}", remedy) from error
    if not isinstance(module, nn.Module):
        raise PipeError(f"{name} gives a {type(module).__name__}, and a torch module is expected")
    # What trains on several GPUs, or compiles: the network is within, and its keys are without a prefix.
    while isinstance(module, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        module = module.module
    return getattr(module, "_orig_mod", module)


def _fill(module: nn.Module, path: Path, key: str | None) -> tuple[str, ...]:
    """Load a checkpoint into a module, less those prefixes without which it fits best; return notes."""
    raw, objects = read_raw(path, key)
    expected = module.state_dict().keys()
    found = [*without_prefixes(raw), *_without_own_prefix(raw, next(iter(expected), ""))]
    fit(module, max(found, key=lambda state: len(expected & state.keys())), remedy="check-network-options")
    return passed_over(path, objects)


def _without_own_prefix(raw: Mapping[str, Tensor], key: str) -> Iterator[dict[str, Tensor]]:
    """Yield the weights without a prefix that one training alone has, `segmenter.`: any under which a key lies."""
    for prefix in sorted(name.removesuffix(key) for name in raw if name.endswith(f".{key}")):
        yield {name.removeprefix(prefix): value for name, value in raw.items()}
