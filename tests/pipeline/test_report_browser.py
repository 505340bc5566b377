"""The report in a real browser: nothing overflows, nothing is asked for, nothing goes wrong, all can be heard."""

import base64
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from browser import CHROMIUM, Browser
from pages import scored
from stores import fill, make_schema

from logitpipe.commands.report import report

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no Chromium here; `apt-get install chromium` brings it")

WIDTHS = (320, 390, 768, 1280)
PAPER = 718
"""Width of A4 in CSS pixels, less margins of a centimetre."""

LONG = "a_network_whose_name_has_no_place_to_break_" * 3
OVERFLOWING = """
[...document.querySelectorAll('body *')]
  .filter(e => !e.closest('svg') && !e.closest('.scroll > *') && e.getBoundingClientRect().right > innerWidth + 0.5)
  .map(e => e.tagName + ' ' + e.textContent.slice(0, 40))
"""
OUTSIDE_FIGURES = """
[...document.querySelectorAll('svg[role=img]')].flatMap(figure => {
  const box = figure.getBoundingClientRect();
  return [...figure.querySelectorAll('text, path, rect, circle, line')]
    .filter(e => {
      const r = e.getBoundingClientRect();
      return Math.max(box.left - r.left, r.right - box.right, box.top - r.top, r.bottom - box.bottom) > 1;
    })
    .map(e => figure.querySelector('title').textContent + ': ' + e.outerHTML.slice(0, 80));
})
"""


@pytest.fixture(scope="module")
def page(tmp_path_factory) -> Path:
    """A report of a pixel and a mask network, one of them under a name that cannot be broken."""
    folder = tmp_path_factory.mktemp("report")
    stores = [
        fill(folder / "pixel.zarr", make_schema("pixel")),
        fill(folder / "mask.zarr", replace(make_schema("mask"), network=LONG)),
    ]
    out = scored(folder, *stores, "--temperatures", "0.1,0.5,1,2,10", "--threshold", "0.5")
    report.main([str(out)], standalone_mode=False)
    return out / "report.html"


@pytest.fixture(scope="module")
def browser(tmp_path_factory) -> Iterator[Browser]:
    with Browser(tmp_path_factory.mktemp("browser") / "profile") as browser:
        yield browser


def requests(browser: Browser) -> list[str]:
    """The addresses that the page asked for."""
    sent = (event for event in browser.events if event["method"] == "Network.requestWillBeSent")
    return [event["params"]["request"]["url"] for event in sent]


@pytest.mark.parametrize("dark", [False, True])
@pytest.mark.parametrize("width", WIDTHS)
def test_nothing_overflows_and_nothing_leaves_the_page(browser, page, width, dark):
    browser.open(page, width, dark)
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    assert browser.evaluate("innerWidth") == width
    assert browser.evaluate("document.documentElement.scrollWidth") <= width
    assert browser.evaluate(OVERFLOWING) == []
    assert browser.evaluate(OUTSIDE_FIGURES) == []
    assert browser.evaluate("document.querySelectorAll('.scroll').length") > 0
    background = browser.evaluate("getComputedStyle(document.body).backgroundColor")
    assert background == ("rgb(20, 23, 26)" if dark else "rgb(252, 252, 250)")
    sent = requests(browser)
    assert page.resolve().as_uri() in sent
    assert all(url.startswith("data:image/") for url in sent if url != page.resolve().as_uri())
    complaints = ("Log.entryAdded", "Runtime.consoleAPICalled", "Runtime.exceptionThrown")
    assert [event for event in browser.events if event["method"] in complaints] == []


def test_who_cannot_see_the_figures_hears_what_they_show(browser, page):
    browser.open(page, 1280)
    browser.evaluate("document.querySelectorAll('details').forEach(details => details.open = true)")
    nodes = browser("Accessibility.getFullAXTree")["nodes"]
    images = [node for node in nodes if node["role"]["value"] in ("image", "img")]
    shown = browser.evaluate("document.querySelectorAll('svg[role=img], img').length")
    assert len(images) == shown > 50
    assert all(node["name"]["value"] for node in images)
    figures = [node for node in images if node["name"]["value"] == "AuPRC of enet over temperature"]
    assert len(figures) == 1 and figures[0]["description"]["value"].startswith("msp: ")


def test_every_picture_is_there(browser, page):
    browser.open(page, 1280)
    assert browser.evaluate("[...document.images].every(image => image.complete && image.naturalWidth > 0)")


def test_on_paper_nothing_is_cut(browser, page):
    browser.open(page, PAPER, media="print")
    assert browser.evaluate("document.documentElement.scrollWidth") <= PAPER
    assert browser.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert base64.b64decode(browser("Page.printToPDF")["data"]).startswith(b"%PDF")


def test_the_browser_would_complain(browser, tmp_path):
    """Each of the checks above can fail."""
    bad = tmp_path / "bad.html"
    bad.write_text(
        "<!DOCTYPE html><title>bad</title><meta name=viewport content='width=device-width'>"
        "<div style='width:5000px'>wide</div><img src='http://127.0.0.1:9/x.png'><script>boom()</script>"
    )
    browser.open(bad, 390)
    assert browser.evaluate("document.documentElement.scrollWidth") > 390
    assert browser.evaluate(OVERFLOWING) == ["DIV wide"]
    methods = {event["method"] for event in browser.events}
    assert {"Runtime.exceptionThrown", "Log.entryAdded"} <= methods
    assert "http://127.0.0.1:9/x.png" in requests(browser)
