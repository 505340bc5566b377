"""`pipe report`: the page says what the files say, says how it was chosen, and needs nothing else."""

import json
import re
from pathlib import Path

import pytest
from pages import Page, call, report, results, scored
from stores import fill, make_schema

from logitpipe.results.columns import from_record
from logitpipe.tables.metrics import METRICS, printed


def per_cent(value):
    return "none" if value is None else f"{100 * value:.3f}"


@pytest.fixture(scope="module")
def shown(tmp_path_factory) -> tuple[Path, Page]:
    """Give the results of both kinds at four temperatures, and their page."""
    folder = tmp_path_factory.mktemp("both")
    stores = [fill(folder / f"{kind}.zarr", make_schema(kind)) for kind in ("pixel", "mask")]
    out = scored(folder, *stores, "--temperatures", "0.5,1,2,4", "--threshold", "0.5")
    return out, report(out)


def test_every_figure_is_that_of_results_json(shown):
    out, page = shown
    table = page.table("Every figure on Tiny")
    expected = [
        [
            row["network"],
            row["method"],
            "any" if row["temperature"] is None else f"{row['temperature']:g}",
            printed(from_record(row), METRICS["auprc"]),
            *(per_cent(row[name]) for name in ("auprc_lower", "auprc_upper")),
            *(printed(from_record(row), METRICS[name]) for name in ("fpr95", "auroc", "f1")),
            f"{row['best_f1_threshold']:.6g}",
            *(per_cent(row["iou"][0][name]) for name in ("normal", "anomaly", "mean")),
        ]
        for row in results(out)
    ]
    assert table[1:] == expected


def test_the_comparison_has_t_1_and_the_best_and_says_how_it_was_chosen(shown):
    page, rows = shown[1], results(shown[0])
    table = page.table("Methods compared on Tiny")
    assert table[0] == ["Method", "T = 1", "Best T by AuPRC best of 4 temperatures on these labels"]
    assert table[1] == ["AuPRC", "FPR95", "AUROC", "T", "AuPRC", "FPR95", "AUROC"]
    lines, network = {}, ""
    for line in table[2:]:
        network = line[0] if len(line) == 1 else network
        lines[network, line[0]] = line[1:]
    marks = {name: [] for name in ("auprc", "fpr95", "auroc")}
    for network, method in {(row["network"], row["method"]): None for row in rows}:
        own = [row for row in rows if (row["network"], row["method"]) == (network, method)]
        best = max(own, key=lambda row: row["auprc"])
        plain = next(row for row in own if row["temperature"] in (1, None))
        chosen = "any" if best["temperature"] is None else f"{best['temperature']:g} best of 4"
        cells = [[per_cent(row[name]) for name in marks] for row in (plain, best)]
        assert lines[network, method] == [*cells[0], chosen, *cells[1]]
        for name in marks:
            marks[name].append((plain[name], best[name]))
    for name, pairs in marks.items():
        better = min if name == "fpr95" else max
        for values in zip(*pairs, strict=True):
            assert per_cent(better(values)) in page.strong
    top = max(rows, key=lambda row: row["auprc"])
    at = "" if top["temperature"] is None else f" at T = {top['temperature']:g}"
    text = "".join(page.texts)
    found = f"{top['method']} of {top['network']}{at}, AuPRC {per_cent(top['auprc'])}, FPR95 {per_cent(top['fpr95'])}"
    assert f"Best with the temperature chosen by AuPRC: {found} (best of 4 temperatures on these labels)" in text


def test_the_certified_interval_stands_on_every_auprc(tmp_path, pixel_store):
    out = scored(tmp_path, pixel_store, "--methods", "msp", "--temperatures", "1")
    (row,) = results(out)
    low, high = 100 * row["auprc_lower"], 100 * row["auprc_upper"]
    cells = [attributes for tag, attributes in report(out).elements if tag == "td" and attributes.get("title")]
    assert [cell["title"] for cell in cells] == [f"known to lie from {low:.5f} to {high:.5f}"]


