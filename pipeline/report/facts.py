"""Sections of the page: the record of each run, and the definitions of the terms."""

from collections.abc import Mapping

from logitpipe.console.text import listed
from logitpipe.report.markup import Html, fold, joined, tag
from logitpipe.report.words import moment
from logitpipe.results.series import Entry, JoinedResults, Run
from logitpipe.stages.score.protocols import to_document

DEFINITIONS = {
    "AuPRC": "Average precision over all scored pixels of all images pooled: step-wise, as scikit-learn has it.",
    "FPR95": "The share of normal pixels above the threshold at which 95 % of the anomalous ones are found.",
    "AUROC": "The area under the ROC curve: how often an anomalous pixel scores above a normal one.",
    "Bounds": "Scores are counted in fine bins whose inner order is not known. A figure lies within its bounds "
    "whatever that order, and no digit is shown that they leave open. Point at an AuPRC, or open the table of every "
    "figure.",
    "T = 1": "The scores as the network gives them. No label had a part in this choice.",
    "Best T": "The temperature with the highest AuPRC on the very labels that the figure is computed from. It says "
    "what the method could reach, not what it would reach on new data.",
}


def run_section(results: JoinedResults) -> Html:
    """Return command, versions, protocol and stores."""
    return tag(
        "section",
        tag("h2", "What was run"),
        *map(_of_run, results.runs),
        fold("Networks and data", tag("div", *(_store(entry) for entry in results.entries), class_="stores")),
        id="run",
    )


def notes_section(results: JoinedResults) -> Html:
    """Return what the terms of the page mean."""
    shown = {"T = 1": 1.0 in results.temperatures, "Best T": len(results.temperatures) > 1}
    terms = {name: words for name, words in DEFINITIONS.items() if shown.get(name, True)}
    return tag("section", tag("h2", "How to read this"), _list(terms), id="notes")


def _of_run(run: Run) -> Html:
    record = run.record
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    exact = "from every single score in order" if record["exact"] else "from integer histograms of all scores"
    fields = {name: value for name, value in to_document(run.protocol).items() if name != "name"}
    fields["label_codes"] = fields["label_codes"] or "those that the store names, or else the standard ones"
    return joined(
        tag("pre", tag("code", record["command"]), tabindex=0),
        _list({"Versions": versions, "Figures": exact, "Scored": moment(record["finished"])}),
        fold(
            f"Protocol {run.protocol.name}",
            _list({name.replace("_", "-"): _value(value) for name, value in fields.items()}),
        ),
    )


def _store(entry: Entry) -> Html:
    facts, row = entry.facts, entry.row
    height, width = facts["input_size"]
    missing = f"; missing: {len(facts['missing'])} ({listed(facts['missing'])})" if facts["missing"] else ""
    skipped = facts["images"] - row.images
    words = {
        "Network": f"{row.network}, a {row.kind} network"
        + (f" ({_value(facts['facts'])})" if facts["facts"] else ""),
        "Data": f"{row.dataset}, {row.images:,} images"
        + (f", {skipped:,} more skipped by the protocol" if skipped else "")
        + missing,
        "Pixels": f"{row.pixels:,} scored, {row.positives:,} anomalous",
        "Input": f"{height}x{width} pixels, logits stored as {facts['precision']}",
        "Weights": joined("sha256 ", tag("code", facts["weights_sha256"])) if facts["weights_sha256"] else "unknown",
        "Store": facts["store"],
        "Fingerprint": tag("code", facts["fingerprint"]),
        "Inference": _value(facts["software"]) or "not recorded",
    }
    return tag("div", tag("h4", f"{entry.label} on {row.dataset}"), _list(words), class_="store")


def _list(words: Mapping[str, str]) -> Html:
    return tag("dl", *(joined(tag("dt", name), tag("dd", text)) for name, text in words.items()))


def _value(value: object) -> str:
    """Return a value of JSON in words."""
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_value(one)}" for name, one in value.items())
    if isinstance(value, list):
        return ", ".join(map(_value, value)) or "none"
    words = {True: "yes", False: "no", None: "none"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
