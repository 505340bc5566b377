"""How fast `pipe infer` is on a device, and what holds it up: parts of `benchmarks.cuda`."""

import os
import resource
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch.profiler import ProfilerActivity, profile

from benchmarks.cuda_made import Bench, infer
from benchmarks.sheet import Sheet
from logitpipe.cache.files.folder import Folder
from logitpipe.cache.writing.commit import StoreWriter
from logitpipe.stages.cores import cores_of_rank
from logitpipe.stages.infer.data.preprocess import prepare
from logitpipe.stages.infer.describe import describe
from logitpipe.stages.infer.device.device import background_threads
from logitpipe.stages.infer.forward import _to_device
from logitpipe.stages.infer.model import Model
from logitpipe.stages.infer.run import _computed

RATES = ("network", "batch", "forward", "decode", "commit", "disk", "pipe infer", "over least", "least", "peak")
PASSES = 4
"""Launched together: a device that is waited for after each pass idles between them."""
MOST_IMAGES = 1500
"""In one run: with their stores they lie on a disk that may be small."""
TOP = 8
"""Kernels that are named."""


def measure_rates(bench: Bench, sheet: Sheet) -> None:
    """Pictures in a second: of each step by itself, and of all of them together."""
    threads = background_threads(bench.device)
    title = f"Pictures in a second ({threads} threads decode, as many commit); peak memory of the device"
    models = {}
    steps = {}
    for batch in bench.scale.batches:
        for name in bench.scale.sizes:
            if name not in models:
                models[name] = bench.model(name)
                steps[name] = around(bench, models[name])
            decode, commit, disk = steps[name]
            if bench.device.type == "cuda":
                torch.cuda.reset_peak_memory_stats(bench.device)
            forward = forward_rate(bench, models[name], batch)
            both = 1 / (1 / decode + 1 / commit)
            least = min(forward, both, disk)
            limit = {forward: "forward", both: "decode and commit", disk: "disk"}[least]
            # Some seconds of it: the first pictures wait for the first batch, and the last for the last commit.
            images = min(MOST_IMAGES, max(2 * batch, int(2 * bench.scale.seconds * least)))
            whole = images / infer_seconds(bench, models[name], images, batch)
            line = [name, batch, forward, decode, commit, disk, whole, whole / least, limit, peak(bench)]
            sheet.line(title, RATES, line)
    for name in bench.scale.sizes:
        amps = bench.amps()[1:]
        rates = [forward_rate(bench, replace(models[name], amp=amp), bench.scale.batches[0]) for amp in amps]
        header = ("network", *amps)
        sheet.line("Pictures in a second of the bare forward in lower precision", header, [name, *rates])


def around(bench: Bench, model: Model) -> tuple[float, float, float]:
    """Return how many pictures in a second all threads decode, commit, and write to the disk."""
    threads, samples = background_threads(bench.device), bench.dataset.samples
    with ThreadPoolExecutor(threads) as pool:
        started = time.perf_counter()
        decoded = list(pool.map(lambda sample: prepare(sample, model.input_size), samples))
        decode = len(samples) / (time.perf_counter() - started)
        writer = StoreWriter(place := next(bench.places), describe(model, bench.dataset, "float16"))
        batches = [[(image, decoded[image])] for image in range(len(decoded))]
        computed = list(_computed(model, writer, pool, 1, batches, None))
        with writer.claimed(range(len(computed))):
            started = time.perf_counter()
            list(pool.map(lambda each: writer.commit(each.image, each.values, each.sources, each.geometry), computed))
            commit = len(computed) / (time.perf_counter() - started)
        size = sum(file.stat().st_size for file in place.rglob("*") if file.is_file()) / len(computed)
        shutil.rmtree(place)
        blank, started = os.urandom(int(size)), time.perf_counter()
        list(pool.map(lambda i: _write(bench.folder / f"{i}.bytes", blank), range(len(computed))))
        disk = len(computed) / (time.perf_counter() - started)
    return decode, commit, disk


def _write(path: Path, data: bytes) -> None:
    with path.open("wb") as file:
        file.write(data)
        os.fsync(file.fileno())
    path.unlink()


