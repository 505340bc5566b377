"""Networks of the transformers library, from a folder as `save_pretrained` writes it or from the hub.

The weights are read as every other checkpoint is, never as code, and the library is told to run none that lies beside
them. Classes and preprocessing come from the folder's own files.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from logitpipe.cache.errors import PipeError, UsageError
from logitpipe.cache.format.version2 import SigmoidAt
from logitpipe.stages.infer.data.geometry import Resize
from logitpipe.stages.infer.networks.channels import Channels, name_channels
from logitpipe.stages.infer.networks.foreign import Declaration, Foreign, told
from logitpipe.stages.infer.networks.seam import Network, Source
from logitpipe.stages.infer.plainfile import why_unreadable
from logitpipe.stages.infer.weights.checkpoints import read_raw, some
from logitpipe.stages.infer.weights.weightfile import joint_sha256

HEADS = {
    "ForSemanticSegmentation": "pixel",
    "ForUniversalSegmentation": "mask",
    "ForInstanceSegmentation": "mask",
}
"""End of an architecture's name -> its kind."""

EOMT = ("eomt", "eomt_dinov3")
MASK2FORMER_MASKS = (384, 384)
"""Size to which the library resamples the mask logits of a Mask2Former before the sigmoid."""

WEIGHTS = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin", "pytorch_model.bin.index.json")
FILLED = (
    *("do_resize", "size", "default_to_square", "resample", "do_center_crop", "do_pad", "do_split_image"),
    *("do_rescale", "rescale_factor", "do_normalize", "image_mean", "image_std", "do_flip_channel_order"),
)
"""Settings of preprocessing that a file may leave out."""

COMPUTED = ("relative_position_index", "position_ids")
"""Ends of keys that older versions wrote, of buffers that the library computes from the network's sizes."""

MOST_JSON = 16 << 20
HUB_NAME = r"[\w.-]+/[\w.-]+"
BILINEAR = 2
"""PIL's number for it, as preprocessor_config.json has it."""


def load(source: Source) -> Network:
    """Load a network of the transformers library.

    Raises
    ------
    PipeError
        The library is not installed, the folder cannot be had or lacks a file, its network has no segmentation head,
        its weights do not fit, or nothing says which classes its channels are.
    """
    source.refuse_all_but("declare")
    folder = _folder(source.checkpoint())
    config, processing = _json(folder / "config.json"), _processing(folder)
    architecture = _architecture(config, folder)
    if processing.get("keep_aspect_ratio") and source.resize is None:
        raise UsageError(
            f"{folder / 'preprocessor_config.json'} says keep_aspect_ratio: the side that changes less decides the "
            "size, and no rule here does that",
            "give-input-size",
        )
    kind = next(kind for end, kind in HEADS.items() if architecture.endswith(end))
    # Files first: a folder without weights is told without loading the library, which takes seconds.
    files, transformers = _weight_files(folder), _library()
    model = _model(transformers, architecture, folder, files, source.weights_key)
    module = _Outputs(model, _task_tokens(transformers, model.config, folder))
    processing, by_flag = _filled(transformers, processing), source.own.get("declare", {})
    declaration = _declared(model.config, processing).with_values(by_flag, "a flag")
    if processing.get("do_normalize") and not {"image_mean", "image_std"} <= processing.keys() | _names(by_flag):
        raise UsageError(f"{folder}: its files do not say by which mean pictures are normalised", "declare-mean")
    if processing and declaration.resize is None and source.resize is None:
        raise UsageError(
            f"{folder}: its files give the size {processing.get('size')!r}, which is none of the rules here",
            "give-input-size",
        )
    rule = source.rule(declaration.resize or "native", declaration.multiple)
    model_type = str(config.get("model_type", ""))
    digest = hashlib.sha256((folder / "config.json").read_bytes()).hexdigest()
    facts = {"architecture": architecture, "config_sha256": digest}
    return Network(
        name=architecture.removesuffix(next(end for end in HEADS if architecture.endswith(end))).lower(),
        module=Foreign(module, architecture, declaration.preprocessing, declaration.output, facts),
        kind="pixel" if kind == "pixel" else "mask",
        channels=_channels(source, module.network.config),
        weights_sha256=joint_sha256(files),
        preprocessing=declaration.preprocessing,
        multiple=declaration.multiple,
        resize=str(rule),
        sigmoid_at=_sigmoid_at(model_type, rule),
        notes=_notes(processing),
    )


