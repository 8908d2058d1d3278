"""What becomes of output that nobody takes: nothing is raised for it, and nothing of it lands in files."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from fastsep.output import lenient_output


@pytest.mark.parametrize("buffering", [1, -1])
def test_a_reader_that_went_away_raises_nothing(buffering, monkeypatch):
    reader, writer = os.pipe()
    os.close(reader)
    with open(writer, "w", buffering=buffering) as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with lenient_output():
            for _ in range(3):
                print("x" * 10_000)
            sys.stdout.flush()
        print("nor afterwards", flush=True)
        monkeypatch.undo()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
def test_a_full_disk_behind_stdout_raises_nothing(monkeypatch):
    with open("/dev/full", "w") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with lenient_output():
            print("x" * 10_000, flush=True)
            print("x" * 10_000, flush=True)
        monkeypatch.undo()


def test_letters_that_the_output_lacks_are_replaced(tmp_path, monkeypatch):
    with (tmp_path / "out").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        with lenient_output():
            print("°C")
        monkeypatch.undo()
    assert (tmp_path / "out").read_text() == "?C\n"


def test_a_command_with_closed_output_writes_no_news_into_its_files(tmp_path):
    script = f"""
import os, sys
from fastsep import entry

def main():
    file = open({str(tmp_path / "data")!r}, "w")
    print("news")
    print("news", file=sys.stderr)
    os.write(2, b"news")
    file.write("data")

entry.run(main)
"""
    done = subprocess.run(["sh", "-c", 'exec "$0" -c "$1" >&- 2>&- <&-', sys.executable, script], timeout=60)
    assert done.returncode == 0
    assert (tmp_path / "data").read_text() == "data"