@torch.inference_mode()
def forward_rate(bench: Bench, model: Model, batch: int) -> float:
    """Return how many pictures in a second the network takes when it has nothing else to do."""
    # Noise: on zeros a chip runs faster than on pictures.
    noise = np.random.default_rng(0).integers(0, 256, (*model.input_size, 3), np.uint8)
    images = _to_device([noise] * batch, bench.device)
    for _ in range(2):
        model.logits(images)
    bench.wait()
    started, done = time.perf_counter(), 0
    while time.perf_counter() - started < bench.scale.seconds:
        for _ in range(PASSES):
            model.logits(images)
        bench.wait()
        done += PASSES * batch
    return done / (time.perf_counter() - started)


def infer_seconds(bench: Bench, model: Model, images: int, batch: int) -> float:
    """Return how long a run takes whose network has warmed up."""
    infer(model, bench.data(batch), warm := next(bench.places), batch)
    shutil.rmtree(warm)
    started = time.perf_counter()
    infer(model, bench.data(images), place := next(bench.places), batch)
    seconds = time.perf_counter() - started
    shutil.rmtree(place)
    return seconds


def peak(bench: Bench) -> str:
    """Return the most memory of the device that was in use."""
    return f"{torch.cuda.max_memory_allocated(bench.device) / 1e9:.2f} GB" if bench.device.type == "cuda" else "-"


def measure_where(bench: Bench, sheet: Sheet) -> None:
    """Where the time of a run goes: how busy cores and device are, and the device with what."""
    title, header = "Where the time of pipe infer goes", ("network", "what", "share of the time")
    is_cuda = bench.device.type == "cuda"
    for name in list(bench.scale.sizes)[:2]:
        model, batch = bench.model(name), bench.scale.batches[0]
        images = max(2 * batch, bench.scale.images)
        before = resource.getrusage(resource.RUSAGE_SELF)
        seconds = infer_seconds(bench, model, images, batch)
        after = resource.getrusage(resource.RUSAGE_SELF)
        busy = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        sheet.line(title, header, [name, "cores are busy", busy / seconds / cores_of_rank()])
        with profile(activities=[ProfilerActivity.CUDA if is_cuda else ProfilerActivity.CPU]) as profiled:
            seconds = infer_seconds(bench, model, images, batch)
        found = {
            event.key: (event.self_device_time_total if is_cuda else event.self_cpu_time_total) / 1e6 / seconds
            for event in profiled.key_averages()
        }
        sheet.line(title, header, [name, "device is busy (profiled)" if is_cuda else "torch", sum(found.values())])
        for key in sorted(found, key=lambda key: found[key], reverse=True)[:TOP]:
            sheet.line(title, header, [name, f"  {key[:70]}", found[key]])


def measure_sharing(bench: Bench, sheet: Sheet) -> None:
    """Two processes that share the device beside one, loading included."""
    header = ("processes", "pictures", "s, loading included", "exit codes", "same store as by one")
    alone: dict[str, bytes] = {}
    for processes in (1, 2):
        out, started = next(bench.places), time.perf_counter()
        running = [shard(bench, next(iter(bench.scale.sizes)), out, i, processes) for i in range(processes)]
        codes, seconds = [process.wait() for process in running], time.perf_counter() - started
        images, found = len(list((out / "records").glob("*.json"))), content(out)
        alone = alone or found
        line = [processes, images, seconds, str(codes), found == alone]
        sheet.line("Processes that share the device", header, line)


def content(store: Path) -> dict[str, bytes]:
    """Return every file of a store."""
    files = Folder(store)
    return {key: files.read(key) or b"" for key in files.all_keys() if not key.endswith("lock")}


def shard(bench: Bench, name: str, out: Path, index: int, of: int) -> "subprocess.Popen[bytes]":
    """Start `pipe infer` over every picture of one of so many shards."""
    source, (height, width) = bench.source(name), bench.scale.sizes[name]
    words = {
        "--network": source.name,
        "--weights": source.weights,
        "--resize": f"{height}x{width}",
        "--dataset": "Made",
        "--data-root": bench.folder,
        "--out": out,
        "--device": bench.device,
        "--batch-size": bench.scale.batches[0],
        "--shard": f"{index}/{of}",
    }
    flags = [str(word) for pair in words.items() for word in pair]
    return subprocess.Popen([sys.executable, "-m", "logitpipe", "-q", "infer", *flags])
