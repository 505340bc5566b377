"""The page: what came out, data set by data set, then what was run and how to read it."""

from collections.abc import Mapping
from importlib.resources import files

from logitpipe.demo.dataset import NAME as DEMO
from logitpipe.report.benchmarks import benchmarks_section
from logitpipe.report.dataset import dataset_section
from logitpipe.report.facts import notes_section, run_section
from logitpipe.report.markup import Html, tag
from logitpipe.report.overview import overview_section
from logitpipe.report.words import moment
from logitpipe.results.series import JoinedResults, Run

OF_DEMO = (
    "These are drawn scenes. Both networks of the demo are tiny and were trained on such scenes for a short time; "
    "the mask network is the weaker one: its figures do not show what mask networks can do."
)


def page(results: JoinedResults, galleries: Mapping[str, Html]) -> str:
    """Return the whole page.

    Parameters
    ----------
    galleries : by store, its gallery, or in its place the reason why there is none
    """
    networks = ", ".join(dict.fromkeys(entry.row.network for entry in results.entries))
    title = f"{networks} on {', '.join(results.datasets)}"
    # Within the page, which needs no other file.
    style = files("logitpipe.report").joinpath("style.css").read_text(encoding="utf-8")
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{title}: anomaly scores"),
        tag("style", Html(style)),
    )
    sections = [
        dataset_section(f"data-{i}", name, entries, results, galleries)
        for i, (name, entries) in enumerate(results.datasets.items())
    ]
    of_demo = tag("p", OF_DEMO, class_="note") if any(entry.row.dataset == DEMO for entry in results.entries) else ""
    main = tag(
        "main",
        of_demo,
        overview_section(results),
        *sections,
        benchmarks_section(results),
        run_section(results),
        notes_section(results),
    )
    return f"<!DOCTYPE html>\n{tag('html', head, tag('body', _header(title, results), main), lang='en')}\n"


def _header(title: str, results: JoinedResults) -> Html:
    links = [tag("a", "Overview", href="#overview")]
    links += [tag("a", name, href=f"#data-{i}") for i, name in enumerate(results.datasets)]
    if any(run.benchmarks for run in results.runs):
        links.append(tag("a", "The benchmarks' own figures", href="#benchmarks"))
    links += [tag("a", "What was run", href="#run"), tag("a", "How to read this", href="#notes")]
    return tag(
        "header",
        tag("p", "Anomaly scores of cached logits", class_="over"),
        tag("h1", title),
        tag("p", "; ".join(map(_scored, results.runs)), class_="note"),
        tag("nav", *links, aria_label="Sections"),
    )


def _scored(run: Run) -> str:
    return f"protocol {run.protocol.name}, scored {moment(run.record['finished'])}"
