"""`pipe report` under hostile names, stores that are gone, results that are none, and disks that are full."""

import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray
from conftest import fails
from pages import Page, call, report, results, scored
from stores import fill, make_schema

from logitpipe.results.columns import from_record
from logitpipe.tables.metrics import METRICS, printed

HOSTILE = '"><img src=x onerror=alert(1)></title></style><script>alert(1)</script>&amp;\x1b[2J\u202e'


def test_names_are_text_and_nothing_else(tmp_path):
    schema = replace(
        make_schema("pixel", images=[f"{HOSTILE}.png", "b.png"]),
        network=HOSTILE,
        dataset=HOSTILE,
        facts={HOSTILE: HOSTILE},
        software={HOSTILE: HOSTILE},
    )
    out = scored(tmp_path, fill(tmp_path / "<b>store", schema), "--temperatures", "0.5,1")
    page, text = report(out), (out / "report.html").read_text()
    assert "script" not in {tag for tag, _ in page.elements}
    assert not [name for _, attributes in page.elements for name in attributes if name.startswith("on")]
    assert "\x1b" not in text and "\u202e" not in text
    shown = HOSTILE.replace("\x1b", "\\x1b").replace("\u202e", "\\u202e")
    assert f"{shown} on {shown}" in page.texts
    assert any(alt == f"Photograph {shown}.png" for _, attributes in page.elements if (alt := attributes.get("alt")))


def changed(store):
    shutil.rmtree(store)
    fill(store, make_schema("pixel", precision="float32"))


def damaged(store):
    chunk = store / "logits/c/1/0/0/0"
    chunk.write_bytes(chunk.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("harm", "reason"),
    [
        (shutil.rmtree, "expected a logit store, but there is nothing at this path; `pipe infer` makes one"),
        (changed, "another store than the one that was scored; its fingerprint has changed"),
        (lambda store: (store / "records/1.json").unlink(), "images that were scored are no longer in it (b.png)"),
        (damaged, "image 'b.png': logits/c/1/0/0/0: checksum "),
    ],
)
def test_a_store_that_cannot_be_read_again_leaves_its_gallery_out(tmp_path, pixel_store, mask_store, harm, reason):
    out = scored(tmp_path, pixel_store, mask_store, "--methods", "msp,entropy")
    harm(pixel_store)
    result = call("report", out)
    assert result.exit_code == 0
    assert f"no gallery of enet: {pixel_store}: {reason}" in result.stderr
    page = Page((out / "report.html").read_text())
    assert f"The gallery is left out: {pixel_store}: {reason}" in "".join(page.texts)
    assert len([1 for tag, _ in page.elements if tag == "img"]) == 2 * 2 * 3 + 1


def test_the_stores_are_found_from_another_folder(tmp_path, monkeypatch):
    fill(tmp_path / "pixel.zarr", make_schema("pixel"))
    monkeypatch.chdir(tmp_path)
    assert call("score", "pixel.zarr", "--out", "out").exit_code == 0
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    result = call("report", "../out", "--out", "deep/page.html")
    assert (result.exit_code, result.stdout) == (0, "deep/page.html\n")
    assert "Photograph" in Path("deep/page.html").read_text()
    assert not (tmp_path / "out/report.html").exists()


@pytest.mark.slow
def test_the_same_results_make_the_same_page(tmp_path, pixel_store):
    out = scored(tmp_path, pixel_store, "--temperatures", "0.5,1")
    pages = [call("report", out, "--overwrite") and (out / "report.html").read_bytes() for _ in range(2)]
    assert pages[0] == pages[1]


def test_a_page_that_cannot_be_written_leaves_the_old_one(tmp_path, pixel_store, monkeypatch):
    out = scored(tmp_path, pixel_store, "--methods", "msp")
    (out / "report.html").write_text("old")
    before = sorted(out.iterdir())
    full = OSError(28, "No space left on device")
    monkeypatch.setattr(Path, "replace", lambda *_: (_ for _ in ()).throw(full))
    message = (
        f"pipe: {out}/report.html: the page cannot be written (No space left on device); name another with --out"
    )
    fails(call("report", out, "--overwrite"), message)
    assert (out / "report.html").read_text() == "old" and sorted(out.iterdir()) == before


def test_where_the_page_cannot_go_is_said_first(tmp_path, pixel_store):
    out = scored(tmp_path, pixel_store, "--methods", "msp")
    message = f"pipe: --out {tmp_path}: it is a folder; name the page to write, such as {tmp_path}/report.html"
    fails(call("report", out, "--out", tmp_path), message)
    message = f"pipe: --out {pixel_store}: a store lies there; name another folder for the results"
    fails(call("report", out, "--out", pixel_store / "page.html"), message)


def test_without_results_there_is_no_page(tmp_path):
    message = f"{tmp_path}: expected results, but there is no results.json; `pipe score --out {tmp_path}` makes it"
    fails(call("report", tmp_path), f"pipe: {message}")


