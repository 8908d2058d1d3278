"""Mutations: changed files of every kind that the program reads, read as a user would have them read.

Whatever was changed, reading ends in one of two ways: one line that says what is wrong, or numbers that are finite and,
where checksums cover them, those that were written. Never a traceback, a crash, a hang or a new file. Each mutation has
a number, and is the same whenever it is tried. ``python -m bench.trust.mutations 3000`` tries as many and prints the
counts, with names of kinds after it those of these kinds; ``python -m bench.trust.mutations "wave.h5" 17`` a single
one.
"""

from __future__ import annotations

import contextlib
import faulthandler
import io
import json
import os
import random
import resource
import select
import shutil
import signal
import sys
import tempfile
import traceback
import warnings
import zlib
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch

from bench.trust.format import Format
from bench.trust.formats import FORMATS
from bench.trust.mutate import mutate
from fastsep.errors import UserError

_BATCH = 500  # mutations of a child process
_PATIENCE = 15  # seconds, more than a guarded call takes before it is given up
_MEMORY = 3 << 30  # bytes that a child may take beyond what it was born with
REFUSED, SAME, READ = "refused", "read as written", "read otherwise"
_ALLOWED = (REFUSED, SAME, READ)


class EndlessError(BaseException):
    """Time is up; no reader takes it for damage of its file."""


def try_mutations(count: int, folder: Path, names: list[str] | None = None) -> dict[str, Any]:
    """Try ``count`` mutations, spread over the kinds of files; ``folder`` is empty, and is left so.

    Returns:
        Counts of what happened.

    Raises:
        AssertionError: a traceback, a crash, a hang, a number that is not as written; the message says which mutations.
    """
    chosen = {name: FORMATS[name] for name in names or FORMATS}
    total = sum(kind.share for kind in chosen.values())
    counts, wrong = Counter(), []
    for name, kind in chosen.items():
        number = max(1, round(count * kind.share / total))
        for outcome, detail, which in _try_kind(name, kind, number, folder / "kind"):
            counts[outcome] += 1
            if outcome not in _ALLOWED:
                wrong.append(f"{name!r} {which}: {outcome}\n{detail}")
    assert not wrong, f"{len(wrong)} mutations went wrong:\n" + "\n".join(wrong[:20])
    return {
        "mutations": counts.total(),
        "kinds": len(chosen),
        **{outcome: counts[outcome] for outcome in _ALLOWED},
        "crashes": 0,
        "tracebacks": 0,
    }


def _try_kind(name: str, kind: Format, count: int, folder: Path) -> list[tuple[str, str, int]]:
    """(what happened, details, number of the mutation) of each; a child that dies is followed by another."""
    good = prepare(kind, folder)
    results: list[tuple[str, str, int]] = []
    while len(results) < count:
        first = len(results)
        some, status = _in_child(name, kind, folder, good, range(first, min(first + _BATCH, count)))
        results += some
        if len(results) < min(first + _BATCH, count):
            what = "a hang" if status == -signal.SIGKILL else f"a crash with status {status}"
            results.append((what, "", len(results)))
    shutil.rmtree(folder)
    return results


def prepare(kind: Format, folder: Path) -> set[int]:
    """Make a good sample in ``folder``; what reading it may give."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    torch.manual_seed(0)
    kind.make(folder)
    good = {_digest(kind, folder)}
    if kind.files.startswith("checkpoints"):  # without the newest checkpoint the one before is as good
        newest = max((folder / "checkpoints").iterdir())
        newest.rename(folder / "away")
        good.add(_digest(kind, folder))
        (folder / "away").rename(newest)
    return good


def _in_child(
    name: str, kind: Format, folder: Path, good: set[int], numbers: range
) -> tuple[list[tuple[str, str, int]], int]:
    """Try mutations in a process of their own: what happened to those that it came to, and its status."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        status = 1
        try:
            with os.fdopen(writing, "w") as pipe, contextlib.redirect_stderr(io.StringIO()):
                _limit_memory()
                for number in numbers:
                    print(json.dumps([*_try_one(name, kind, folder, good, number), number]), file=pipe, flush=True)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    said = b""
    with contextlib.closing(os.fdopen(reading, "rb", 0)) as pipe:
        # A library that loops in C hears no alarm.
        while select.select([pipe], [], [], 2 * _PATIENCE)[0] and (more := pipe.read(1 << 16)):
            said += more
    os.kill(child, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    return [tuple(json.loads(line)) for line in said.splitlines() if line.endswith(b"]")], status


def _limit_memory() -> None:
    pages = int(Path("/proc/self/statm").read_text().split()[0])
    limit = pages * os.sysconf("SC_PAGE_SIZE") + _MEMORY
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    faulthandler.disable()  # a crash is counted, and its stack would only hide what is printed otherwise
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")


def _try_one(name: str, kind: Format, folder: Path, good: set[int], number: int) -> tuple[str, str]:
    chance = random.Random(f"{name} {number}")
    targets = sorted(folder.glob(kind.files))
    target, other = chance.choice(targets), chance.choice(targets)
    data = target.read_bytes()
    changed = mutate(data, other.read_bytes() if other != target else data[::-1], chance)
    before = sorted(folder.rglob("*"))
    target.write_bytes(changed)
    signal.signal(signal.SIGALRM, _give_up)
    signal.alarm(_PATIENCE)
    try:
        digest = _digest(kind, folder)
        outcome = SAME if digest in good else READ
        if outcome == READ and kind.checked:
            return "other numbers than were written", ""
    except UserError as error:
        if "\n" in str(error) or not str(error):
            return "a message of several lines", str(error)
        outcome = REFUSED
    except BaseException:
        return "a traceback", traceback.format_exc(limit=-6)
    finally:
        signal.alarm(0)
        target.write_bytes(data)
    return ("a new file", "") if sorted(folder.rglob("*")) != before else (outcome, "")


def _give_up(signum: int, frame: Any) -> None:
    raise EndlessError(f"nothing came of it within {_PATIENCE} s")


def _digest(kind: Format, folder: Path) -> int:
    """One number for all that is read. Raises ValueError for numbers that are not finite."""
    value = 0
    for item in kind.read(folder):
        if isinstance(item, str):
            value = zlib.crc32(item.encode(errors="surrogatepass"), value)
            continue
        array = np.asarray(item)
        if array.dtype.kind == "f" and not np.isfinite(array).all():
            raise ValueError("numbers that are not finite")
        value = zlib.crc32(np.ascontiguousarray(array).tobytes(), zlib.crc32(str(array.shape).encode(), value))
    return value


def main() -> None:
    """Try many mutations and print the counts, or one and say what happened."""
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "kind"
        if sys.argv[1].isdigit():
            print(json.dumps(try_mutations(int(sys.argv[1]), Path(folder), sys.argv[2:]), indent=1))
        else:
            name, number = sys.argv[1], int(sys.argv[2])
            good = prepare(FORMATS[name], place)
            print(*_try_one(name, FORMATS[name], place, good, number))


if __name__ == "__main__":
    main()
