"""The yaml file that an EoMT was trained with, or a conversion's config.json, and what it says about the network."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from logitpipe.cache.errors import PipeError
from logitpipe.stages.infer.plainfile import why_unreadable

MOST_BYTES = 64 << 10
"""Trainings write a few kilobytes."""

MOST_DEPTH = 32
"""Of lists and tables within others; deeper ones would end in Python's own limit."""

MOST_SIDE = 100_000
"""Pixels of an input; a larger number is a mistake."""

NETWORK = "model.init_args.network.init_args"
ENCODER = f"{NETWORK}.encoder.init_args"

# Fact of the network -> where a config may state it. The training links some settings, so they have several homes.
KEYS = {
    "queries": (f"{NETWORK}.num_q", "num_queries"),
    "query_blocks": (f"{NETWORK}.num_blocks", "num_blocks"),
    "classes": ("data.init_args.num_classes", "model.init_args.num_classes", f"{NETWORK}.num_classes"),
    "patch_size": (f"{ENCODER}.patch_size", "patch_size"),
    "masked_attention": (f"{NETWORK}.masked_attn_enabled",),
    "img_size": ("data.init_args.img_size", "model.init_args.img_size", f"{ENCODER}.img_size", "image_size"),
    "backbone": (f"{ENCODER}.backbone_name",),
}

# Part of a backbone's name -> what it promises. Any other name is left to the weights.
BACKBONES = {
    "vit_small_": {"width": 384, "depth": 12},
    "vit_base_": {"width": 768, "depth": 12},
    "vit_large_": {"width": 1024, "depth": 24},
    "_reg4_": {"register_tokens": 4},
}


TASKS = {"Semantic": False, "Panoptic": True, "Instance": True}
"""Part of the name of a training's class -> whether it segments things one by one."""

COCO_PANOPTIC, COCO_THINGS = 133, 80
"""Classes of COCO, on which upstream trains no semantic network."""


def load_config(path: Path | str) -> Mapping[str, Any]:
    """Parse a training's yaml file, as data only; PipeError where it is no readable mapping for an EoMT."""
    if reason := why_unreadable(Path(path), MOST_BYTES):
        raise PipeError(f"A config must be readable; {path}: {reason}", "check-config")
    try:
        text = Path(path).read_text(encoding="utf-8")
        # Before the parser builds anything: `safe_load` expands aliases and may fill memory.
        _refuse_bombs(text, path)
        config = yaml.safe_load(text)
    except OSError as error:
        raise PipeError(f"A config must be readable; {path}: {error.strerror}", "check-config") from error
    except (yaml.YAMLError, ValueError, OverflowError) as error:  # a number or date may be none
        reason = " ".join(str(error).split())
        raise PipeError(f"A config must be plain yaml; {path} is not ({reason})", "check-config") from error
    if not (isinstance(lookup(config, NETWORK), Mapping) or str(lookup(config, "model_type")).startswith("eomt")):
        raise PipeError(
            f"A config must describe the network under {NETWORK}; {path} has nothing there", "config-of-training"
        )
    return config


def _refuse_bombs(text: str, path: Path | str) -> None:
    """Refuse what makes much of little: aliases, of which nine lines grow to gigabytes, tags, and deep nesting.

    The events of yaml are looked at one by one; nothing is built of them.
    """
    depth = 0
    for event in yaml.parse(text, Loader=yaml.SafeLoader):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        alias, tag = isinstance(event, yaml.AliasEvent), getattr(event, "tag", None)
        if alias or tag or depth > MOST_DEPTH:
            what = "an alias" if alias else f"the tag {tag}" if tag else f"more than {MOST_DEPTH} levels"
            raise PipeError(f"A config must be plain yaml; {path} has {what}. Write every value out.")


def lookup(config: object, key: str) -> Any:  # noqa: ANN401 (a yaml value)
    """Value under a dotted key, None where there is none."""
    for name in key.split("."):
        config = config.get(name) if isinstance(config, Mapping) else None
    return config


def statements(config: Mapping[str, Any] | None, fact: str) -> Iterator[tuple[str, Any]]:
    """Yield (key, value) for each key under which the config states a fact."""
    # All keys, and not the first: two that contradict each other are both held against the weights.
    for key in KEYS[fact]:
        value = lookup(config, key)
        if value is not None:
            yield key, value


def stated(config: Mapping[str, Any] | None, fact: str) -> Any:  # noqa: ANN401 (a yaml value)
    """Value of a fact under the first key that states it, None where none does."""
    return next((value for _, value in statements(config, fact)), None)


def stated_size(config: Mapping[str, Any] | None) -> tuple[int, int] | None:
    """Size of the training's crops, (H, W) in pixels, None where the config is silent; PipeError where it is none."""
    size = stated(config, "img_size")
    if size is None:
        return None
    if size == lookup(config, "image_size"):  # of a conversion: one number for both sides
        size = [size, size]
    if not (
        isinstance(size, list)
        and len(size) == 2
        and all(type(side) is int and 0 < side <= MOST_SIDE for side in size)
    ):
        raise PipeError(f"img_size must be two whole numbers, [H, W]; the config has {shown(size)}", "check-config")
    return size[0], size[1]


def is_panoptic(config: Mapping[str, Any] | None, classes: int) -> bool:
    """Return whether a network segments single things: as the config has it, or else if its classes are COCO's."""
    task = lookup(config, "model.class_path")
    if isinstance(task, str) and (found := [name for name in TASKS if name in task]):
        return TASKS[found[0]]
    return classes in (COCO_PANOPTIC, COCO_THINGS)


def check_config(config: Mapping[str, Any] | None, facts: Mapping[str, Any]) -> None:
    """Raise PipeError, naming both values, where the config states another network than the weights are.

    ``masked_attn_enabled: True`` contradicts nothing: a training that ends with it has turned the masks off.
    """
    for fact in ("queries", "query_blocks", "classes", "patch_size"):
        for key, value in statements(config, fact):
            _agree(key, value, fact, facts)
    for key, value in statements(config, "masked_attention"):
        # True contradicts nothing, see above; only False promises something about the weights.
        if value is False:
            _agree(key, value, "masked_attention", facts)
    for key, name in statements(config, "backbone"):
        parts = [part for part in BACKBONES if isinstance(name, str) and part in name]
        for fact, value in (item for part in parts for item in BACKBONES[part].items()):
            _agree(f"{key} {name}, {fact}", value, fact, facts)


def shown(value: object) -> str:
    """Text for a yaml value in an error: the value where it is short, else what kind of thing it is."""
    short = value is None or isinstance(value, (bool, float, str)) or (isinstance(value, int) and abs(value) < 10**9)
    return repr(value) if short else f"a {type(value).__name__}"


def _agree(key: str, value: object, fact: str, facts: Mapping[str, Any]) -> None:
    if value != facts[fact]:
        raise PipeError(
            f"The config and the weights must describe the same network; {key} is {shown(value)} in the config, "
            f"and the weights have {fact} {facts[fact]!r}",
            "config-of-training",
        )
