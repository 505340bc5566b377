"""Tables of figures: what is marked, what is said under them, and how each format writes them."""

import re
from dataclasses import replace

import pytest
from rows import make_row

from logitpipe.console.text import cells, shortened
from logitpipe.stages.score.figures.rows import Row
from logitpipe.tables.comparison import comparison_tables, summarised
from logitpipe.tables.render import latex, markdown, plain
from logitpipe.tables.table import Table

BOLD, END = "\x1b[1m", "\x1b[0m"


def row(method: str, T: float | None, *figures: float | None, store: str = "e.zarr", network: str = "enet") -> Row:
    """A row with AuPRC, FPR95 and AUROC."""
    auprc, fpr95, auroc = figures or (0.5, 0.5, 0.5)
    named = {"method": method, "temperature": T, "auprc": auprc, "fpr95": fpr95, "auroc": auroc}
    return make_row(**named, store=store, network=network)


ROWS = [
    row("msp", 0.5, 0.31, 0.6, 0.71),
    row("msp", 1, 0.4, 0.7, 0.72),
    row("maxlogit", None, 0.4000001, 0.9, 1),
    row("msp", 0.5, 0.2, 0.01, 0.5, store="o.zarr", network="eomt"),
    row("msp", 1, 0.1, 0.02, 0.6, store="o.zarr", network="eomt"),
    row("rba", 1, 0.15, 0.03, 0.55, store="o.zarr", network="eomt"),
]


def table(rows: list[Row] = ROWS) -> Table:
    (only,) = comparison_tables(rows)
    return only


def test_a_star_marks_the_best_of_each_column():
    assert plain(table()).split("\n") == [
        "Tiny, protocol standard, per cent (3 images, 90 pixels, 9 anomalous)",
        "",
        "method      T  enet AuPRC   enet FPR95   enet AUROC   eomt AuPRC   eomt FPR95   eomt AUROC",
        "--------  ---  -----------  -----------  -----------  -----------  -----------  -----------",
        "msp       0.5      31.000       60.000*      71.000       20.000*       1.000*      50.000",
        "msp         1      40.000*      70.000       72.000       10.000        2.000       60.000*",
        "maxlogit    -      40.000*      90.000      100.000*",
        "rba         1                                             15.000        3.000       55.000",
        "",
        "*: best of its column",
    ]


def test_bold_marks_the_same_figures_and_moves_no_column():
    bold, starred = plain(table(), bold=True), plain(table())
    marked = re.findall(r"\x1b\[1m([\d.]+)\x1b\[0m", bold)
    assert marked == re.findall(r"([\d.]+)\*", starred)
    assert marked == ["60.000", "20.000", "1.000", "40.000", "60.000", "40.000", "100.000"]
    assert bold.endswith("\n\nbold: best of its column")
    bare = bold.replace(BOLD, "").replace(END, "").split("\n")
    assert bare[2] == "method      T  enet AuPRC  enet FPR95  enet AUROC  eomt AuPRC  eomt FPR95  eomt AUROC"
    assert bare[5] == "msp         1      40.000      70.000      72.000      10.000       2.000      60.000"


def test_figures_that_are_equal_as_printed_are_all_marked():
    rows = [row("msp", T, auprc, 0.5, 0.5) for T, auprc in ((1, 0.1234), (2, 0.1234004), (3, 0.1233))]
    lines = plain(table(rows))
    assert re.findall(r"12\.3\d\d.", lines) == ["12.340*", "12.340*", "12.330 "]


def test_one_figure_alone_is_not_the_best_of_anything():
    text = plain(table([row("msp", 1), row("rba", 1, None, None, None)]))
    assert "*" not in text
    assert "best" not in text
    assert "best" not in markdown(table([row("msp", 1)])) + latex(table([row("msp", 1)]))


@pytest.mark.parametrize(
    ("facts", "reason"),
    [
        (
            {"images": 0, "pixels": 0, "positives": 0},
            "no image was scored, as the protocol skips images without an anomaly",
        ),
        ({"pixels": 0, "positives": 0}, "no pixel was scored, as all are void"),
        ({"positives": 0}, "no pixel is anomalous, and the figures need both kinds"),
        ({"positives": 90}, "no pixel is normal, and the figures need both kinds"),
    ],
)  # fmt: skip
def test_a_store_without_figures_gets_the_reason(facts, reason):
    none = [replace(row("msp", T, None, None, None), **facts) for T in (0.5, 1)]
    assert plain(table(none)).split("\n")[4:] == [
        "msp     0.5        none        none        none",
        "msp       1        none        none        none",
        "",
        f"none for enet: {reason}",
    ]
    assert markdown(table(none)).endswith(f"\n\nnone for enet: {reason}")
    assert f"none for enet: {reason}.}}\n" in latex(table(none))


def test_a_table_wider_than_the_terminal_is_split_by_store():
    whole = plain(table(), bold=True, width=None)
    widest = max(map(cells, whole.split("\n")[2:]))
    assert plain(table(), bold=True, width=widest) == whole
    assert plain(table(), bold=False, width=widest).split("\n")[2:] == [
        "enet",
        "method      T   AuPRC    FPR95     AUROC",
        "--------  ---  -------  -------  --------",
        "msp       0.5  31.000   60.000*   71.000",
        "msp         1  40.000*  70.000    72.000",
        "maxlogit    -  40.000*  90.000   100.000*",
        "",
        "eomt",
        "method    T   AuPRC   FPR95    AUROC",
        "------  ---  -------  ------  -------",
        "msp     0.5  20.000*  1.000*  50.000",
        "msp       1  10.000   2.000   60.000*",
        "rba       1  15.000   3.000   55.000",
        "",
        "*: best of its column",
    ]


