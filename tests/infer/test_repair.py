"""`pipe infer --repair`: the damaged images are computed again, and nothing else is touched."""

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from click.testing import CliRunner
from conftest import content, fails
from PIL import Image

from logitpipe.cache import StoreWriter, open_store
from logitpipe.cache.format import records
from logitpipe.cli import cli
from logitpipe.stages.infer import run as infer_run
from logitpipe.stages.infer.resume import refuse_changed
from tests.campaigns.damage import deleted, flipped, truncated

NAMES = ("0.png", "1.png", "2.png", "3.png", "10.png")


@pytest.fixture
def store(run, tmp_path) -> Path:
    """A store of five images, as a run leaves it."""
    assert run().exit_code == 0
    return tmp_path / "store"


@pytest.fixture
def computed(monkeypatch) -> list[str]:
    """The names of the images that the network sees from now on."""
    names: list[str] = []
    launch = infer_run.launch

    def listed(model, transfer, pixels, precision, batch, at_once):
        names.extend(batch)
        return launch(model, transfer, pixels, precision, batch, at_once)

    monkeypatch.setattr(infer_run, "launch", listed)
    return names


def damage(file: Path, change: Callable = flipped, seed: int = 0) -> None:
    data = change(file.read_bytes(), np.random.default_rng(seed))
    file.unlink() if data is None else file.write_bytes(data)