def test_the_page_says_what_was_run(tmp_path, pixel_store):
    out = scored(tmp_path, pixel_store, "--temperatures", "0.5,1", "--protocol", "course", "--set", "fpr=first")
    text, run = "\n".join(report(out).texts), json.loads((out / "settings.json").read_text())["run"]
    (store,) = run["stores"]
    assert run["command"] == (
        f"pipe score {pixel_store} --temperatures 0.5,1 --protocol course --set fpr=first --out {out}"
    )
    assert set(run["versions"]) == {"python", "logitpipe", "numpy", "numba"}
    assert run["protocol"]["name"] == "course+fpr=first" and run["protocol"]["fpr"] == "first"
    assert (store["images"], store["missing"], store["path"], store["dataset"]) == (3, [], str(pixel_store), "Tiny")
    for words in (
        run["command"],
        *(store[name] for name in ("weights_sha256", "fingerprint", "path")),
        "course+fpr=first",
    ):
        assert words in text
    for name, version in run["versions"].items():
        assert f"{name} {version}" in text
    assert "those that the store names, or else the standard ones" in text


def references(page: Page) -> list[str]:
    names = ("src", "href", "srcset", "action", "data", "xlink:href", "poster", "background")
    return [value or "" for _, attributes in page.elements for name, value in attributes.items() if name in names]


def test_nothing_leads_out_of_the_page(shown):
    out, page = shown
    anchors = {attributes["id"] for _, attributes in page.elements if "id" in attributes}
    for reference in references(page):
        assert reference.startswith("data:image/") or reference.removeprefix("#") in anchors
    text = (out / "report.html").read_text()
    assert not re.search(r"https?:|url\(|@import|[\"'(]//", text)
    assert not {"script", "link", "iframe", "object", "base", "form"} & {tag for tag, _ in page.elements}
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_figure_says_what_it_shows(shown):
    _, page = shown
    figures = [attributes for tag, attributes in page.elements if tag == "svg" and "aria-hidden" not in attributes]
    assert len(figures) == 2 * (2 + 4) + 15  # over temperature, curves at T = 1 and at the best, distributions
    assert all(attributes["role"] == "img" for attributes in figures)
    assert len(page.titles) == 2 * len(figures) and all(page.titles)
    images = [attributes for tag, attributes in page.elements if tag == "img"]
    assert len(images) == 15 * 2 * 3 + 2  # best and worst with three pictures each, and a bar of colours
    assert all(attributes["alt"] for attributes in images)


def test_figures_over_temperature_are_told_in_words(shown):
    page, rows = shown[1], [row for row in results(shown[0]) if row["network"] == "enet"]
    for figure, name, best in (("auprc", "AuPRC", max), ("fpr95", "FPR95", min)):
        words = []
        for method in dict.fromkeys(row["method"] for row in rows):
            values = {row["temperature"]: row[figure] for row in rows if row["method"] == method}
            if None in values:
                words.append(f"{method}: {per_cent(values[None])} at every temperature")
                continue
            T = best(values, key=values.get)
            ends = f"{per_cent(values[0.5])} at T = 0.5, {per_cent(values[4])} at T = 4"
            words.append(f"{method}: {ends}, best {per_cent(values[T])} at T = {T:g}")
        found = page.titles.index(f"{name} of enet over temperature")
        assert page.titles[found + 1] == "; ".join(words)