def test_a_long_name_does_not_widen_a_split_table():
    rows = [row("msp", 1, store=f"/a/long/path/to/a/folder/{i}/e.zarr") for i in range(2)]
    lines = plain(table(rows), width=60).split("\n")[2:]
    assert lines[0] == "enet (/a/long/path/to/a/folder/0/e.zarr)"
    assert max(map(len, lines[1:4])) == len("method  T   AuPRC   FPR95   AUROC")


def test_wide_characters_take_two_cells():
    assert [cells(text) for text in ("道路", "e\u0301", f"{BOLD}1.0{END}", "")] == [4, 1, 3, 0]
    lines = plain(table([row("msp", 1, network="道路"), row("msp", 1, store="b", network="enet")])).split("\n")
    assert {cells(line) for line in lines[2:5]} == {len("method  T  道路 AuPRC  道路 FPR95  道路 AUROC") + 6 + 3 * 12}


@pytest.mark.parametrize(("width", "found"), [(9, "abcdefghi"), (8, "ab...ghi"), (5, "a...i"), (4, ""), (0, "")])
def test_text_is_shortened_in_its_middle(width, found):
    assert shortened("abcdefghi", width) == found
    assert cells(found) <= max(width, 0)


def test_a_summary_keeps_temperature_one_and_the_best():
    rows = [row("msp", T, a, 0.5, 0.5) for T, a in ((0.5, 0.1), (1, 0.2), (2, 0.4), (3, 0.4))]
    rows += [row("maxlogit", None), *(row("rba", T, a, 0.5, 0.5) for T, a in ((0.5, 0.3), (1, 0.3)))]
    rows += [row("eam", T, None, None, None) for T in (1, 2)]
    kept = [(r.method, r.temperature) for r in summarised(rows)]
    assert kept == [("msp", 1), ("msp", 2), ("maxlogit", None), ("rba", 1), ("eam", 1)]


def test_a_summary_chooses_for_each_store():
    rows = [row("msp", T, a, 0.5, 0.5, store=s) for s, a2 in (("a", 0.1), ("b", 0.9)) for T, a in ((1, 0.5), (2, a2))]
    assert [(r.store, r.temperature) for r in summarised(rows)] == [("a", 1), ("b", 1), ("b", 2)]


def test_markdown_is_bold_and_names_stay_names():
    assert markdown(table()).split("\n") == [
        "**Tiny, protocol standard, per cent (3 images, 90 pixels, 9 anomalous)**",
        "",
        "| method | T | enet AuPRC | enet FPR95 | enet AUROC | eomt AuPRC | eomt FPR95 | eomt AUROC |",
        "| --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
        "| msp | 0.5 | 31.000 | **60.000** | 71.000 | **20.000** | **1.000** | 50.000 |",
        "| msp | 1 | **40.000** | 70.000 | 72.000 | 10.000 | 2.000 | **60.000** |",
        "| maxlogit | - | **40.000** | 90.000 | **100.000** |  |  |  |",
        "| rba | 1 |  |  |  | 15.000 | 3.000 | 55.000 |",
    ]
    assert r"| a\|b\*c\<d\\e AuPRC |" in markdown(table([row("msp", 1, network="a|b*c<d\\e")]))


def test_latex_is_a_booktabs_table_with_one_cell_for_each_column():
    lines = latex(table()).split("\n")
    assert lines[:4] == [
        r"% needs \usepackage{booktabs}",
        r"\begin{table}",
        r"\centering",
        r"\caption{Tiny, protocol standard, per cent (3 images, 90 pixels, 9 anomalous). Bold: best of its column.}",
    ]
    assert lines[4:11] == [
        r"\begin{tabular}{lrrrrrrr}",
        r"\toprule",
        r" & & \multicolumn{3}{c}{enet} & \multicolumn{3}{c}{eomt} \\",
        r"\cmidrule(lr){3-5} \cmidrule(lr){6-8}",
        r"method & $T$ & AuPRC $\uparrow$ & FPR95 $\downarrow$ & AUROC $\uparrow$"
        r" & AuPRC $\uparrow$ & FPR95 $\downarrow$ & AUROC $\uparrow$ \\",
        r"\midrule",
        r"msp & 0.5 & 31.000 & \textbf{60.000} & 71.000 & \textbf{20.000} & \textbf{1.000} & 50.000 \\",
    ]
    assert lines[14:] == [r"\bottomrule", r"\end{tabular}", r"\end{table}"]
    assert all(line.count("&") == 7 and line.endswith(r" \\") for line in lines[8:14] if line != r"\midrule")


def test_latex_escapes_what_has_a_meaning_there():
    text = latex(table([row("msp", 1, network=r"a_b%c&d#e$f{g}h\i^j~k<l>m")]))
    assert (
        r"\multicolumn{3}{c}{a\_b\%c\&d\#e\$f\{g\}h\textbackslash{}i\textasciicircum{}j\textasciitilde{}k"
        r"\textless{}l\textgreater{}m} \\"
    ) in text


def test_no_digit_is_printed_that_the_bounds_leave_open():
    bounds = {"auprc_lower": 0.123412, "auprc_upper": 0.123448, "fpr95_lower": 0.1, "fpr95_upper": 0.9}
    (table,) = comparison_tables([make_row(auprc=0.12343, fpr95=0.5, auroc=0.75, **bounds)])
    assert [cell.text for cell in table.lines[0][2:]] == ["12.34", "10.0 to 90.0", "75.000"]
