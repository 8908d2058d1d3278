"""Bars: lively on a terminal, sparing in a file."""

from __future__ import annotations

import io
import time
from pathlib import Path

import pytest

from fastsep.objective import Losses
from fastsep.progress import progress_bar
from fastsep.training.log import Log


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def drawn(stream: io.StringIO, monkeypatch: pytest.MonkeyPatch) -> int:
    """How often a bar over half a second of work is drawn on ``stream``."""
    monkeypatch.setattr("sys.stderr", stream)
    for _ in progress_bar(range(100)):
        time.sleep(0.006)
    return stream.getvalue().count("100 [")


def test_a_bar_is_lively_on_a_terminal_and_sparing_in_a_file(monkeypatch: pytest.MonkeyPatch) -> None:
    assert drawn(Terminal(), monkeypatch) > 3
    assert drawn(io.StringIO(), monkeypatch) == 2, "its start and its end"


def test_rows_of_a_log_do_not_redraw_its_bar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stderr", stream := io.StringIO())
    log = Log(tmp_path, 0, 40)
    for step in range(1, 41):
        log.advance()
        log.row(step, 0, 1e-3, Losses(*[0.5] * len(Losses._fields)), 100.0)
    log.close()
    assert stream.getvalue().count("step/s") <= 2
    assert "40/40" in stream.getvalue() and "loss 0.5" in stream.getvalue()
