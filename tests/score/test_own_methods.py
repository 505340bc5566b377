"""A plain function as a method: from a file, by the figures of the built-in one; its faults are one line each."""

import re
from pathlib import Path

import pytest
from click.testing import CliRunner
from stores import fill, make_schema

from logitpipe.cache import UsageError, open_store
from logitpipe.cache.errors import PipeError
from logitpipe.cli import cli
from logitpipe.stages.score.figures.rows import BOUNDED
from logitpipe.stages.score.passes.sweep import sweep
from logitpipe.stages.score.plan import make_plan
from logitpipe.stages.score.protocols import PROTOCOLS

PAGE = (Path(__file__).parents[2] / "docs" / "extending.md").read_text(encoding="utf-8")
MINE = re.search(r"<!-- file: mine.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)

SAME = {"pixel": ("maxlogit", "def f(logits):\n    return -logits.max(axis=0)\n"), "mask": ("mask2anomaly", None)}


@pytest.mark.parametrize("protocol", ["standard", "legacy"])
@pytest.mark.parametrize("kind", SAME)
def test_a_built_in_formula_gives_the_built_in_figures(tmp_path, kind, protocol):
    """Also under a protocol that evaluates at another size and skips images."""
    built_in, text = SAME[kind]
    (tmp_path / "mine.py").write_text(text or "def f(S, T):\n    return 1 - S.max(axis=0)\n")
    store, own = open_store(fill(tmp_path / "store", make_schema(kind))), f"{tmp_path}/mine.py:f"
    choice = PROTOCOLS[protocol]
    if kind == "pixel" and protocol == "legacy":
        pytest.skip("legacy counts void among the classes of maxlogit, and brings it to 0..1")
    plan = make_plan(store.schema, choice, [built_in, own], [0.5, 2.0])
    rows = [scored.row for scored in sweep(store, plan, range(3), 2, lambda: None, resolve="all")]
    theirs, mine = ([row for row in rows if (row.method == own) == is_mine] for is_mine in (False, True))
    assert [row.temperature for row in mine] == [row.temperature for row in theirs]
    for one, other in zip(theirs, mine, strict=True):
        for name in BOUNDED:
            assert getattr(one, name) == pytest.approx(getattr(other, name), abs=1e-9), name
        assert one.best_f1_threshold == pytest.approx(other.best_f1_threshold, abs=5e-3)  # or a bin's edge


def test_the_page_has_a_method_of_each_kind(tmp_path, monkeypatch):
    assert MINE
    monkeypatch.chdir(tmp_path)
    Path("mine.py").write_text(MINE[1])
    pixel, mask = (fill(tmp_path / f"{kind}.zarr", make_schema(kind)) for kind in ("pixel", "mask"))
    words = [
        "score",
        str(pixel),
        str(mask),
        "--methods",
        "msp,mine.py:margin,mine.py:largest",
        "--temperatures",
        "1,2",
    ]
    result = CliRunner().invoke(cli, words)
    assert result.exit_code == 0, result.stderr
    lines = [line.split()[:2] for line in result.stdout.splitlines()]
    assert ["mine.py:margin", "2"] in lines and ["mine.py:largest", "-"] in lines


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("", "has no function 'f'"),
        ("def f(:", "cannot be run (SyntaxError"),
        ("def f(depth): ...", "this one asks for depth"),
        ("def f(T): ...", "this one asks for T"),
        ("import sys\nsys.exit(0)", "cannot be run (SystemExit"),
        ("f = getattr", "this one asks for what cannot be found out"),
    ],
)
def test_what_is_no_method_is_refused(tmp_path, text, line):
    (tmp_path / "mine.py").write_text(text)
    store = open_store(fill(tmp_path / "store", make_schema("pixel")))
    with pytest.raises(UsageError, match=re.escape(line)):
        make_plan(store.schema, PROTOCOLS["standard"], [f"{tmp_path}/mine.py:f"], [1.0])


@pytest.mark.parametrize(
    ("body", "line"),
    [
        ("return 1 / 0", "raised ZeroDivisionError"),
        ("return logits", "were expected, scores of (4, 12, 16) came"),
        ("return logits[0] * float('nan')", "NaN came"),
    ],
)
def test_what_a_function_does_wrong_is_one_line(tmp_path, body, line):
    (tmp_path / "mine.py").write_text(f"def f(logits):\n    {body}\n")
    store = open_store(fill(tmp_path / "store", make_schema("pixel")))
    plan = make_plan(store.schema, PROTOCOLS["standard"], [f"{tmp_path}/mine.py:f"], [1.0])
    with pytest.raises(PipeError, match=re.escape(line)):
        sweep(store, plan, range(3), 1, lambda: None)


def test_functions_may_have_defaults_of_their_own_and_change_what_they_get(tmp_path):
    """Also in a module that looks itself up, as dataclasses do."""
    text = (
        "from __future__ import annotations\nfrom dataclasses import dataclass\n"
        "@dataclass\nclass A:\n    x: int\n\n"
        "def plain(S, P, M, z, k=2.0):\n    return k - S.max(axis=0) + P[0, 0] + z[0, 0] + M[0]\n\n"
        "def rude(S, P, M, z, k=2.0):\n    s = plain(S, P, M, z, k)\n"
        "    for each in (S, P, M, z):\n        each *= 0\n    return s\n\n"
        "at_masks = lambda S, P, M, z: rude(S, P, M, z)\nat_masks.at = 'masks'\n"
        "beside = lambda S, P, M, z: plain(S, P, M, z)\nbeside.at = 'masks'\n"
    )
    (tmp_path / "mine.py").write_text(text)
    store = open_store(fill(tmp_path / "store", make_schema("mask")))
    names = [f"{tmp_path}/mine.py:{name}" for name in ("rude", "plain", "at_masks", "beside")]
    plan = make_plan(store.schema, PROTOCOLS["standard"], names, [1.0])
    rude, plain, at_masks, beside = (scored.row for scored in sweep(store, plan, range(3), 1, lambda: None))
    assert (rude.auprc, at_masks.auprc) == (plain.auprc, beside.auprc)


def test_a_file_that_is_not_there(tmp_path):
    result = CliRunner().invoke(
        cli, ["score", str(fill(tmp_path / "s", make_schema("pixel"))), "--methods", "no.py:f"]
    )
    assert (result.exit_code, result.stderr.splitlines()[-1]) == (
        2,
        "pipe: --methods no.py:f: there is no file no.py",
    )
