"""`pipe infer` on a GPU: whether it is right, how fast it is, and what holds it up.

    python -m benchmarks.cuda [--device cuda] [--tiny] [--out FOLDER]

Prints its tables and saves them after each part, so that a part that fails costs only itself. `--tiny` is for a test
on a CPU: it goes the same ways with small networks and pictures, and its figures mean nothing.
"""

import argparse
import os
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
import torch
from sklearn.metrics import average_precision_score
from torch import Tensor

from benchmarks.infer import made_data
from benchmarks.sheet import RESULTS, Sheet
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.infer.data.datasets import DataSet
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.describe import describe, software
from logitpipe.stages.infer.device.device import background_threads, choose_device
from logitpipe.stages.infer.forward import _to_device
from logitpipe.stages.infer.model import TF32_CAPABILITY, Amp, Model, load_model
from logitpipe.stages.infer.networks.enet import ENet
from logitpipe.stages.infer.networks.eomt.network import EoMT
from logitpipe.stages.infer.networks.erfnet import ERFNet
from logitpipe.stages.infer.networks.seam import Source
from logitpipe.stages.infer.run import _computed, infer_images
from logitpipe.stages.memory import heaps_beside, keep_freed_memory
from tests.golden_rule import BAR, golden_images, golden_weights

EOMT = {
    "patch_size": 16,
    "register_tokens": 4,
    "queries": 100,
    "classes": 19,
    "query_blocks": 3,
    "attn_mask_probs": [0.0] * 3,
    "masked_attention": False,
}
BASE = EOMT | {"width": 768, "depth": 12, "heads": 12, "mlp_width": 3072}
LARGE = EOMT | {"width": 1024, "depth": 24, "heads": 16, "mlp_width": 4096}
SMALL = EOMT | {"width": 64, "depth": 4, "heads": 1, "mlp_width": 64, "queries": 7}
SHARE_OF_ANOMALY = 0.05
BATCHES = (1, 4, 8, 16)
SECONDS_OF_A_RATE = 3.0


@dataclass(frozen=True)
class Scale:
    """How large everything is.

    Parameters
    ----------
    sizes : input (H, W) of each network
    eomt : facts of each size of EoMT
    images, picture : number and (H, W) of the made pictures
    batches : images in one forward pass
    seconds : that a rate is measured for, at least
    """

    sizes: Mapping[str, tuple[int, int]]
    eomt: Mapping[str, dict[str, Any]]
    images: int
    picture: tuple[int, int]
    batches: Sequence[int]
    seconds: float


FULL = Scale(
    {"erfnet": (512, 1024), "enet": (512, 1024), "eomt-base": (640, 1280), "eomt-large": (640, 1280)},
    {"eomt-base": BASE, "eomt-large": LARGE},
    96,
    (720, 1280),
    BATCHES,
    SECONDS_OF_A_RATE,
)
TINY = Scale({"erfnet": (16, 32), "eomt-small": (32, 64)}, {"eomt-small": SMALL}, 4, (24, 40), (2,), 0.01)


