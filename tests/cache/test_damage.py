"""Random damage: none is silent, none is scored around, and a repair undoes all of it."""

import re

import numpy as np
import pytest
from click.testing import CliRunner

from logitpipe.cache.format import VERSIONS, codec
from logitpipe.cache.reading import verify
from logitpipe.cli import cli
from tests.campaigns import damage
from tests.campaigns.damage import as_lines, campaign, is_found, judge_score, make_subject, small_chunks

NUMBERS = {"flip": 90, "truncation": 36, "deletion": 36}


@pytest.mark.slow
def test_no_damage_is_silent_or_scored_around_and_a_repair_undoes_each(tmp_path):
    table = campaign(tmp_path, NUMBERS, seed=1)
    total = sum(table.values(), start=damage.Counter())
    assert total["damages"] == total["mended"] == sum(NUMBERS.values()), "\n".join(as_lines(table))
    assert total["found"] + total["no meaning"] == total["refused"] + total["unchanged"] == total["damages"]
    assert total["silent"] == total["wrong"] == 0
    assert {name for name, columns in table.items() if columns["damages"] == 0} == set()
    assert len(table) == 9
    for name, columns in table.items():  # what scoring reads is refused, and that is most of it
        assert columns["refused"] > 0, name


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
def test_a_damage_that_changes_no_meaning_may_pass(tmp_path, version):
    with small_chunks():
        subject = make_subject(tmp_path / "store", "pixel", version)
        file = subject.path / "zarr.json"
        spelt = file.read_bytes().replace(b"1e-05", b"1E-05")
        assert spelt != file.read_bytes()
        file.write_bytes(spelt)
        assert not is_found(subject.path)
        assert judge_score(subject, "zarr.json") == "unchanged"


@pytest.mark.slow
def test_the_campaign_sees_a_store_that_does_not_check(tmp_path, monkeypatch):
    """Without the checks of chunks and values, flipped bits are silent and scored: the campaign can fail."""
    monkeypatch.setattr(codec.google_crc32c, "value", lambda _data: codec.INTACT)
    monkeypatch.setattr(verify, "_value_faults", lambda *_: ())
    monkeypatch.setattr(codec, "xxh3", lambda _values: "the same")
    columns = campaign(tmp_path, {"flip": 30}, seed=0)["flip", "chunk"]
    assert columns["silent"] > 0
    assert columns["wrong"] > 0


@pytest.mark.slow
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("kind", ["pixel", "mask"])
def test_the_commands_end_in_the_codes_of_damage(tmp_path, kind, version):
    """`pipe verify` and `pipe score` from the outside, each kind of file flipped once."""
    noise = np.random.default_rng(3)
    with small_chunks():
        subject = make_subject(tmp_path / "store", kind, version)
        for file in sorted(subject.files)[:: len(subject.files) // 12]:
            (subject.path / file).write_bytes(damage.truncated(subject.files[file], noise))
            verified, scored = (CliRunner().invoke(cli, [name, str(subject.path)]) for name in ("verify", "score"))
            (subject.path / file).write_bytes(subject.files[file])
            assert verified.exit_code == 4, file
            if scored.exit_code:
                assert (scored.exit_code, scored.stdout) == (4, ""), file
                assert scored.stderr.splitlines()[-1].endswith("the same `pipe infer` with --repair mends it")
            else:
                assert re.match(r"preview/|.+/zarr\.json$", file), file


@pytest.mark.slow
def test_the_script_prints_one_table(capsys):
    assert damage.main(["--flips", "6", "--truncations", "6", "--deletions", "6"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 8  # three ways to damage chunks and records, a head and a sum
    assert lines[-1].split()[:2] == ["all", "18"]
    assert lines[-1].split()[-1] == "18"