def edited(change):
    """A harm that changes the JSON of a file."""

    def harm(out, name):
        document = json.loads((out / name).read_text())
        change(document)
        (out / name).write_text(json.dumps(document))

    return harm


def flattened(out, _):
    path = out / "results.zarr"
    dataset = xarray.open_zarr(path, group="curves").load()
    dataset["edges"][...] = np.nan
    dataset.to_zarr(path, group="curves", mode="w", zarr_format=2, consolidated=True)


HARMS = {
    "cut": ("results.json", lambda out, name: (out / name).write_text("{"), "JSONDecodeError("),
    "no settings": ("settings.json", lambda out, name: (out / name).unlink(), "FileNotFoundError("),
    "no arrays": ("results.zarr", lambda out, name: shutil.rmtree(out / name), "FileNotFoundError("),
    "of before": ("settings.json", edited(lambda d: d.pop("run")), "KeyError('run')"),
    "newer": ("results.json", edited(lambda d: d.update(schema_version=9)), "ValueError('schema_version 9, "),
    "empty": ("results.json", edited(lambda d: d["results"].clear()), "ValueError('no rows')"),
    "another run": (
        "results.json",
        edited(lambda d: d["results"][0].update(auprc=0.5)),
        "ValueError('auprc differs from that in results.json')",
    ),
    "a list": ("results.json", edited(lambda d: d["results"][0].update(auprc=[1])), "TypeError("),
    "too much": ("results.json", edited(lambda d: d["results"][0].update(fpr95=5)), "ValueError('a figure is "),
    "half": ("results.json", edited(lambda d: d["results"][0].update(fpr95=None)), "ValueError('figures exist just "),
    "below zero": ("results.json", edited(lambda d: d["results"][0].update(temperature=-1)), "ValueError('temp"),
    "no name": ("results.json", edited(lambda d: d["results"][0].update(method=7)), "TypeError('method 7')"),
    "field": ("results.json", edited(lambda d: d["results"][0].update(more=1)), "TypeError("),
    "time": ("settings.json", edited(lambda d: d["run"].update(finished="noon")), "ValueError("),
    "facts": ("settings.json", edited(lambda d: d["run"]["stores"][0].update(images="3")), "TypeError("),
    "no store": ("settings.json", edited(lambda d: d["run"]["stores"].clear()), "KeyError("),
    "no curves": ("results.zarr", flattened, "ValueError('no curves of msp that could be drawn')"),
}  # fmt: skip


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """Give results that a report can be made of."""
    folder = tmp_path_factory.mktemp("sound")
    return scored(
        folder, fill(folder / "pixel.zarr", make_schema("pixel")), "--methods", "msp", "--temperatures", "1,2"
    )


@pytest.mark.parametrize("harm", HARMS)
def test_results_that_are_none_end_in_a_line(tmp_path, sound, harm):
    out = shutil.copytree(sound, tmp_path / "out")
    name, change, reason = HARMS[harm]
    change(out, name)
    result = call("report", out)
    assert (result.exit_code, result.stdout) == (1, "")
    (line,) = result.stderr.splitlines()
    assert line.startswith(
        f"pipe: {out}: these are not the results of one run of this release or an earlier one ({reason}"
    )
    assert line.endswith(f"; run `pipe score --out {out} --overwrite` again")
    assert not (out / "report.html").exists()


def test_results_of_an_earlier_release_stay_readable(tmp_path):
    shutil.unpack_archive(Path(__file__).parents[1] / "data/results_v1.zip", tmp_path / "old")
    page = report(tmp_path / "old")
    figures = {cell for line in page.table("Every figure on Tiny")[1:] for cell in line}
    rows = map(from_record, results(tmp_path / "old"))
    assert {printed(row, METRICS["auprc"]) for row in rows} <= figures


def test_a_page_is_replaced_on_request_alone(tmp_path, pixel_store):
    out = scored(tmp_path, pixel_store, "--methods", "msp")
    (out / "report.html").write_text("old")
    assert call("report", out).exit_code == 1
    assert (out / "report.html").read_text() == "old"


@pytest.mark.slow
def test_results_of_two_runs_are_joined(tmp_path, pixel_store, mask_store):
    call("score", pixel_store, "--methods", "msp", "--temperatures", "0.5,1", "--out", tmp_path / "a")
    call(
        "score", pixel_store, mask_store, "--methods", "msp,entropy", "--temperatures", "1,2", "--out", tmp_path / "b"
    )
    table = report(tmp_path / "a", tmp_path / "b").table("Every figure on Tiny")[1:]
    expected = [("enet", "msp", T) for T in ("0.5", "1", "2")] + [("enet", "entropy", T) for T in ("1", "2")]
    expected += [("eomt", method, T) for method in ("msp", "entropy") for T in ("1", "2")]
    assert [tuple(line[:3]) for line in table] == expected
