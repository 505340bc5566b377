"""`import logitpipe as lp`: the same figures as the commands, arrays with coordinates, stores of one's own."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import xarray
from click.testing import CliRunner
from conftest import content
from stores import fill, make_schema

import logitpipe as lp
from logitpipe.cache import open_store
from logitpipe.cli import cli
from logitpipe.console.audience import Caller, heard_by
from logitpipe.results.plain_rows import as_csv

TEMPERATURES = (0.5, 1.0, 2.0)


@pytest.fixture(scope="module")
def stores(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("stores")
    return [fill(folder / f"{kind}.zarr", make_schema(kind, version=2)) for kind in ("pixel", "mask")]


@pytest.fixture(scope="module")
def results(stores) -> lp.Results:
    return lp.score(stores, methods=["msp", "entropy"], temperatures=TEMPERATURES)


def test_importing_it_loads_nothing_heavy():
    code = "import sys, logitpipe; print(*sys.modules)"
    started = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert time.perf_counter() - started < 3  # alone it takes a twentieth of that
    assert not {"numba", "torch", "xarray", "numpy", "click", "pandas", "matplotlib"} & set(done.stdout.split())


def test_everything_exported_is_there_and_documented():
    assert set(lp.__all__) <= set(dir(lp))
    for name in lp.__all__:
        assert getattr(lp, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = lp.nothing


def test_an_image_is_an_array_with_coordinates(stores):
    pixel, mask = map(lp.open, stores)
    assert (pixel.kind, pixel.network, pixel.dataset, pixel.void_class) == ("pixel", "enet", "Tiny", "void")
    assert pixel.images == ("a.png", "b.png", "c.png")
    assert pixel.missing == ()
    logits = pixel.logits("b.png")
    assert logits.dims == ("class", "y", "x")
    raw = open_store(stores[0])
    np.testing.assert_array_equal(logits.sel({"class": "sky"}), raw.read("logits", 1)[2])
    np.testing.assert_array_equal(pixel.labels(1), raw.labels(1))
    np.testing.assert_array_equal(pixel.labels(-1), raw.labels(2))
    assert mask.mask_logits("a.png").dims == ("query", "y", "x")
    assert mask.class_logits("a.png")["class"].values.tolist() == [*mask.classes, "no object"]
    assert "a.png, b.png, c.png" in pixel._repr_html_()
    with pytest.raises(lp.PipeError, match=r"there is no image 'd\.png'"):
        pixel.logits("d.png")
    with pytest.raises(lp.PipeError, match="a mask network has no logits; it has mask_logits and class_logits"):
        mask.logits(0)


@pytest.mark.parametrize("i", [0, 1])
def test_a_score_map_is_the_formula(stores, i):
    store = lp.open(stores[i])
    scores = store.score_map("a.png", "msp", 0.5)
    assert isinstance(scores, xarray.DataArray)
    assert scores.shape == store.labels(0).shape == scores.label.shape
    assert (scores.attrs["method"], scores.attrs["temperature"]) == ("msp", 0.5)
    assert 0 <= float(scores.min()) < float(scores.max()) <= 1

    def own(logits, T):
        e = np.exp((logits - logits.max(axis=0)) / T)
        return 1 - (e / e.sum(axis=0)).max(axis=0)

    if store.kind == "pixel":
        np.testing.assert_allclose(store.score_map(0, own, 0.5), scores, atol=1e-5)


def test_figures_are_those_of_the_command(stores, results, tmp_path):
    words = ["score", *map(str, stores), "--methods", "msp,entropy", "--temperatures", "0.5,1,2", "--format", "csv"]
    printed = CliRunner().invoke(cli, words)
    assert printed.exit_code == 0, printed.stderr
    assert sorted(as_csv(results.rows).splitlines()) == sorted(printed.stdout.splitlines())
    results.save(tmp_path / "results")
    again = lp.load_results(tmp_path / "results")
    pd.testing.assert_frame_equal(again.frame, results.frame)
    assert str(again.table(temperature="best")) == str(results.table(temperature="best"))
    assert str(again.compare()) == str(results.compare())
    with pytest.raises(lp.PipeError, match="is there already"):
        results.save(tmp_path / "results")
    with pytest.raises(lp.PipeError, match="these results were loaded, and lie in"):
        again.save(tmp_path / "elsewhere")
    table = CliRunner().invoke(cli, ["table", str(tmp_path / "results"), "--format", "latex"])
    assert table.stdout.strip() == results.table().to_latex()


def test_results_are_a_frame_and_a_data_set(results):
    frame = results.frame
    assert len(frame) == len(results) == 2 * 2 * len(TEMPERATURES)
    best = results.best(by=["dataset", "network"])
    assert best["network"].tolist() == ["enet", "eomt"]
    assert best["auprc"].tolist() == [frame[frame.network == name]["auprc"].max() for name in ("enet", "eomt")]
    assert results.best("fpr95")["fpr95"].tolist() == [frame["fpr95"].min()]
    np.testing.assert_array_equal(results.to_xarray()["auprc"], frame["auprc"])
    assert "<table" in results._repr_html_()
    with pytest.raises(lp.PipeError, match="there is no column 'networks'"):
        results.best(by="networks")


@pytest.mark.slow
def test_functions_are_methods_with_any_number_of_workers(stores):
    def margin(logits, T):
        e = np.exp((logits - logits.max(axis=0)) / T)
        second, first = np.sort(e / e.sum(axis=0), axis=0)[-2:]
        return second - first

    one, four = (lp.score(stores[0], margin, 2.0, workers=workers).frame for workers in (1, 4))
    pd.testing.assert_frame_equal(one, four)
    assert one["method"].tolist() == ["own:margin"]  # there is a built-in one
    with pytest.raises(lp.PipeError, match="two functions are called 'own:margin'"):
        lp.score(stores[0], [margin, margin])


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        ({"methods": "none"}, "methods: 'none' is no method"),
        ({"temperatures": 0}, "a temperature is a number from 0.001 to 1000, and 0 is not"),
        ({"protocol": "best"}, "protocol: 'best' is no protocol; there are standard, course, legacy"),
        ({"also": "everything"}, "also: 'everything' is none of components, closed-set, open-set"),
        ({"label_codes": {"Other": "normal=0,anomaly=1"}}, "label_codes: no store is of the data set 'Other'"),
        ({"also": "closed-set"}, "closed-set figures need masks that name classes"),
    ],
)
def test_errors_name_arguments_and_no_flags(stores, arguments, line):
    with pytest.raises(lp.PipeError) as caught:
        lp.score(stores[0], **arguments)
    assert line in str(caught.value)
    assert "--" not in str(caught.value)


def test_a_script_hears_nothing_and_a_notebook_follows(stores, capfd):
    lp.score(stores[0], "msp")
    assert capfd.readouterr() == ("", "")
    lp.score(stores[0], "msp", progress=True)
    assert "scoring enet on Tiny: 0/3 images" in capfd.readouterr().err
    lines: list[str] = []
    with heard_by(Caller(lines.append)):
        from logitpipe.console.progress import Progress

        with Progress("scoring", 2) as progress:
            progress.advance()
            progress.advance()
    assert lines[0].endswith("scoring: 0/2 images")
    assert "scoring: 2/2 images" in lines[-1]


def test_protocols_take_fields_by_name(stores):
    chosen = lp.protocol("standard", skip_without_anomaly=True, min_max=["msp"])
    assert chosen.name == "standard+skip-without-anomaly=yes+min-max=msp"
    assert set(lp.score(stores[0], "msp", protocol=chosen).frame["protocol"]) == {chosen.name}


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_a_store_of_ones_own_logits_scores_as_another(tmp_path, stores, kind):
    """The arrays of a store, taken out and put into a new one, give the figures that they gave."""
    old = lp.open(stores[kind == "mask"])
    facts = {"kind": kind, "classes": old.classes, "images": old.images, "dataset": "Tiny", "network": old.network}
    with lp.create(tmp_path / "own.zarr", void_class=old.void_class, **facts) as new:
        for name in old.images[:2]:
            new.add(name, labels=old.labels(name), picture=old.preview(name), **arrays(old, name))
    # A second call goes on with it.
    with lp.create(tmp_path / "own.zarr", void_class=old.void_class, **facts) as new:
        assert new.missing == ("c.png",)
        new.add("c.png", labels=old.labels("c.png"), **arrays(old, "c.png"))
        assert new.missing == ()
    own = new.open()
    assert own.attributes["weights_sha256"] is None
    assert own.verify() == []
    columns = ["method", "temperature", "auprc", "fpr95", "auroc"]
    found, expected = (lp.score(each, ["msp", "entropy"]).frame[columns] for each in (own, old))
    pd.testing.assert_frame_equal(found, expected)
    lp.score(own, "msp").save(tmp_path / "results")
    for words in (
        ["show", str(own.path)],
        ["report", str(tmp_path / "results")],
        ["table", str(tmp_path / "results")],
    ):
        assert CliRunner().invoke(cli, words).exit_code == 0


def arrays(store: lp.LogitStore, name: str) -> dict:
    if store.kind == "pixel":
        return {"logits": store.logits(name)}
    return {"mask_logits": store.mask_logits(name), "class_logits": store.class_logits(name)}


def test_what_is_no_image_of_a_new_store_is_refused(tmp_path):
    facts = {"kind": "pixel", "classes": ["a", "b"], "images": ["1.png", "2.png"], "dataset": "D", "network": "n"}
    logits, labels = np.zeros((2, 4, 6)), np.zeros((8, 12), np.uint8)
    store = lp.create(tmp_path / "s.zarr", **facts)
    for arguments, line in (
        (("3.png", logits, labels), "image: there is no image '3.png' in this store"),
        (("1.png", logits[:1], labels), "logits: 2 classes are expected, found 1"),
        (("1.png", logits * np.nan, labels), "logits: '1.png': a logit is NaN or infinite"),
        (("1.png", logits + 1e5, labels), "logits: '1.png': a logit does not fit float16"),
        (("1.png", logits, labels - 1.0), "labels: '1.png': codes from 0 to 255 in two dimensions are expected"),
        (("1.png",), "a pixel store takes logits, found none"),
    ):
        with pytest.raises(lp.PipeError) as caught:
            store.add(*arguments)
        assert str(caught.value).startswith(line)
    assert not (tmp_path / "s.zarr").exists()
    store.add("1.png", logits, labels)
    with pytest.raises(lp.PipeError, match="labels of 9x12 do not fit the store's 8x12"):
        store.add("2.png", logits, np.zeros((9, 12), np.uint8))
    with pytest.raises(lp.PipeError, match="holds the logits of another run: network"):
        lp.create(tmp_path / "s.zarr", **facts | {"network": "m"})


@pytest.mark.slow
def test_plots_keep_their_type_and_change_no_settings(results, stores, tmp_path):
    import matplotlib as mpl

    before = dict(mpl.rcParams)
    figure = lp.plot.sweep(results)
    assert figure._repr_png_().startswith(b"\x89PNG")
    lp.plot.pr(results, temperature="best").savefig(tmp_path / "pr.pdf")
    lp.plot.ranking(results, width=120)
    lp.plot.scores(results, network="enet")
    with pytest.raises(lp.PipeError, match="there are several to draw"):
        lp.plot.scores(results)
    with pytest.raises(lp.PipeError, match="dataset: there is no 'Other'; there are Tiny"):
        lp.plot.roc(results, "Other")
    assert dict(mpl.rcParams) == before
    picture = lp.plot.image(lp.open(stores[0]), "a.png", ["msp", "entropy"])
    assert picture.width > 4 * 420


@pytest.fixture(scope="module")
def statistics(tmp_path_factory) -> lp.Statistics:
    folder = tmp_path_factory.mktemp("normal")
    store = fill(folder / "normal.zarr", make_schema("pixel", version=2), codes=(0,))
    return lp.fit(store, folder / "s", methods=["msp", "maxlogit"], temperatures=[0.5, 1])


def test_statistics_are_those_of_the_command(statistics, stores, tmp_path):
    normal = statistics.path.with_name("normal.zarr")
    words = ["fit", normal, "--out", tmp_path / "s", "--methods", "msp,maxlogit", "--temperatures", "0.5,1"]
    assert CliRunner().invoke(cli, list(map(str, words))).exit_code == 0
    again = lp.Statistics(tmp_path / "s")
    pd.testing.assert_frame_equal(again.frame, statistics.frame)
    assert statistics.temperatures == {"enet": None}
    methods = ["msp", "sml", "kl", "z:msp+maxlogit"]
    frame = lp.score(stores[0], methods, statistics=statistics).frame
    assert frame["statistics"].tolist() == ["", *[statistics.sha256] * 3]
    row = statistics.frame.query("method == 'msp' and temperature == 1").iloc[0]
    msp, z = (lp.open(stores[0]).score_map(0, name, statistics=statistics) for name in ("msp", "z:msp"))
    np.testing.assert_allclose(z, (msp - row["mean"]) / row["deviation"], rtol=1e-9)
    assert z.attrs["statistics"] == statistics.sha256
    with pytest.raises(lp.PipeError, match="is there already"):
        lp.fit(normal, statistics.path)
    with pytest.raises(lp.PipeError, match="has no fitted temperature of enet"):
        lp.score(stores[0], temperatures=[1, f"fit:{statistics.path}"])
    with pytest.raises(lp.PipeError, match="temperatures: numbers and fit:FILE are expected, found 'best'"):
        lp.score(stores[0], temperatures="best")


def test_choices_are_those_of_the_commands(stores):
    words = ["match", str(stores[0]), "--auprc", "30", "--methods", "msp", "--temperatures", "1", "--limit", "2"]
    printed = CliRunner().invoke(cli, [*words, "--protocol", "standard"])
    found = lp.match(stores[0], auprc=30, methods="msp", temperatures=1, protocols="standard", limit=2)
    assert str(found) == printed.stdout.strip("\n")
    assert len(found) == len(found.frame) == 2
    assert found.frame["distance"].is_monotonic_increasing
    for wrong in ({}, {"auprc": 120}, {"auprc": 1, "protocols": ["best"]}):
        with pytest.raises(lp.PipeError, match=r"in per cent|from 0 to 100|is no protocol"):
            lp.match(stores[0], **wrong)
    printed = CliRunner().invoke(cli, ["delta", str(stores[0]), "--methods", "msp"])
    assert str(lp.delta(stores[0], "msp")) == printed.stdout.strip("\n")


def test_files_are_those_of_the_commands(stores, tmp_path):
    words = ["export", str(stores[0]), "--method", "entropy", "--format", "png16", "--out", str(tmp_path / "a")]
    assert CliRunner().invoke(cli, words).exit_code == 0
    document = lp.export(lp.open(stores[0]), tmp_path / "b", "entropy", form="png16")
    assert document == tmp_path / "b" / "export.json"
    assert content(tmp_path / "a") == content(tmp_path / "b")
    assert lp.export(stores[0], tmp_path / "c", images=["b.png"]).exists()
    with pytest.raises(lp.PipeError, match="form: 'jpg' is none of"):
        lp.export(stores[0], tmp_path / "d", form="jpg")
    with pytest.raises(lp.PipeError, match="one method is expected, found 2"):
        lp.export(stores[0], tmp_path / "d", ["msp", "entropy"])
    packed = lp.pack(stores[0], tmp_path / "s.zip")
    assert lp.open(packed).verify() == []
    with pytest.raises(lp.PipeError, match="exists"):
        lp.pack(stores[0], packed)


@pytest.mark.slow
def test_a_page_of_what_is_in_memory_is_that_of_what_was_saved(stores, tmp_path):
    results = lp.score(stores[0], "msp", also="components,open-set")
    assert results.components is not None and results.open_set is not None and results.closed_set is None
    results.save(tmp_path / "results")
    pages = [
        each.report(tmp_path / f"{i}.html").read_text()
        for i, each in enumerate((results, lp.load_results(tmp_path / "results")))
    ]
    assert pages[0] == pages[1]
    assert 'id="benchmarks"' in pages[0]
    with pytest.raises(lp.PipeError, match="is there already"):
        results.report(tmp_path / "0.html")
