"""`pipe infer`: the store holds what the network gives, and is the same store however it came about."""

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch
from click.testing import CliRunner
from conftest import content, fails, write_sample
from fake_networks import GAIN, SIZE
from golden_rule import golden_weights
from PIL import Image

from logitpipe.cache import StoreWriter, open_store
from logitpipe.cli import cli
from logitpipe.stages.infer import run as infer_run
from logitpipe.stages.infer.networks.erfnet import ERFNet

WEIGHTS = Path(__file__).parents[2] / "pipeline" / "demo" / "weights"


@pytest.mark.parametrize("network", ["enet", "eomt"])
def test_a_store_holds_what_the_network_gives(run, tmp_path, data_root, network):
    result = run(network=network)
    assert (result.exit_code, result.stdout) == (0, "")
    store = open_store(tmp_path / "store")
    picture = Image.open(data_root / "Tiny" / "images" / "10.png").resize((32, 16), Image.Resampling.BILINEAR)
    red = torch.from_numpy(np.array(picture)[..., 0]).float() / 255
    logits = red * GAIN[:, None, None]
    if network == "enet":
        assert np.array_equal(store.read("logits", 4), logits.half())
    else:
        masks = logits[:, ::4, ::4]
        assert np.array_equal(store.read("mask_logits", 4), masks.half())
        assert np.array_equal(store.read("class_logits", 4), masks.flatten(1)[:, :20])
    assert np.array_equal(store.labels(4), np.asarray(Image.open(data_root / "Tiny" / "labels_masks" / "10.png")))
    assert store.read("preview", 4).shape == (8, 16, 3)


@pytest.mark.parametrize(("network", "count", "void"), [("enet", 20, 19), ("eomt", 19, None)])
def test_the_schema_tells_what_the_run_was(run, tmp_path, network, count, void):
    run(network=network)
    schema = open_store(tmp_path / "store").schema
    assert (schema.network, schema.dataset, schema.input_size) == (network, "Tiny", SIZE)
    assert schema.images == ("0.png", "1.png", "2.png", "3.png", "10.png")
    assert schema.label_shape == (24, 40)
    assert schema.facts == {"channels": 20}
    assert (len(schema.classes), schema.void_class) == (count, void)
    assert set(schema.software) == {"logitpipe", "python", "torch", "numpy", "pillow", "device", "instructions"}


@pytest.mark.parametrize("network", ["enet", "eomt"])
def test_the_batch_size_changes_nothing(run, tmp_path, network):
    for size in "1", "3", "9":
        assert run("--batch-size", size, out=size, network=network).exit_code == 0
    assert content(tmp_path / "1") == content(tmp_path / "3") == content(tmp_path / "9")


@pytest.mark.parametrize("count", [2, 3, 7])
def test_shards_in_any_order_give_the_store_of_one_run(run, tmp_path, count):
    run(out="one")
    for index in reversed(range(count)):
        assert run("--shard", f"{index}/{count}", out="many").exit_code == 0
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_pictures_that_come_in_other_company_have_the_same_bits(tmp_path, data_root):
    """A batch of another size may be computed by another algorithm: of ERFNet on a CPU it is."""
    torch.save(golden_weights(lambda: ERFNet(20)), tmp_path / "weights.pth")
    words = ["--network", "erfnet", "--weights", tmp_path / "weights.pth", "--resize", "16x32", "--batch-size", 2]
    words += ["--dataset", "Tiny", "--data-root", data_root]
    for out, shard in ("one", "0/1"), ("many", "2/3"), ("many", "0/1"):
        result = CliRunner().invoke(cli, ["infer", *map(str, words), "--out", str(tmp_path / out), "--shard", shard])
        assert result.exit_code == 0, result.stderr
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_a_shard_says_what_it_leaves_to_others(run, tmp_path):
    result = run("--shard", "1/2")
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith("Tiny: 2 of 5 images (2 new, 0 already there), ")
    assert result.stderr.endswith(f" MB in {tmp_path / 'store'}; left to other shards: 3\n")