def states(store: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of change of every file."""
    return {file: ((store / file).stat().st_ino, (store / file).stat().st_mtime_ns) for file in content(store)}


def belongs(file: str, images: tuple[int, ...]) -> bool:
    return any(f"/c.{image}." in file or file == f"records/{image}.json" for image in images)


FILES = (
    "records/1.json",
    "logits/c.1.0.0.0",
    "labels/c.1.0.0",
    "geometry/c.1.0.0",
    "window_box/c.1.0.0",
    "images.json",
    "preview/c.1.0.0.0",
    "zarr.json",
    "logits/zarr.json",
    "preview/zarr.json",
)


@pytest.mark.parametrize("file", FILES)
def test_a_damaged_file_is_mended_and_no_other_touched(run, store, computed, file):
    whole, image = content(store), (1,) if belongs(file, (1,)) else ()
    for change in (flipped, truncated, deleted):
        before = states(store)
        damage(store / file, change)
        result = run("--repair")
        assert (result.exit_code, result.stdout) == (0, "")
        assert content(store) == whole
        after = states(store)
        assert {name for name in after if after[name] != before[name]} <= {
            name for name in whole if belongs(name, image) or name == file
        }
        if not (file == "records/1.json" and change is deleted):  # then the image is missing, and not damaged
            assert sum(line.startswith(f"{store / file}: ") for line in result.stderr.splitlines()) == 1
    assert computed == 3 * [NAMES[i] for i in image]


@pytest.mark.parametrize("seed", range(4))
def test_many_damages_at_once_are_mended(run, store, seed):
    whole, noise = content(store), np.random.default_rng(seed)
    for file in noise.choice(sorted(whole), 7, replace=False):
        if (store / file).exists():
            damage(store / file, noise.choice([flipped, truncated, deleted]), seed)
    assert run("--repair").exit_code == 0
    assert content(store) == whole
    assert CliRunner().invoke(cli, ["verify", str(store)]).exit_code == 0


def test_what_is_damaged_is_said(run, store):
    damage(store / "logits/c.1.0.0.0", deleted)
    damage(store / "labels/zarr.json", deleted)
    (store / "records/3.json").write_text("{}")
    lines = [line for line in run("--repair").stderr.splitlines() if not line.startswith(("reading", "enet"))]
    assert lines[:4] == [
        f"{store / 'labels/zarr.json'}: the file is missing; written anew",
        f"{store / 'logits/c.1.0.0.0'}: image '1.png': the chunk is missing",
        f"{store / 'records/3.json'}: image '3.png': the completion record is damaged ('sha256')",
        f"{store}: 5 images read: 2 images damaged and computed again",
    ]
    assert lines[4].startswith("Tiny: 5 of 5 images (2 new, 3 already there), ")


def test_damaged_and_missing_images_are_computed_and_no_others(run, store, computed):
    whole = content(store)
    damage(store / "preview/c.0.0.0.0")
    (store / "records/10.json").unlink(missing_ok=True)
    (store / "records/4.json").unlink()
    run("--repair")
    assert computed == ["0.png", "10.png"]
    assert content(store) == whole


def test_a_sound_store_is_read_and_not_touched(run, store, computed):
    before = states(store)
    result = run("--repair")
    assert result.exit_code == 0
    assert f"{store}: 5 images read: no image is damaged" in result.stderr.splitlines()
    assert (states(store), computed) == (before, [])


def test_without_a_store_a_repair_is_a_run(run, tmp_path):
    assert run("--repair").exit_code == 0
    assert open_store(tmp_path / "store").completed() == [0, 1, 2, 3, 4]


def test_a_shard_mends_its_own_images(run, store, computed):
    whole = content(store)
    for image in range(4):
        damage(store / f"logits/c.{image}.0.0.0")
    damage(store / "records/1.json")  # of the other shard: nothing tells what its image was computed from
    assert run("--repair", "--shard", "0/2").exit_code == 0
    assert computed == ["0.png", "2.png"]
    assert run("--repair", "--shard", "1/2").exit_code == 0
    assert computed == ["0.png", "2.png", "1.png", "3.png"]
    assert content(store) == whole


def test_a_failed_repair_goes_on(run, store, data_root):
    whole = content(store)
    for image in (1, 3):
        damage(store / f"logits/c.{image}.0.0.0", truncated)
    picture = data_root / "Tiny" / "images" / "3.png"
    aside = picture.rename(data_root / "3.png")
    assert run("--repair").exit_code == 1
    aside.rename(picture)
    assert run("--repair").exit_code == 0
    assert content(store) == whole


def test_a_plain_run_refuses_a_damaged_record_and_names_the_way_out(run, store):
    (store / "records/1.json").write_text("{}")
    before = content(store)
    fails(
        run(),
        f"pipe: {store}: image '1.png': the completion record is damaged ('sha256'); "
        "the same command with --repair computes the image again",
        code=4,
    )
    assert content(store) == before


def test_a_plain_run_refuses_damaged_metadata_and_names_the_way_out(run, store):
    damage(store / "zarr.json", truncated)
    result = run()
    assert (result.exit_code, result.stdout) == (4, "")
    last = result.stderr.splitlines()[-1]
    assert last.startswith(f"pipe: {store}: zarr.json: cannot be parsed (")
    assert last.endswith("); the same command with --repair may mend it")


EMPTY = "Expecting value: line 1 column 1 (char 0)"
BEYOND = (
    "The completion records belong to other metadata than this run would write, so nothing was mended; "
    "call `pipe infer` as when the store was made, or start anew with --overwrite"
)


def belong_elsewhere(file: Path) -> None:
    """Make a sound record that of another store."""
    record = records.parse(file.read_bytes())
    file.write_bytes(replace(record, fingerprint="0" * 64).to_bytes())


def change_attribute(store: Path, **values: object) -> None:
    document = json.loads((store / "zarr.json").read_text())
    document["attributes"].update(values)
    (store / "zarr.json").write_text(json.dumps(document, indent=1))


def test_metadata_that_other_software_wrote_is_mended_where_it_can_be_told(run, store):
    """The device and the versions are part of the fingerprint, and may differ on the machine that repairs."""
    schema = open_store(store).schema
    shutil.rmtree(store)
    other = {**schema.software, "torch": "1.0"}
    schema = replace(schema, software=other)
    values = {
        name: np.zeros(spec.image_shape, spec.dtype) for name, spec in schema.arrays().items() if name != "label_size"
    }
    StoreWriter(store, schema).commit(0, values, {})
    whole = content(store)
    change_attribute(store, dataset="Other")
    run("--repair")
    assert (store / "zarr.json").read_bytes() == whole["zarr.json"]
    (store / "zarr.json").write_bytes(b"")
    fails(run("--repair"), f"pipe: {store}: zarr.json: cannot be parsed ({EMPTY}). {BEYOND}", code=4)


@pytest.mark.parametrize("software", ["5", "[1]", '{"torch": NaN}', '{"torch": 1e999}', "[" * 50000 + "]" * 50000])
def test_software_of_any_form_is_no_way_out(run, store, software):
    """It is not that of the records, whatever it is."""
    change_attribute(store, dataset="Other")
    for record in (store / "records").iterdir():
        belong_elsewhere(record)
    document = json.loads((store / "zarr.json").read_text())
    document["attributes"]["software"] = "HERE"
    (store / "zarr.json").write_text(json.dumps(document).replace('"HERE"', software))
    before, result = content(store), run("--repair")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1].endswith(f". {BEYOND}")
    assert content(store) == before


def test_metadata_of_another_run_is_not_mended(run, store):
    damage(store / "zarr.json", truncated)
    before = content(store)
    result = run("--repair", "--input-size", "8x8")
    assert result.exit_code == 4
    assert "belong to other metadata than this run would write" in result.stderr.splitlines()[-1]
    assert content(store) == before


def test_a_sound_store_of_another_run_is_refused_and_not_mended(run, store):
    damage(store / "logits/zarr.json", deleted)
    before = content(store)
    result = run("--repair", "--input-size", "8x8")
    assert result.exit_code == 1
    assert "input_size: [16, 32] in the store, [8, 8] asked for" in result.stderr
    assert content(store) == before


def test_metadata_without_a_record_is_not_mended(run, store):
    shutil.rmtree(store / "records")
    (store / "zarr.json").write_bytes(b'{"logit-store": ')
    result = run("--repair")
    assert result.exit_code == 4
    assert result.stderr.splitlines()[-1].endswith(
        ". No completion record can be read, so nothing tells what the store was; "
        "start anew with --overwrite, or remove the folder"
    )
    assert run("--overwrite").exit_code == 0
    (store / "zarr.json").unlink()
    shutil.rmtree(store / "records")
    assert run("--repair").exit_code == 1  # there is nothing that says it is a store


@pytest.mark.parametrize("text", ["{}", "[]", '{"attributes": {"software": 5}}', '{"attributes": {"software": [1]}}'])
def test_metadata_of_any_form_is_mended(run, store, text):
    whole = content(store)
    (store / "zarr.json").write_text(text)
    assert run("--repair").exit_code == 0
    assert content(store) == whole


def test_metadata_that_cannot_be_written_is_said_in_a_line(run, store):
    (store / "zarr.json").unlink()
    (store / "zarr.json").mkdir()
    fails(run("--repair"), f"pipe: {store}: its metadata cannot be written (Is a directory); set that right")
    assert not list(store.rglob("*.partial"))


def test_a_changed_picture_is_not_computed_into_a_damaged_image(run, store, data_root):
    damage(store / "logits/c.1.0.0.0")
    picture = data_root / "Tiny" / "images" / "1.png"
    Image.fromarray(255 - np.array(Image.open(picture))).save(picture)
    before = content(store)
    fails(
        run("--repair"),
        f"pipe: {store}: image '1.png' was computed from another {picture} than lies there now; "
        "restore the file, choose another --out, or start anew with --overwrite",
    )
    assert content(store) == before


def test_repair_and_overwrite_exclude_each_other(run):
    fails(
        run("--repair", "--overwrite"),
        "pipe: --overwrite removes what --repair would mend; give only one of them",
        code=2,
    )


def test_a_record_that_another_process_is_replacing_is_passed_over(store, monkeypatch):
    """It was listed a moment ago: the other process removes it before it writes the chunks."""
    writer = StoreWriter(store, open_store(store).schema)
    listed = writer.store.completed()
    monkeypatch.setattr(writer.store, "completed", lambda: listed)
    shutil.rmtree(store / "records")
    gone = SimpleNamespace(name="", image=Path("gone"), mask=Path("gone"))
    refuse_changed(writer, SimpleNamespace(samples=[gone] * 5))
