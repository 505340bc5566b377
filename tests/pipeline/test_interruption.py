"""Ctrl-C and SIGTERM, sent to real processes at named moments: one line, the right code, and nothing torn or lost."""

import signal
import subprocess
import sys
import time

import pytest
from click.testing import CliRunner
from conftest import content
from held import command
from stores import fill, make_schema

from logitpipe.cache import open_store
from logitpipe.cli import cli
from tests.children import infer_words

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="Windows sends no such signals to one process")

GOES_ON = "pipe: interrupted; the same command again goes on where it stopped"
ANEW = "pipe: interrupted; the same command again begins anew"
PROMPT = 20.0
"""Seconds in which a process must end on a busy machine; it is held for 600 where it must not be waited for."""

MOMENTS = {
    "while weights are read": ("logitpipe.stages.infer.weights.checkpoints:read_raw", 1, 600),
    "while a picture is decoded": ("logitpipe.stages.infer.run:prepare", 4, 600),
    "in a forward pass": ("fake_networks:Pixelwise.forward", 3, 600),
    "while the first image makes the store": ("logitpipe.cache.files.folder:Folder.publish", 2, 1),
    "while an image is committed": ("logitpipe.cache.files.folder:Folder.publish_all", 9, 1),
}


def interrupted(words: list[str], *signals: signal.Signals) -> tuple[int, str, str]:
    """Wait until a process says that it is held, send it signals, and return its code and what it printed."""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout.readline() == "held\n", process.stderr.read()
            time.sleep(0.1)
            for number in signals:
                process.send_signal(number)
                time.sleep(0.5)
            output, errors = process.communicate(timeout=PROMPT)
        finally:
            process.kill()
    assert "Traceback" not in errors
    return process.returncode, output, errors.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("moment", "number", "code"),
    [*((moment, signal.SIGINT, 130) for moment in MOMENTS), ("while an image is committed", signal.SIGTERM, 143)],
)
def test_an_interrupted_run_loses_nothing_and_goes_on(run, tmp_path, data_root, moment, number, code):
    run(out="undisturbed")
    where, call, seconds = MOMENTS[moment]
    words = command(where, call, *infer_words(tmp_path, data_root), seconds=seconds)
    assert interrupted(words, number) == (code, "", GOES_ON)
    assert not list(tmp_path.rglob("*.partial"))
    if (tmp_path / "store").exists():
        assert CliRunner().invoke(cli, ["verify", str(tmp_path / "store")]).exit_code in (0, 3)
    assert run().exit_code == 0
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


@pytest.mark.slow
def test_a_second_interruption_does_not_wait_for_the_commit(run, tmp_path, data_root):
    run(out="undisturbed")
    words = command("logitpipe.cache.files.folder:Folder.publish_all", 9, *infer_words(tmp_path, data_root))
    assert interrupted(words, signal.SIGINT, signal.SIGINT) == (130, "", GOES_ON)
    assert run().exit_code == 0
    assert content(tmp_path / "store") == content(tmp_path / "undisturbed")


@pytest.mark.slow
def test_an_interrupted_run_that_overwrites_goes_on_without_the_flag(run, tmp_path, data_root):
    run("--limit", "1")
    words = infer_words(tmp_path, data_root, "--overwrite")
    line = "pipe: interrupted; the same command, without --overwrite, goes on where it stopped"
    assert interrupted(command("fake_networks:Pixelwise.forward", 4, *words), signal.SIGINT) == (130, "", line)
    done = len(open_store(tmp_path / "store").completed())
    assert done > 0
    assert f"({5 - done} new, {done} already there)" in run().stderr


READING = {
    "score, reading": (["score"], "logitpipe.stages.score.passes.walk:read_picture", 2),
    "score, counting": (["score", "--workers", "2"], "logitpipe.stages.score.picture:Picture.count", 2),
    "score, exactly": (["score", "--exact"], "logitpipe.stages.score.passes.exact:read_picture", 1),
    "verify": (["verify"], "logitpipe.cache.reading.verify:check_image", 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", READING)
def test_reading_ends_at_once(tmp_path, name):
    """A worker is in the middle of something that takes ten minutes."""
    words, moment, call = READING[name]
    path = fill(tmp_path / "store", make_schema("pixel"))
    before = content(tmp_path)
    code = signal.SIGTERM if name == "verify" else signal.SIGINT
    found = interrupted(command(moment, call, *words, path), code)
    assert found == (143 if code == signal.SIGTERM else 130, "", ANEW)
    assert content(tmp_path) == before


@pytest.mark.slow
def test_results_are_not_half_written(tmp_path):
    path = fill(tmp_path / "store", make_schema("pixel"))
    words = command("logitpipe.results.writing:write_arrays", 1, "score", path, "--out", tmp_path / "out")
    # Under nohup, which these tests may run under, it is ignored.
    number = signal.SIGHUP if signal.getsignal(signal.SIGHUP) == signal.SIG_DFL else signal.SIGTERM
    code, printed, last = interrupted(words, number)
    assert (code, last) == (128 + number, ANEW)
    assert printed.startswith("Tiny, protocol standard")  # the figures are shown, whatever became of the files
    assert list((tmp_path / "out").iterdir()) == []
    assert not list(tmp_path.rglob("*.partial"))