def test_the_shard_comes_from_the_environment_where_no_flag_gives_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run()
    assert open_store(tmp_path / "store").completed() == [1, 3]
    run("--shard", "0/1")
    assert open_store(tmp_path / "store").completed() == [0, 1, 2, 3, 4]


def test_the_shard_comes_from_a_step_of_slurm_where_nobody_else_tells_it(run, tmp_path, monkeypatch):
    monkeypatch.setenv("SLURM_PROCID", "2")
    monkeypatch.setenv("SLURM_STEP_ID", "0")
    monkeypatch.setenv("SLURM_STEP_NUM_TASKS", "3")
    run()
    assert open_store(tmp_path / "store").completed() == [2]
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    run()
    assert open_store(tmp_path / "store").completed() == [1, 2, 3]


def test_a_batch_script_of_slurm_is_one_process_and_fills_all_of_the_store(run, tmp_path, monkeypatch):
    """sbatch sets the variables of rank 0 of its job although it starts the script once; only srun makes ranks."""
    for name, value in {"SLURM_PROCID": "0", "SLURM_NTASKS": "4", "SLURM_LOCALID": "0"}.items():
        monkeypatch.setenv(name, value)
    run()
    assert open_store(tmp_path / "store").completed() == [0, 1, 2, 3, 4]


def test_the_same_command_again_does_nothing(run, tmp_path):
    run()
    before = content(tmp_path / "store")
    result = run()
    assert result.exit_code == 0
    assert result.stderr.splitlines()[-1].startswith("Tiny: 5 of 5 images (0 new, 5 already there), ")
    assert content(tmp_path / "store") == before


