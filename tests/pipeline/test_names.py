"""Stores and images as people name them."""

import shutil

import pytest
from click.testing import CliRunner
from conftest import refused
from rows import make_row
from stores import fill, make_schema

from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.stages.score.methods import METHODS
from logitpipe.stages.score.protocols import PROTOCOLS
from logitpipe.stores.names import find_image, stores_in
from logitpipe.tables.comparison import comparison_tables
from logitpipe.tables.metrics import METRICS


def call(*words: object) -> str:
    result = CliRunner().invoke(cli, [str(word) for word in words])
    assert result.exit_code == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Give a folder of two stores, and a file that is none."""
    folder = tmp_path_factory.mktemp("stores")
    schema = make_schema("pixel", images=["sub/0.png", "sub/10.png", "a.png", "a.jpg"], version=2)
    fill(folder / "one.zarr", schema)
    shutil.copytree(folder / "one.zarr", folder / "two.zarr")
    (folder / "notes.txt").write_text("mine")
    return folder


def test_a_folder_stands_for_the_stores_in_it(folder, tmp_path):
    both = (folder / "one.zarr", folder / "two.zarr")
    assert stores_in([folder]) == both
    assert stores_in([both[1], "s3://bucket/stores", tmp_path]) == (both[1], "s3://bucket/stores", tmp_path)
    words = "--methods", "msp", "--format", "csv"
    assert call("score", folder, *words) == call("score", *both, *words)
    assert call("show", folder) == call("show", *both)


@pytest.mark.parametrize("left", ["nothing", "a link to itself"])
def test_a_store_without_metadata_is_no_folder_of_stores(folder, tmp_path, left):
    broken = tmp_path / "broken.zarr"
    shutil.copytree(folder / "one.zarr", broken)
    (broken / "zarr.json").unlink()
    if left == "a link to itself":
        (broken / "zarr.json").symlink_to("zarr.json")
    assert stores_in([broken]) == (broken,)


@pytest.mark.parametrize(("name", "index"), [("sub/0.png", 0), ("0.png", 0), ("0", 0), ("sub/10", 1), ("a.jpg", 3)])
def test_an_image_may_be_named_in_short(folder, name, index):
    assert find_image(open_store(folder / "one.zarr"), name) == index


def test_a_name_of_none_or_of_several_is_refused(folder):
    store = open_store(folder / "one.zarr")
    with refused(f"--images: several images of {store.path} may be meant by 'a': a.png, a.jpg"):
        find_image(store, "a")
    with refused(
        f"--images: there is no image '1' in {store.path}; there are sub/0.png, sub/10.png, a.png and 1 more"
    ):
        find_image(store, "1")


def test_two_stores_of_one_network_are_told_apart_by_their_files():
    paths = ("x/float16.zarr", "x/float32.zarr.zip", "x/eomt.zarr")
    rows = [make_row(store=path, network=path[2:6].replace("floa", "enet")) for path in paths]
    (table,) = comparison_tables(rows)
    assert [group.name for group in table.groups] == ["enet (float16)", "enet (float32)", "eomt"]
    rows = [make_row(store=f"{folder}/enet.zarr") for folder in "xy"]
    (table,) = comparison_tables(rows)
    assert [group.name for group in table.groups] == ["enet (x/enet.zarr)", "enet (y/enet.zarr)"]


def test_what_there_is_can_be_listed():
    assert [line.split()[0] for line in call("list", "metrics").splitlines()] == list(METRICS)
    methods = [line.split()[:2] for line in call("list", "methods").splitlines()[1:]]
    every = [[name, kind] for kind, own in METHODS.items() for name in own]
    assert methods == [*every, ["z:ID+ID...", "both"]]
    head, *fields = call("list", "protocols").splitlines()
    assert head.split() == ["--set", *PROTOCOLS]
    assert ["fpr", "first", "linear", "linear"] in [field.split() for field in fields]