def _library() -> Any:  # noqa: ANN401 (a module)
    try:
        import transformers
    except ImportError as error:
        raise PipeError(
            "networks of Hugging Face need transformers, which is not installed", "install", extra="'.[hf]'"
        ) from error
    # Its warnings are for training; what matters here is checked below, key by key.
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def _folder(path: Path) -> Path:
    """Return a folder as it is, and what the hub has under a name as a folder in its cache."""
    if path.is_dir():
        return path
    if path.is_file():
        raise UsageError(f"{path} is a file, and a folder is expected, as save_pretrained writes it")
    name = path.as_posix()
    if not re.fullmatch(HUB_NAME, name):
        raise UsageError(f"{path}: there is no such folder, and it is no name on the Hugging Face hub either")
    import huggingface_hub

    try:
        return Path(huggingface_hub.snapshot_download(name, allow_patterns=["*.json", "*.safetensors", "*.txt"]))
    except Exception as error:  # the network, the hub, rights, the disk
        raise PipeError(f"{name} is no folder here, and the hub does not give it: {told(error)}") from error


def _json(path: Path, optional: bool = False) -> dict[str, Any]:
    if optional and not path.exists():
        return {}
    if reason := why_unreadable(path, MOST_JSON):
        raise PipeError(f"a folder that save_pretrained wrote holds {path.name}; {path}: {reason}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise PipeError(f"{path} must be JSON, and is not: {told(error)}") from error
    if not isinstance(content, dict):
        raise PipeError(f"{path} must hold a JSON object, and holds a {type(content).__name__}")
    return content


def _processing(folder: Path) -> dict[str, Any]:
    """Read what a folder says of preprocessing; a processor of pictures and text keeps it in a file of its own."""
    if processing := _json(folder / "preprocessor_config.json", optional=True):
        return processing
    part = _json(folder / "processor_config.json", optional=True).get("image_processor")
    return part if isinstance(part, dict) else {}


def _filled(transformers: Any, processing: Mapping[str, Any]) -> dict[str, Any]:  # noqa: ANN401 (a module)
    """Add what a file leaves out, above all one of an older version: it is as the library's class has it."""
    if not processing:
        return {}
    name = str(processing.get("image_processor_type") or processing.get("feature_extractor_type"))
    family = re.sub("(ImageProcessor|FeatureExtractor)(Fast|Pil)?$", "", name)
    # By this name even without torchvision; of a few classes there is none.
    made = getattr(transformers, f"{family}ImageProcessorPil", None)
    defaults = {key: getattr(made, key, None) for key in FILLED} if made else {"do_normalize": True}
    return {key: value for key, value in defaults.items() if value is not None} | dict(processing)


def _names(declared: Mapping[str, Any]) -> set[str]:
    """Return the names that a folder's files have for what a user declares."""
    return {f"image_{key}" for key in declared}


def _architecture(config: Mapping[str, Any], folder: Path) -> str:
    names = config.get("architectures")
    name = names[0] if isinstance(names, list) and names else None
    if not (isinstance(name, str) and name.endswith(tuple(HEADS))):
        raise PipeError(
            f"{folder / 'config.json'} names the architecture {name!r}, and one that ends in {', '.join(HEADS)} is "
            "expected"
        )
    return name


def _weight_files(folder: Path) -> list[Path]:
    """Return the files that hold a folder's weights: one, or the shards that an index names."""
    name = next((name for name in WEIGHTS if (folder / name).exists()), None)
    if name is None:
        raise PipeError(f"{folder} holds no weights: none of {', '.join(WEIGHTS)}")
    if not name.endswith(".json"):
        return [folder / name]
    shards = _json(folder / name).get("weight_map")
    names = sorted(set(shards.values())) if isinstance(shards, dict) else []
    if not names or any(not isinstance(shard, str) or Path(shard).name != shard for shard in names):
        raise PipeError(f"{folder / name} must name the files of the weights, all beside it")
    return [folder / shard for shard in names]


def _model(transformers: Any, architecture: str, folder: Path, files: list[Path], key: str | None) -> nn.Module:  # noqa: ANN401
    state = {name: value for file in files for name, value in read_raw(file, key)[0].items()}
    made = getattr(transformers, architecture, None)
    if made is None:
        raise PipeError(f"transformers {transformers.__version__} has no {architecture}")
    try:
        config = made.config_class.from_pretrained(folder, local_files_only=True)
        model, found = made.from_pretrained(
            None, config=config, state_dict=state, output_loading_info=True, dtype=torch.float32
        )
    except Exception as error:  # transformers raises whatever its parts do
        raise PipeError(f"{folder}: transformers cannot load {architecture}: {told(error)}") from error
    # The library fills what is missing with random numbers, and only warns.
    for fault in ("missing_keys", "unexpected_keys", "mismatched_keys"):
        if keys := [str(each) for each in found[fault] if not str(each).endswith(COMPUTED)]:
            raise PipeError(
                f"The weights must fit the network key by key; {folder} has {fault.replace('_', ' ')}: {some(keys)}"
            )
    return model.eval().requires_grad_(False)


def _task_tokens(transformers: Any, config: Any, folder: Path) -> Tensor | None:  # noqa: ANN401
    """Tokens [1, N] that tell a OneFormer its task, by the tokenizer in its folder; None for every other network."""
    if config.model_type != "oneformer":
        return None
    length, text = config.task_seq_len, "the task is semantic"
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        tokens = tokenizer([text], padding="max_length", max_length=length, truncation=True, return_tensors="pt")
    except Exception as error:
        raise PipeError(f"{folder}: a OneFormer needs the tokenizer of its folder: {told(error)}") from error
    return tokens["input_ids"] * tokens["attention_mask"]


class _Outputs(nn.Module):
    """A model of the library, which takes its pictures by name."""

    task: Tensor | None

    def __init__(self, network: Any, task: Tensor | None) -> None:  # noqa: ANN401 (a PreTrainedModel)
        super().__init__()
        self.network = network
        self.register_buffer("task", task)

    def forward(self, pictures: Tensor) -> Any:  # noqa: ANN401 (a mapping with the logits among others)
        """Normalised pictures -> all that the model returns."""
        task = {} if self.task is None else {"task_inputs": self.task.expand(len(pictures), -1)}
        return self.network(pixel_values=pictures, **task)


def _declared(config: Any, processing: Mapping[str, Any]) -> Declaration:  # noqa: ANN401 (a PreTrainedConfig)
    """Read what the folder's files say of preprocessing and sizes."""
    factor = processing.get("rescale_factor", 1 / 255) if processing.get("do_rescale", True) else 1
    plain: dict[str, Any] = {"range": 255.0 * factor if isinstance(factor, (int, float)) else factor}
    if processing.get("do_normalize"):
        plain |= {
            name: _three(processing[f"image_{name}"]) for name in ("mean", "std") if f"image_{name}" in processing
        }
    if processing.get("do_flip_channel_order"):
        plain["colour"] = "BGR"
    # Without a word about it, what holds for most: the patch of a transformer, or five halvings.
    patch = getattr(config, "patch_size", None)
    multiple = processing.get("size_divisor") or processing.get("ensure_multiple_of", 1)
    if multiple == 1:
        multiple = patch if isinstance(patch, int) else 32
    return Declaration().with_values(plain | {"multiple": multiple, "resize": _resize(processing)}, "its folder")


def _three(value: object) -> object:
    """Return a number for each colour; some files have one for all."""
    return [value] * 3 if isinstance(value, (int, float)) else value


def _sigmoid_at(model_type: str, rule: Resize) -> SigmoidAt:
    """Return where a network's authors take the sigmoid: most of them at the masks' own resolution."""
    if model_type in EOMT:
        return "window" if rule.is_windowed else "picture" if rule.base == "pad" else "masks"
    return MASK2FORMER_MASKS if model_type == "mask2former" else "masks"


def _resize(processing: Mapping[str, Any]) -> str | None:
    """Read the rule of resizing, None where the folder has none."""
    size = processing.get("size")
    if not processing.get("do_resize", True):
        return "native"
    if isinstance(size, int):
        # Older versions wrote one number; it depends on the processor what that means.
        is_square = processing.get("default_to_square", True)
        longest = processing.get("max_size")
        size = {"height": size, "width": size} if is_square else {"shortest_edge": size, "longest_edge": longest}
    if not isinstance(size, dict):
        return None
    if {"height", "width"} <= size.keys():
        return f"{size['height']}x{size['width']}"
    shortest, longest = size.get("shortest_edge"), size.get("longest_edge")
    if processing.get("do_split_image"):
        return f"windows:{shortest}"
    if processing.get("do_pad") and shortest and shortest == longest:
        return f"pad:{longest}"
    if shortest:
        return f"short:{shortest}:{longest}" if longest else f"short:{shortest}"
    return f"long:{longest}" if longest else None


def _channels(source: Source, config: Any) -> Channels:  # noqa: ANN401 (a PreTrainedConfig)
    """Name the channels as the user declares them, else as config.json does, unless its names are mere numbers."""
    count = config.num_labels
    # Names that count from 1, or leave some out, do not tell which channel is which.
    names = (
        [str(config.id2label.get(index)) for index in range(count)]
        if set(config.id2label) == set(range(count))
        else []
    )
    if source.classes or all(re.fullmatch(r"LABEL_\d+", name) for name in names):
        return name_channels(count, source.classes, source.void_class, source.outlier_class, "as declared")
    unique = [f"{name} ({i})" if names.count(name) > 1 else name for i, name in enumerate(names)]
    return name_channels(count, unique, source.void_class, source.outlier_class, "by its config.json")


def _notes(processing: Mapping[str, Any]) -> tuple[str, ...]:
    if not processing:
        return ("no preprocessor_config.json: pictures go in as they are, in 0..1",)
    notes = []
    if processing.get("resample", BILINEAR) != BILINEAR:
        notes.append("its authors do not resample pictures bilinearly, as is done here")
    if processing.get("do_center_crop"):
        notes.append("its authors cut out the middle of a picture; here all of it goes in")
    return tuple(notes)