class Bench:
    """What all parts share: the device, the scale, made pictures, checkpoints that a rule makes.

    Parameters
    ----------
    folder : for checkpoints, pictures and stores
    device : where the networks run
    scale : how large everything is
    """

    def __init__(self, folder: Path, device: torch.device, scale: Scale) -> None:
        self.folder, self.device, self.scale = folder, device, scale
        self.dataset = made_data(folder, scale.images, scale.picture)
        self.places = (folder / f"{i}.zarr" for i in count())

    def source(self, name: str) -> Source:
        """Return a network whose weights follow from their names, so that they are the same everywhere."""
        file, size = self.folder / f"{name}.pth", self.scale.sizes[name]
        if not file.exists():
            torch.save(self._weights(name, size), file)
        return Source(name.partition("-")[0], file, size)

    def _weights(self, name: str, size: tuple[int, int]) -> dict[str, Tensor]:
        if name not in self.scale.eomt:
            return golden_weights(lambda: ERFNet(20) if name == "erfnet" else ENet(20))
        facts, grid = self.scale.eomt[name], (size[0] // 16, size[1] // 16)
        return golden_weights(lambda: EoMT(facts, grid)) | {"attn_mask_probs": torch.tensor(facts["attn_mask_probs"])}

    def model(self, name: str, device: torch.device | None = None, amp: Amp = "none") -> Model:
        """Load a network as `pipe infer` does."""
        return load_model(self.source(name), device or self.device, amp)

    def amps(self) -> list[Amp]:
        """Return the precisions that the device computes in."""
        modern = self.device.type == "cuda" and torch.cuda.get_device_capability(self.device) >= TF32_CAPABILITY
        return ["none", "tf32", "bf16"] if modern else ["none", "bf16"]

    def wait(self) -> None:
        """Wait until the device has done what it was given."""
        if self.device.type == "cuda":
            torch.cuda.synchronize(self.device)


def measure_tests(sheet: Sheet, _bench: Bench) -> None:
    """Run the tests that need a GPU."""
    command = [sys.executable, "-m", "pytest", "-q", "-m", "gpu", "-p", "no:cacheprovider", "tests"]
    said = subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip().splitlines()
    sheet.table("Tests marked gpu", ("what pytest says last",), [said[-1:]])


def measure_agreement(sheet: Sheet, bench: Bench) -> None:
    """Logits of the device beside those of the CPU, and what lower precision changes."""
    lines = []
    for name in bench.scale.sizes:
        images = golden_images(*bench.scale.sizes[name])
        expected = logits(bench.model(name, torch.device("cpu")), images)
        score = anomaly(expected)
        noise = np.random.default_rng(0).standard_normal(score.size) * score.std()
        # Labels that a score finds some of: of made weights none would find those of made pictures.
        labels = score + noise > np.quantile(score + noise, 1 - SHARE_OF_ANOMALY)
        before = average_precision_score(labels, score)
        for amp in bench.amps():
            found = logits(bench.model(name, amp=amp), images)
            apart = max(float((found[key] - z).abs().max() / z.std()) for key, z in expected.items())
            classes = next(iter(expected))
            argmax = float((found[classes].argmax(1) != expected[classes].argmax(1)).float().mean())
            change = abs(average_precision_score(labels, anomaly(found)) - before)
            verdict = ("yes" if apart <= BAR else "NO") if amp == "none" else "-"
            lines.append([name, amp, f"{apart:.1e}", verdict, f"{100 * argmax:.3g} %", f"{100 * change:.2g}"])
    header = ("network", "amp", "largest difference / std", f"within {BAR:g}", "argmax changed", "AuPRC moved, %")
    sheet.table(f"Logits of {bench.device} beside float32 on the CPU", header, lines)


@torch.inference_mode()
def logits(model: Model, images: Tensor) -> dict[str, Tensor]:
    """Return the logits of some images, on the CPU."""
    found = model.logits(images.to(model.device).contiguous(memory_format=torch.channels_last))
    return {name: z.float().cpu() for name, z in found.items()}


def anomaly(found: Mapping[str, Tensor]) -> np.ndarray:
    """Return 1 - the largest probability of each pixel: float64 (n,)."""
    if "logits" in found:
        return 1 - found["logits"].double().softmax(1).amax(1).numpy().ravel()
    classes = found["class_logits"].double().softmax(2)[..., :-1]
    S = torch.einsum("bqk,bqhw->bkhw", classes, found["mask_logits"].double().sigmoid())
    return 1 - S.amax(1).numpy().ravel()


def measure_repeats(sheet: Sheet, bench: Bench) -> None:
    """The same store twice, and once more by this process and another one, which is killed on its way."""
    name = next(iter(bench.scale.sizes))
    first, second, third = (next(bench.places) for _ in range(3))
    model = bench.model(name)
    for place in (first, second):
        infer(model, bench.dataset, place, bench.scale.batches[-1])
    other = shard(bench, name, third, 1, 2)
    while not any((third / "records").glob("*.json")) and other.poll() is None:
        time.sleep(0.01)
    infer(model, bench.dataset, third, bench.scale.batches[-1], range(0, bench.scale.images, 2))
    other.kill()
    other.wait()
    there = len(list((third / "records").glob("*.json")))
    infer(model, bench.dataset, third, bench.scale.batches[-1])
    same = [content(place) == content(first) for place in (second, third)]
    runs = ("the same again", f"two processes, one of them killed when {there} of {bench.scale.images} were there")
    title = "Is the store the same, byte for byte? Of one model of GPU it must be; of another one it need not"
    sheet.table(title, ("run", "same"), list(zip(runs, same, strict=True)))


def shard(bench: Bench, name: str, out: Path, index: int, of: int) -> subprocess.Popen[bytes]:
    """Start `pipe infer` over every picture of one of so many shards."""
    source, (height, width) = bench.source(name), bench.scale.sizes[name]
    words = {
        "--network": source.name,
        "--weights": source.weights,
        "--input-size": f"{height}x{width}",
        "--dataset": "Made",
        "--data-root": bench.folder,
        "--out": out,
        "--device": bench.device,
        "--batch-size": bench.scale.batches[-1],
        "--shard": f"{index}/{of}",
    }
    flags = [str(word) for pair in words.items() for word in pair]
    return subprocess.Popen([sys.executable, "-m", "logitpipe", "-q", "infer", *flags])


def content(store: Path) -> dict[str, bytes]:
    """Return every file of a store."""
    files = Folder(store)
    return {key: files.read(key) or b"" for key in files.all_keys() if not key.endswith("lock")}


def infer(model: Model, dataset: DataSet, place: Path, batch_size: int, of: Sequence[int] | None = None) -> None:
    """Do what `pipe infer` does once its network is loaded: compute what the store lacks of all or of some."""
    writer = StoreWriter(place, describe(model, dataset, "float16"))
    done = set(writer.completed())
    images = [image for image in (range(len(dataset.samples)) if of is None else of) if image not in done]
    infer_images(model, dataset, writer, images, batch_size, lambda: None)


def measure_rates(sheet: Sheet, bench: Bench) -> None:
    """Pictures in a second: of each step by itself, and of all of them together."""
    lines: list[list[object]] = []
    for name in bench.scale.sizes:
        model = bench.model(name)
        decode, commit, disk = around(bench, model)
        for batch in bench.scale.batches:
            if bench.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(bench.device)
            forward = forward_rate(bench, model, batch)
            part = replace(bench.dataset, samples=bench.dataset.samples[: max(4 * batch, bench.scale.images // 2)])
            infer(model, replace(part, samples=part.samples[:batch]), next(bench.places), batch)  # to warm up
            started = time.perf_counter()
            infer(model, part, next(bench.places), batch)
            whole = len(part.samples) / (time.perf_counter() - started)
            both = 1 / (1 / decode + 1 / commit)
            least = min(forward, both, disk)
            limit = {forward: "forward", both: "decode and commit", disk: "disk"}[least]
            lines.append([name, batch, forward, decode, commit, disk, whole, whole / least, limit, peak(bench)])
    header = ("network", "batch", "forward", "decode", "commit", "disk", "pipe infer", "over least", "least", "peak")
    threads = f"{background_threads(bench.device)} threads decode, as many commit"
    sheet.table(f"Pictures in a second ({threads}); peak memory of the device", header, lines)


def around(bench: Bench, model: Model) -> tuple[float, float, float]:
    """Return how many pictures in a second all threads decode, commit, and the disk takes."""
    threads, samples = background_threads(bench.device), bench.dataset.samples
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        decoded = list(pool.map(lambda sample: prepare(sample, model.input_size), samples))
        decode = len(samples) / (time.perf_counter() - started)
        few = decoded[: min(len(decoded), 16)]
        writer = StoreWriter(next(bench.places), describe(model, bench.dataset, "float16"))
        computed = list(_computed(model, writer, pool, 1, [list(enumerate(few))], None))
        with writer.claimed(range(len(few))):
            started = time.perf_counter()
            list(pool.map(lambda each: writer.commit(each.image, each.values, each.sources, each.geometry), computed))
            commit = len(few) / (time.perf_counter() - started)
    size = sum(file.stat().st_size for file in Path(str(writer.path)).rglob("*") if file.is_file()) / len(few)
    blank, started = os.urandom(int(size)), time.perf_counter()
    for i in range(len(few)):
        with (bench.folder / f"{i}.bytes").open("wb") as file:
            file.write(blank)
            os.fsync(file.fileno())
    return decode, commit, len(few) / (time.perf_counter() - started)


@torch.inference_mode()
def forward_rate(bench: Bench, model: Model, batch: int) -> float:
    """Return how many pictures in a second the network takes when it has nothing else to do."""
    images = _to_device([np.zeros((*model.input_size, 3), np.uint8)] * batch, bench.device)
    for _ in range(2):
        model.logits(images)
    bench.wait()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < bench.scale.seconds:
        model.logits(images)
        bench.wait()
        done += batch
    return done / (time.perf_counter() - started)


def peak(bench: Bench) -> str:
    """Return the most memory of the device that was in use."""
    return f"{torch.cuda.max_memory_allocated(bench.device) / 1e9:.2f} GB" if bench.device.type == "cuda" else "-"


def measure_sharing(sheet: Sheet, bench: Bench) -> None:
    """Two processes that share the device beside one, loading included."""
    name = next(iter(bench.scale.sizes))
    seconds = {}
    for processes in (1, 2):
        out, started = next(bench.places), time.perf_counter()
        running = [shard(bench, name, out, index, processes) for index in range(processes)]
        codes = [process.wait() for process in running]
        images = len(list((out / "records").glob("*.json")))
        seconds[processes] = [processes, images, time.perf_counter() - started, str(codes)]
    header = ("processes", "pictures", "s, loading included", "exit codes")
    sheet.table("Processes that share the device", header, list(seconds.values()))


def facts_of(bench: Bench) -> dict[str, str]:
    """Return the versions and settings that a store records, and the driver's."""
    model = bench.model(next(iter(bench.scale.sizes)))
    query = ["nvidia-smi", "--query-gpu=name,driver_version,memory.total", "--format=csv,noheader"]
    try:
        driver = subprocess.run(query, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        driver = "none"
    return software(model) | {"driver": driver}


PARTS: tuple[Callable[[Sheet, Bench], None], ...] = (
    measure_agreement,
    measure_repeats,
    measure_rates,
    measure_sharing,
    measure_tests,
)


def main(words: Sequence[str] | None = None) -> int:
    """Measure, print and save; return how many parts failed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--tiny", action="store_true")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args(words)
    keep_freed_memory(heaps_beside(arguments.device))
    device = choose_device(arguments.device)
    failed = 0
    with tempfile.TemporaryDirectory() as name:
        bench = Bench(Path(name), device, TINY if arguments.tiny else FULL)
        sheet = Sheet("cuda", arguments.out)
        sheet.facts |= facts_of(bench)
        # Those that start processes of their own take seconds to load torch, which a test has not.
        for part in PARTS[:3] if arguments.tiny else PARTS:
            started = time.perf_counter()
            try:
                part(sheet, bench)
            except Exception:  # whatever it is, the other parts are worth having
                failed += 1
                traceback.print_exc()
            print(f"{part.__name__}: {time.perf_counter() - started:.1f} s", flush=True)
            sheet.save()
    return failed


if __name__ == "__main__":
    sys.exit(main())
