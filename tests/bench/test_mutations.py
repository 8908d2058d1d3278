"""Changed files of every kind end in one line or in the numbers that were written, and no code in a file is run."""

from __future__ import annotations

import ctypes
import io
import json
import os
import pickle
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from bench.trust import mutations
from bench.trust.format import Format
from bench.trust.formats import FORMATS
from bench.trust.frame_formats import FRAME_FORMATS
from bench.trust.mutations import prepare, try_mutations
from fastsep.errors import UserError
from fastsep.runs.checkpoint import newest_checkpoint
from fastsep.runs.manifest import describe, read_manifest, to_bytes

ROOT = Path(__file__).parents[2]


def mutations_of(count: int, *names: str) -> dict[str, int]:
    """Counts of what happened, in a process of its own, which has no threads that the forks would lack."""
    command = [sys.executable, "-m", "bench.trust.mutations", str(count), *names]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, env=os.environ | {"OMP_NUM_THREADS": "1"})
    assert done.returncode == 0, done.stderr[-8000:]
    return json.loads(done.stdout)


def run_mutations(count: int) -> None:
    counts = mutations_of(count)
    assert abs(counts["mutations"] - count) < len(FORMATS) and counts["kinds"] == len(FORMATS)
    assert counts["refused"] > count / 4 and counts["read as written"] > count / 20


def test_some_changed_files():
    run_mutations(240)


@pytest.mark.slow
def test_a_hundred_thousand_changed_files():
    run_mutations(100_000)


@pytest.mark.slow
@pytest.mark.parametrize("name", FRAME_FORMATS)
def test_two_thousand_changed_files_of_frames(name: str) -> None:
    counts = mutations_of(2_000, name)
    assert counts["mutations"] == 2_000 and counts["refused"] > 500


def make(folder: Path) -> None:
    (folder / "x").write_bytes(bytes(range(100)))


def harmless(folder: Path):
    if (folder / "x").read_bytes() != bytes(range(100)):
        raise UserError("it is damaged")
    yield 1


def crashing(folder: Path):
    yield from harmless(folder) if len((folder / "x").read_bytes()) >= 100 else (ctypes.string_at(0),)


def broken(folder: Path):
    yield (folder / "x").read_bytes().index(7)


def plausible(folder: Path):
    yield len((folder / "x").read_bytes())


def littering(folder: Path):
    (folder / f"new{time.monotonic_ns()}").write_text("half")
    yield 1


def endless(folder: Path):
    if (folder / "x").read_bytes() != bytes(range(100)):
        time.sleep(60)
    yield 1


def infinite(folder: Path):
    yield 1.0 if (folder / "x").read_bytes() == bytes(range(100)) else float("nan")


@pytest.mark.parametrize(
    ("read", "says"),
    [
        (crashing, "a crash with status -11"),
        (broken, "a traceback"),
        (plausible, "other numbers than were written"),
        (littering, "a new file"),
        (endless, "nothing came of it"),
        (infinite, "not finite"),
    ],
)
def test_what_must_not_happen_is_seen(read: Callable, says: str, tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setattr(mutations, "_PATIENCE", 1)
    monkeypatch.setitem(FORMATS, "made", Format(make, "x", read, checked=True))
    count = {endless: 2, crashing: 20}.get(read, 60)
    with pytest.raises(AssertionError, match=says):
        try_mutations(count, tmp_path, ["made"])


def test_counts_of_what_is_as_it_should_be(tmp_path: Path, monkeypatch) -> None:
    monkeypatch.setitem(FORMATS, "made", Format(make, "x", harmless, checked=True))
    counts = try_mutations(50, tmp_path, ["made"])
    assert counts["mutations"] == 50 == counts[mutations.REFUSED] + counts[mutations.SAME]
    assert counts["tracebacks"] == counts["crashes"] == counts[mutations.READ] == 0
    assert not list(tmp_path.iterdir())


class Payload:
    """Unpickling this makes a file."""

    def __init__(self, target: Path):
        self.target = target

    def __reduce__(self):
        return os.mkdir, (str(self.target),)


def payloads(target: Path) -> list[bytes]:
    """A payload as each pickling library writes it, and as a text that some readers of texts would run."""
    numpy, archive, before = (io.BytesIO() for _ in range(3))
    np.save(numpy, np.array([Payload(target)], object), allow_pickle=True)
    torch.save({"simul": Payload(target), "step": Payload(target)}, archive)
    torch.save({"simul": Payload(target)}, before, _use_new_zipfile_serialization=False)
    code = f"__import__('os').mkdir({str(target)!r})"
    pickles = [pickle.dumps(Payload(target), protocol) for protocol in (0, 2, 4)]
    return [*pickles, numpy.getvalue(), archive.getvalue(), before.getvalue(), code.encode()]


@pytest.mark.parametrize("name", FORMATS)
def test_a_payload_in_place_of_any_file_does_not_run(name: str, tmp_path: Path) -> None:
    kind, harm = FORMATS[name], tmp_path / "harm"
    prepare(kind, tmp_path / "kind")
    for target in sorted((tmp_path / "kind").glob(kind.files)):
        good = target.read_bytes()
        for data in payloads(harm):
            target.write_bytes(data)
            with suppress(UserError):
                list(kind.read(tmp_path / "kind"))
            assert not harm.exists()
        target.write_bytes(good)


@pytest.mark.parametrize("listed", [True, False], ids=["listed with its checksum", "from before there were manifests"])
def test_a_payload_in_what_a_run_goes_on_from_does_not_run(listed: bool, tmp_path: Path) -> None:
    run, harm = tmp_path / "run", tmp_path / "harm"
    prepare(FORMATS["checkpoint"], run)
    if not listed:
        (run / "run.json").unlink()
    for data in payloads(harm):
        for folder in (run / "checkpoints").iterdir():
            (folder / "state.pt").write_bytes(data)
            if listed:
                known = read_manifest(folder)
                fitting = replace(known, parts={**known.parts, "state.pt": describe(data)})
                (folder / "manifest.json").write_bytes(to_bytes(fitting))
            else:
                (folder / "manifest.json").unlink(missing_ok=True)
        with pytest.raises(UserError, match=r"state\.pt"):
            newest_checkpoint(run)
        assert not harm.exists()
    assert newest_checkpoint(run, state=False).step == 16


def test_the_payloads_do_harm_where_they_are_trusted(tmp_path: Path) -> None:
    pickle.loads(payloads(tmp_path / "harm")[0])
    assert (tmp_path / "harm").exists()
