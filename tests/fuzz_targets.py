"""What is fuzzed: each target takes any bytes, and returns, whatever they are, unless there is a fault to be mended.

The targets swallow the project's own errors and nothing else. `seeds` makes inputs of each that mean something.
"""

import atexit
import io
import shutil
import tempfile
import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from stores import fill, make_schema

from logitpipe.cache import PipeError, open_store
from logitpipe.cache.format.codec import decode, encode
from logitpipe.cache.format.records import parse
from logitpipe.cache.format.schema import MAX_IMAGE_BYTES
from logitpipe.commands.infer import parse_shard, parse_size
from logitpipe.commands.score import parse_choices
from logitpipe.console.scoring import parse_temperatures
from logitpipe.stages.infer.data.imagefile import read_header
from logitpipe.stages.infer.data.masks import codes
from logitpipe.stages.infer.networks.eomt.config import KEYS, check_config, load_config, stated_size
from logitpipe.stages.infer.weights.checkpoints import read_checkpoint
from logitpipe.stages.score.labels.codes import LabelCodes
from logitpipe.stages.score.protocols import PROTOCOLS, with_choices

FOLDER = Path(tempfile.mkdtemp(prefix="fuzz-"))
atexit.register(shutil.rmtree, FOLDER, ignore_errors=True)
CHUNK = np.arange(48, dtype=np.float16).reshape(2, 4, 6)
FACTS = {"queries": 7, "query_blocks": 3, "classes": 4, "patch_size": 16, "masked_attention": False}
FACTS |= {"width": 768, "depth": 12, "register_tokens": 4}
WEIGHTS = FOLDER / "seed.pth"
CONFIG = b"""model:
  init_args:
    network:
      init_args:
        num_q: 7
        num_blocks: 3
        masked_attn_enabled: True
        encoder: {init_args: {backbone_name: vit_base_patch14_reg4_dinov2, patch_size: 16}}
data: {init_args: {num_classes: 4, img_size: [64, 64]}}
"""


def written(data: bytes, name: str) -> Path:
    """Write bytes to a file of this process."""
    (FOLDER / name).write_bytes(data)
    return FOLDER / name


def metadata(data: bytes) -> None:
    """Open a store whose `zarr.json` is this; one that opens asks for no more room than an image may have."""
    written(data, "zarr.json")
    with suppress(PipeError):
        store = open_store(FOLDER)
        assert store.schema.image_bytes() <= MAX_IMAGE_BYTES
        assert store.completed() == []


def record(data: bytes) -> None:
    """Parse a completion record; one that is taken holds texts where texts belong."""
    with suppress(PipeError):
        found = parse(data)
        assert all(isinstance(text, str) for text in (found.name, found.fingerprint, *found.sources.values()))


def chunk(data: bytes) -> None:
    """Decode a chunk; one that is taken has the shape that was expected."""
    with suppress(PipeError):
        assert decode(data, CHUNK.shape, CHUNK.dtype).shape == CHUNK.shape


def config(data: bytes) -> None:
    """Read a training's yaml and hold it against a network."""
    with suppress(PipeError):
        found = load_config(written(data, "config.yaml"))
        assert set(KEYS) >= set(FACTS) - {"width", "depth", "register_tokens"}
        stated_size(found)
        check_config(found, FACTS)


def weights(data: bytes) -> None:
    """Read a checkpoint; one that is taken holds finite numbers."""
    with suppress(PipeError):
        tensors = read_checkpoint(written(data, "weights.pth")).tensors
        assert all(bool(value.isfinite().all()) for value in tensors.values())


def image(data: bytes) -> None:
    """Decode a mask; one that is taken has the size that its header says."""
    with warnings.catch_warnings(), suppress(PipeError):
        warnings.simplefilter("ignore")  # of Pillow, about what it overlooks
        path = written(data, "mask.png")
        size = read_header(path).size
        assert codes(data, path).shape == size


def text_of(data: bytes) -> str:
    """Any bytes as the text of an argument."""
    return data.decode("utf-8", "surrogateescape")


def label_codes(data: bytes) -> None:
    """Parse what codes mean; what is taken gives every code one meaning."""
    with suppress(PipeError):
        found = LabelCodes.parse(text_of(data))
        assert len(found.normal | found.anomaly | found.void) <= 256
        assert found.table(void_as_anomaly=True).shape == (256,)


def temperatures(data: bytes) -> None:
    """Parse temperatures; what is taken is positive."""
    with suppress(click.BadParameter):
        assert all(0.001 <= T <= 1000 for T in parse_temperatures(CONTEXT, OPTION, text_of(data)))


def choices(data: bytes) -> None:
    """Parse choices of a protocol."""
    with suppress(PipeError, click.BadParameter):
        assert with_choices(
            PROTOCOLS["standard"], parse_choices(CONTEXT, OPTION, tuple(text_of(data).split(" ")))
        ).fpr


def sizes(data: bytes) -> None:
    """Parse the size of an input and a shard."""
    for parse_text in (parse_size, parse_shard):
        with suppress(click.BadParameter):
            assert len(parse_text(CONTEXT, OPTION, text_of(data)) or (0, 1)) == 2


CONTEXT, OPTION = click.Context(click.Command("pipe")), click.Option(["--option"])
TARGETS: dict[str, Callable[[bytes], None]] = {
    "metadata": metadata,
    "record": record,
    "chunk": chunk,
    "config": config,
    "weights": weights,
    "image": image,
    "label-codes": label_codes,
    "temperatures": temperatures,
    "choices": choices,
    "sizes": sizes,
}


def seeds() -> Mapping[str, list[bytes]]:
    """Make inputs that mean something, by target."""
    torch.save({"state_dict": {"module.weight": torch.ones(2, 3)}}, WEIGHTS)
    stores = [fill(FOLDER / kind, make_schema(kind), images=[0]) for kind in ("pixel", "mask")]
    buffers = {form: io.BytesIO() for form in ("PNG", "WEBP", "TIFF", "BMP")}
    for form, buffer in buffers.items():
        Image.fromarray(np.full((4, 6), 1, np.uint8)).save(buffer, form)
    return {
        "metadata": [(store / "zarr.json").read_bytes() for store in stores],
        "record": [(store / "records/0.json").read_bytes() for store in stores],
        "chunk": [encode(CHUNK).to_bytes()],
        "config": [CONFIG],
        "weights": [WEIGHTS.read_bytes()],
        "image": [buffer.getvalue() for buffer in buffers.values()],
        "label-codes": [b"normal=0,anomaly=1-2,void=255", b"normal=0+3-7,anomaly=1"],
        "temperatures": [b"0.5,1,2", b"0.5:2:0.1"],
        "choices": [b"min-max=msp,entropy thin-above=100 fpr=linear", b"label-codes=normal=0,anomaly=1"],
        "sizes": [b"512x1024", b"0/4"],
    }
