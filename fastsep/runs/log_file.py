"""``log.csv``: read without trust, continued without loss, and never a reason to end a training.

Where a resumed training repeats steps, its rows take the place of the old ones. Lines that are no rows of ours stay.
"""

from __future__ import annotations

import csv
import io
import math
import os
from contextlib import suppress
from pathlib import Path

from fastsep.errors import warn
from fastsep.files import write_all, write_bytes
from fastsep.objective import Losses

COLUMNS = ("step", "epoch", "lr", *Losses._fields, "test_mse", "sequences_per_second")
Row = dict[str, float | str]


class ForeignError(Exception):
    """A file that is no log of ours; the message says why."""


class LogFile:
    """Rows as they come. What the disk does not take is kept in memory, and written once it does.

    Args:
        first_step: steps done before; rows beyond it are dropped.
    """

    def __init__(self, path: Path, first_step: int):
        self.path = path
        self._pending: list[bytes] = []
        self._warned = False
        try:
            lines = _read_lines(path)
        except (ForeignError, IsADirectoryError, PermissionError) as error:
            self._set_aside(getattr(error, "strerror", None) or error)
            return
        except OSError as error:
            self._warn(error)
            return
        kept = _drop_after(lines, first_step)
        if kept != lines or not lines:
            try:
                write_bytes(path, b"".join(kept) or _line(COLUMNS))
            except OSError as error:  # the old log is still there as it was, and rows are appended
                self._warn(error)

    def write(self, values: Row) -> None:
        """Append a row; values that are absent stay empty."""
        self._pending.append(_line([_text(values.get(name, "")) for name in COLUMNS]))
        try:
            descriptor = os.open(self.path, os.O_CREAT | os.O_RDWR | os.O_APPEND, 0o666)
            try:
                size = os.fstat(descriptor).st_size
                if size == 0:
                    write_all(descriptor, _line(COLUMNS))
                elif os.pread(descriptor, 1, size - 1) != b"\n":  # a line was cut short: by a full disk, by a crash
                    write_all(descriptor, b"\r\n")
                while self._pending:
                    write_all(descriptor, self._pending[0])
                    del self._pending[0]
            finally:
                os.close(descriptor)
        except OSError as error:
            self._warn(error)

    def _set_aside(self, reason: object) -> None:
        """Give another name to what is no log of ours, and start anew."""
        try:
            number = next(n for n in range(1, 1000) if not os.path.lexists(f"{self.path}.aside-{n}"))
            aside = self.path.with_name(f"{self.path.name}.aside-{number}")
            os.rename(self.path, aside)
            warn(f"{self.path} is no log of this run ({reason}): moved to {aside.name}, and begun anew")
        except OSError as error:
            self._warn(error)

    def _warn(self, error: OSError) -> None:
        if not self._warned:
            warn(f"cannot write {self.path} ({error.strerror}): the training goes on, rows follow when that is mended")
        self._warned = True


def read_log(run: Path) -> list[Row]:
    """The rows of a run's log, numbers as floats, by step; none, with a warning, where the file is not readable."""
    path = Path(run) / "log.csv"
    try:
        lines = _drop_after(_read_lines(path), math.inf)
    except (OSError, ForeignError) as error:
        warn(f"{path} is not read as a log ({getattr(error, 'strerror', None) or error})")
        return []
    return [row for row in map(_row, lines[1:]) if row is not None]


def _read_lines(path: Path) -> list[bytes]:
    """The lines of a log, its header first; none where there is no file. Raises OSError, ForeignError."""
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    if lines and _cells(lines[0].removeprefix(b"\xef\xbb\xbf")) != list(COLUMNS):  # editors may add a byte-order mark
        raise ForeignError("its first line does not name the columns of one")
    return lines


def _drop_after(lines: list[bytes], step: float) -> list[bytes]:
    """The lines without rows of ours that a resumed training wrote again, or will, and without what was cut short."""
    kept = []
    for line in reversed(lines[1:]):
        if not line.endswith(b"\n"):
            continue
        row = _row(line)
        if row is not None:
            if row["step"] > step:
                continue
            step = row["step"] - 1
        kept.append(line)
    return [line if line.endswith(b"\n") else line + b"\r\n" for line in lines[:1]] + kept[::-1]


def _row(line: bytes) -> Row | None:
    """A line as a row, None if it is none of ours."""
    cells = _cells(line)
    if len(cells) != len(COLUMNS):
        return None
    with suppress(ValueError):
        values = zip(COLUMNS, cells, strict=True)
        row = {name: (int(v) if name in ("step", "epoch") else float(v)) if v else "" for name, v in values}
        return row if row["step"] != "" else None
    return None


def _cells(line: bytes) -> list[str]:
    try:
        return next(csv.reader([line.decode(errors="replace")], strict=True), [])
    except csv.Error:
        return []


def _line(cells: object) -> bytes:
    buffer = io.StringIO()
    csv.writer(buffer).writerow(cells)
    return buffer.getvalue().encode()


def _text(value: float | str) -> str:
    return f"{value:.6g}" if isinstance(value, float) else str(value)
