"""Progress on stderr, on a terminal and elsewhere."""

import sys

from pipeline.progress import Progress


def test_progress_off_a_terminal_is_a_line_now_and_then(capsys):
    seconds = iter([0.0, 0.0, 10.0, 40.0, 40.0, 50.0, 60.0])
    with Progress("enet", 4, clock=seconds.__next__) as progress:
        for _ in range(3):
            progress.advance()
    assert capsys.readouterr().err.splitlines() == [
        "enet: 0/4 images",
        "enet: 2/4 images, 0.05 images/s, 0:40 left",
        "enet: 3/4 images, 0.05 images/s, 0:20 left",
    ]


def test_progress_on_a_terminal_redraws_one_line(capsys, monkeypatch):
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    with Progress("enet", 2, clock=iter(range(100)).__next__) as progress:
        progress.advance()
        progress.advance()
    *lines, last = capsys.readouterr().err.split("\r")[1:]
    assert last.startswith("[########################] enet: 2/2 images")
    assert last.endswith("\n")
    assert any("1/2 images" in line and "left" in line for line in lines)
