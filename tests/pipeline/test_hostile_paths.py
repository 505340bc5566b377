"""Paths that are empty, of another kind or taken meanwhile: one line says so, and nothing is half-written."""

import json
import os
from concurrent.futures import ThreadPoolExecutor

import click
import pytest
from click.testing import CliRunner
from conftest import fails
from stores import fill, make_schema

import logitpipe as lp
from logitpipe.cache import PipeError
from logitpipe.cli import COMMANDS, cli
from logitpipe.console.options import StorePlace
from logitpipe.results import writing

EMPTY = "expected a path, and found an empty text"


def call(*words: object):
    return CliRunner().invoke(cli, [*map(str, words)])


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return fill(tmp_path_factory.mktemp("stores") / "store.zarr", make_schema("pixel"))


@pytest.mark.parametrize("name", COMMANDS)
def test_no_path_is_empty_and_no_file_of_this_machine_is_a_url(name):
    context = click.Context(cli)
    for each in cli.get_command(context, name).params:
        if isinstance(each.type, click.Path):
            with pytest.raises(click.BadParameter, match=EMPTY):
                each.type.convert("", each, context)
            if not isinstance(each.type, StorePlace):
                with pytest.raises(click.BadParameter, match="found the URL s3://a/b"):
                    each.type.convert("s3://a/b", each, context)


def test_an_empty_path_is_not_the_working_folder(store, monkeypatch):
    monkeypatch.chdir(store.parent)
    fails(call("show", ""), f"pipe: Invalid value for 'STORE...': {EMPTY}", 2)
    with pytest.raises(PipeError, match="found an empty text"):
        lp.open("")
    line = "pipe: expected the name of a file of statistics, and found '.'"
    fails(call("score", store, "--temperatures", "fit:"), line, 2)


def test_a_store_is_told_from_its_results(store):
    advice = f"`pipe score {store} --out RESULTS` makes results of it; name that folder"
    for command in ("table", "report"):
        fails(call(command, store), f"pipe: {store}: expected results, but this is a store; {advice}")
    file = store / "zarr.json"
    advice = "name the folder that `pipe score --out` wrote"
    fails(call("table", file), f"pipe: {file}: expected a folder of results, but this is a file; {advice}")


@pytest.mark.parametrize("inside", ["", "labels", "a/b"])
def test_nothing_is_written_into_a_store(store, inside):
    before = sorted(store.rglob("*"))
    line = f"pipe: --out {store / inside}: a store lies there; name another folder for the results"
    fails(call("pack", store, "--out", store / inside / "a.zip"), line)
    fails(call("maps", store, "--classes", "--out", store / inside), line)
    assert sorted(store.rglob("*")) == before


def test_no_store_is_made_in_a_store(store, data_root):
    out = store / "labels" / "new.zarr"
    words = ("--network", "enet", "--dataset", "Tiny", "--data-root", data_root, "--out", out)
    line = f"pipe: --out {out.parent}: a store lies there; name another folder for the results"
    fails(call("infer", *words), line)
    assert not out.exists()


def test_a_folder_that_may_only_be_read_is_told_before_a_network_is_loaded(data_root, tmp_path, monkeypatch):
    out = tmp_path / "a" / "b.zarr"
    words = ("--network", "enet", "--weights", "none", "--dataset", "Tiny", "--data-root", data_root, "--out", out)
    monkeypatch.setattr("os.access", lambda _path, mode: mode != os.W_OK)
    fails(call("infer", *words), f"pipe: --out {out}: nothing can be made in {tmp_path}, which may only be read")


@pytest.mark.parametrize("out", [".", "..", "/"])
def test_a_folder_is_no_zip(store, out):
    fails(call("pack", store, "--out", out), f"pipe: {out} exists; remove it, or name another file with --out")
    with pytest.raises(PipeError, match="exists"):
        lp.pack(store, out)


def test_a_name_that_no_file_system_takes_is_refused_at_once(store, tmp_path):
    words = ("--method", "msp", "--format", "smiyc", "--name", "x" * 300, "--out", tmp_path / "out")
    result = call("export", store, *words)
    assert result.exit_code == 1
    assert "is longer than names of files can be" in result.stderr
    assert not (tmp_path / "out").exists()


@pytest.fixture(scope="module")
def results(store):
    return {method: lp.score(store, method) for method in ("msp", "maxlogit")}


def content(folder):
    return {file.relative_to(folder): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_results_that_cannot_be_written_leave_the_old_ones(results, tmp_path, monkeypatch):
    results["msp"].save(tmp_path)
    before = content(tmp_path)
    full = OSError(28, "No space left on device")
    monkeypatch.setattr("logitpipe.results.writing.write_arrays", lambda *_: (_ for _ in ()).throw(full))
    with pytest.raises(PipeError, match="the results cannot be written"):
        results["maxlogit"].save(tmp_path, overwrite=True)
    assert content(tmp_path) == before


def test_results_that_came_meanwhile_are_not_replaced(results, tmp_path, monkeypatch):
    write = writing.write_arrays

    def slow(*arguments):
        monkeypatch.undo()
        results["msp"].save(tmp_path)  # another command, which ends sooner
        write(*arguments)

    monkeypatch.setattr(writing, "write_arrays", slow)
    with pytest.raises(PipeError, match="is there already"):
        results["maxlogit"].save(tmp_path)
    assert lp.load_results(tmp_path).frame["method"].tolist() == ["msp"]
    assert not list(tmp_path.glob("*.partial"))


def test_of_results_written_at_once_all_files_are_of_one_run(results, tmp_path):
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(lambda i: results["msp" if i % 2 else "maxlogit"].save(tmp_path, overwrite=True), range(2)))
    rows = json.loads((tmp_path / "results.json").read_text())["results"]
    assert [row["method"] for row in rows] == lp.load_results(tmp_path).frame["method"].tolist()
    assert rows[0]["method"] in (tmp_path / "results.csv").read_text()
    assert not list(tmp_path.glob("*.partial"))


@pytest.mark.parametrize("flag", ["--auprc", "--fpr95", "--auroc"])
def test_nan_matches_nothing(store, flag):
    fails(call("match", store, flag, "nan"), f"pipe: Invalid value for '{flag}': NaN is no per cent", 2)