def test_a_failed_run_goes_on_to_the_same_store(run, tmp_path, data_root):
    run(out="undisturbed")
    picture = data_root / "Tiny" / "images" / "3.png"
    whole, changed = picture.read_bytes(), picture.stat().st_mtime_ns
    picture.write_bytes(whole[: len(whole) // 2])
    failed = run()
    assert failed.exit_code == 1
    assert f"{picture}: expected an image that decodes to its end" in failed.stderr
    assert open_store(tmp_path / "store").completed() == [0, 1, 2]
    picture.write_bytes(whole)
    os.utime(picture, ns=(changed, changed))  # which the record holds, too
    assert "(2 new, 3 already there)" in run().stderr
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


def test_float16_is_float32_rounded(run, tmp_path):
    run(out="half")
    run("--precision", "float32", out="full")
    half, full = (open_store(tmp_path / name).read("logits", 0) for name in ("half", "full"))
    assert (half.dtype, full.dtype) == (np.float16, np.float32)
    assert np.array_equal(half, full.astype(np.float16))
    assert not np.array_equal(half, full)


def test_a_limited_store_is_complete_and_another_store(run, tmp_path):
    assert run("--limit", "2").exit_code == 0
    open_store(tmp_path / "store").require_complete()
    result = run()
    assert result.exit_code == 1
    assert 'images: ["0.png", "1.png"] in the store' in result.stderr


def test_several_data_sets_each_get_a_store(run, tmp_path, data_root):
    write_sample(data_root / "Another", "x.png", (8, 8), seed=9)
    assert run("--dataset", "Another", "--dataset", "Tiny", out="named").exit_code == 0
    assert run(dataset="all", out="all").exit_code == 0
    assert sorted(path.name for path in (tmp_path / "all").iterdir()) == ["Another.zarr", "Tiny.zarr"]
    assert content(tmp_path / "all") == content(tmp_path / "named")


def test_several_data_sets_do_not_go_into_a_store(run, tmp_path):
    run()
    fails(
        run(dataset="all"),
        f"pipe: --out {tmp_path / 'store'}: it is a store; several data sets need a folder for their stores",
        code=2,
    )


def test_another_run_is_refused_before_anything_is_computed(run, monkeypatch):
    run("--shard", "0/2")
    monkeypatch.setattr(infer_run, "launch", None)
    result = run("--input-size", "8x8")
    assert result.exit_code == 1
    assert "input_size: [16, 32] in the store, [8, 8] asked for" in result.stderr
    assert "--overwrite" in result.stderr


def test_overwrite_starts_anew(run, tmp_path):
    run("--input-size", "8x8")
    assert run("--overwrite").exit_code == 0
    assert open_store(tmp_path / "store").schema.input_size == SIZE


def test_overwrite_spares_the_old_store_until_all_else_is_known_to_be_well(run, tmp_path, data_root):
    run()
    before = content(tmp_path / "store")
    (data_root / "Tiny" / "images" / "0.png").write_bytes(b"no picture")
    assert run("--overwrite").exit_code == 1
    (tmp_path / "weights.pth").write_bytes(b"")
    assert run("--overwrite").exit_code == 1
    assert content(tmp_path / "store") == before


def test_overwrite_keeps_the_old_store_until_the_first_image_is_there(run, tmp_path, data_root):
    assert run().exit_code == 0
    before = content(tmp_path / "store")
    (data_root / "Tiny" / "images" / "0.png").write_bytes(b"no picture" * 99)
    assert run("--overwrite").exit_code == 1
    assert content(tmp_path / "store") == before


@pytest.mark.parametrize("folder", ["images", "labels_masks"])
def test_a_store_of_files_that_have_changed_is_not_gone_on_with(run, tmp_path, data_root, folder):
    assert run().exit_code == 0
    path = data_root / "Tiny" / folder / "2.png"
    image = np.array(Image.open(path))
    Image.fromarray(255 - image if folder == "images" else np.zeros_like(image)).save(path)
    fails(
        run(),
        f"pipe: {tmp_path / 'store'}: image '2.png' was computed from another {path} than lies there now; "
        "restore the file, choose another --out, or start anew with --overwrite",
    )


def test_overwrite_never_removes_what_is_no_store(run, tmp_path):
    (tmp_path / "store").mkdir()
    (tmp_path / "store" / "thesis.tex").touch()
    assert run("--overwrite").exit_code == 1
    assert (tmp_path / "store" / "thesis.tex").exists()


def test_shards_that_run_at_once_fill_one_store(run, tmp_path):
    run(out="one")
    with ThreadPoolExecutor(5) as pool:
        schema = open_store(tmp_path / "one").schema
        one = open_store(tmp_path / "one")
        values = [
            {name: one.read(name, image) for name in ("logits", "preview")} | {"labels": one.labels(image)}
            for image in range(5)
        ]
        sources = [one.record(image).sources for image in range(5)]
        writers = [StoreWriter(tmp_path / "many", schema) for _ in range(5)]
        list(pool.map(lambda image: writers[image].commit(image, values[image], sources[image]), range(5)))
    assert content(tmp_path / "many") == content(tmp_path / "one")


def test_a_store_of_real_logits(real_data, tmp_path):
    flags = {
        "--network": "enet",
        "--weights": real_data / "weights" / "enet_cityscapes_void.pth",
        "--dataset": "RoadAnomaly21",
        "--data-root": real_data,
        "--limit": 2,
    }
    words = [str(word) for pair in flags.items() for word in pair]
    for size in "1", "2":
        CliRunner().invoke(cli, ["infer", *words, "--batch-size", size, "--out", str(tmp_path / size)])
    one, two = (open_store(tmp_path / size) for size in "12")
    assert one.schema == two.schema
    assert one.schema.logits_shape == (20, 512, 1024)
    assert one.schema.classes[-1] == "void"
    np.testing.assert_allclose(one.read("logits", 1), two.read("logits", 1), rtol=2e-3, atol=1e-2)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "amp"), [("erfnet", "none"), ("eomt", "none"), ("eomt", "bf16")])
def test_a_run_starts_without_torchs_compiler(data_root, tmp_path, name, amp):
    words = ["infer", "--network", name, "--weights", str(WEIGHTS / f"{name}.safetensors"), "--amp", amp]
    words += ["--dataset", "Tiny", "--data-root", str(data_root), "--out", str(tmp_path / "store")]
    words += ["--input-size", "64x128", "--limit", "1"]
    code = f"import sys; from logitpipe.cli import cli; cli({words}, standalone_mode=False); print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert open_store(tmp_path / "store").missing() == []
    assert "torch" in loaded
    assert {"torch._dynamo", "torch._inductor", "sympy"}.isdisjoint(loaded)
