"""Standard output and error as shells connect them: closed, full, and the flags that say how much goes there."""

import errno
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner
from conftest import fails

from logitpipe.cli import cli
from logitpipe.commands import show

ROOT = Path(__file__).parents[2]
CLOSED = "pipe: the results cannot be written to stdout (Bad file descriptor)\n"
FULL = "pipe: the results cannot be written to stdout (No space left on device)\n"


def shell(words: str, store: Path) -> tuple[int, str, str]:
    """Run a command line in which `pipe` and `STORE` stand for what they are."""
    line = words.replace("pipe", f"'{sys.executable}' -m logitpipe").replace("STORE", f"'{store}'")
    done = subprocess.run(line, shell=True, capture_output=True, text=True, check=False, cwd=ROOT)
    return done.returncode, done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize(
    ("words", "code", "errors"),
    [
        ("pipe verify STORE >&-", 1, CLOSED),
        ("pipe verify STORE >/dev/full", 1, FULL),
        ("pipe verify STORE >&- 2>&-", 1, ""),
        ("pipe verify STORE >/dev/full 2>/dev/full", 1, ""),
    ],
)
def test_results_that_cannot_be_printed_are_an_error(pixel_store, words, code, errors):
    code_found, printed, messages = shell(words, pixel_store)
    assert (code_found, printed) == (code, "")
    assert messages.endswith(errors)
    assert "Traceback" not in messages


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here")
@pytest.mark.parametrize("where", ["2>&-", "2>/dev/full"])
def test_messages_that_cannot_be_printed_stop_nothing(pixel_store, where):
    code, printed, errors = shell(f"pipe verify STORE {where}", pixel_store)
    assert (code, errors) == (0, "")
    assert printed.endswith(": sound\n")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (OSError(errno.ENOMEM, "Cannot allocate memory"), "there is too little memory (Cannot allocate memory)"),
        (OSError(errno.EIO, "Input/output error"), "Input/output error"),
        (RuntimeError("can't start new thread"), "there is too little memory (can't start new thread)"),
        (OSError("a library's own words"), "a library's own words"),
        (OSError(errno.EACCES, "Permission denied", "some/file"), "some/file: Permission denied"),
    ],
)
def test_an_error_of_the_system_is_not_one_of_stdout(pixel_store, monkeypatch, error, line):
    def fail(_path):
        raise error

    monkeypatch.setattr(show, "open_store", fail)
    fails(CliRunner().invoke(cli, ["show", str(pixel_store)]), f"pipe: {line}")


@pytest.mark.parametrize("words", [("-q", "verify"), ("verify", "-q"), ("verify", "--quiet")])
def test_how_much_is_said_may_stand_before_and_after_the_command(pixel_store, words):
    said = CliRunner().invoke(cli, ["verify", str(pixel_store)])
    quiet = CliRunner().invoke(cli, [*words, str(pixel_store)])
    assert (quiet.exit_code, quiet.stdout, quiet.stderr) == (0, said.stdout, "")
    assert said.stderr


def test_a_word_after_two_dashes_is_no_flag():
    assert CliRunner().invoke(cli, ["verify", "--", "-q"]).stderr.startswith("pipe: -q: expected a logit store")