def test_the_gallery_shows_the_best_and_the_worst_image(tmp_path, pixel_store):
    page = report(scored(tmp_path, pixel_store, "--temperatures", "0.5,2"))  # no T = 1: the best of the two is drawn
    rows = results(tmp_path / "out")
    areas = {}
    for image, name in enumerate(("a.png", "b.png", "c.png")):
        alone = fill(tmp_path / f"{image}.zarr", make_schema("pixel"), images=[image])
        one = json.loads(
            call(
                "score", alone, "--temperatures", "0.5,2", "--resolve", "none", "--allow-incomplete", "--json"
            ).stdout
        )
        areas[name] = {(row["method"], row["temperature"]): row["auprc"] for row in one["results"]}
    alts = [attributes["alt"] for tag, attributes in page.elements if tag == "img"]
    expected = []
    for method in dict.fromkeys(row["method"] for row in rows):
        best = max((row for row in rows if row["method"] == method), key=lambda row: row["auprc"])
        ranked = sorted((values[method, best["temperature"]], name) for name, values in areas.items())
        expected += [f"Scores of {method} on {name}, AuPRC {per_cent(a)}" for a, name in (ranked[-1], ranked[0])]
    assert [alt for alt in alts if alt.startswith("Scores")] == expected


@pytest.mark.slow
@pytest.mark.parametrize("temperatures", ["2", "0.5,2", "1:20:1"])
def test_figures_follow_the_temperatures(tmp_path, pixel_store, temperatures):
    page = report(scored(tmp_path, pixel_store, "--temperatures", temperatures))
    titles = page.table("Methods compared on Tiny")[0][1:]
    best = "Best T by AuPRC best of {} temperatures on these labels"
    expected = {"2": ["T = 2"], "0.5,2": [best.format(2)], "1:20:1": ["T = 1", best.format(20)]}
    assert titles == expected[temperatures]
    assert ("AuPRC of enet over temperature" in page.titles) == (temperatures != "2")
    assert ("AuPRC of enet" in page.titles) == (temperatures == "2")


def test_a_method_that_knows_no_temperature_needs_none(tmp_path, pixel_store):
    page = report(scored(tmp_path, pixel_store, "--methods", "maxlogit"))
    assert page.table("Methods compared on Tiny")[0] == ["Method", "no temperature"]


@pytest.mark.slow
@pytest.mark.parametrize(("protocol", "codes"), [("standard", (0, 255)), ("course", (0, 255)), ("standard", (1,))])
def test_without_figures_the_page_says_why(tmp_path, protocol, codes):
    store = fill(tmp_path / "store", make_schema("pixel"), codes=codes)
    out = scored(tmp_path, store, "--temperatures", "0.5,1", "--protocol", protocol)
    page = report(out)
    text = "".join(page.texts)
    assert "Figures need anomalous and normal pixels; here one of the two does not occur." in text
    assert "No image has both normal and anomalous pixels." in text
    assert not [1 for tag, attributes in page.elements if tag == "svg" and "role" in attributes]
    assert {cell for line in page.table("Every figure on Tiny")[1:] for cell in line[3:]} == {"none"}


def test_exact_figures_and_missing_images_are_named_so(tmp_path):
    store = fill(tmp_path / "store", make_schema("pixel"), images=[0, 2])
    text = "".join(report(scored(tmp_path, store, "--exact", "--allow-incomplete")).texts)
    assert "from every single score in order" in text
    assert "Tiny, 2 images; missing: 1 (b.png)" in text


def test_images_that_came_later_are_not_in_the_gallery(tmp_path):
    store = fill(tmp_path / "store", make_schema("pixel"), images=[0, 2])
    out = scored(tmp_path, store, "--allow-incomplete")
    fill(store, make_schema("pixel"), images=[1])
    names = {attributes["alt"] for tag, attributes in report(out).elements if tag == "img"}
    assert "Photograph a.png" in names and "Photograph b.png" not in names


@pytest.mark.slow
def test_stores_of_one_network_are_told_apart(tmp_path, pixel_store, mask_store):
    others = [fill(tmp_path / name / "other.zarr", make_schema("pixel")) for name in ("x", "y")]
    page = report(scored(tmp_path, pixel_store, *others, mask_store))
    networks = [line[0] for line in page.table("Methods compared on Tiny") if len(line) == 1]
    assert networks == ["enet (pixel.zarr)", *(f"enet ({other})" for other in others), "eomt"]
