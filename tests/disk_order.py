"""In what order files reach the disk and get their names, as a crash would find them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest


@contextmanager
def safely_named() -> Iterator[list[str]]:
    """The names that were given within; fails for one given before all under it is on the disk, or whose directory is
    not flushed afterwards."""
    flushed: set[tuple[int, int]] = set()
    named: list[str] = []
    waiting: dict[tuple[int, int], str] = {}
    real = {name: getattr(os, name) for name in ("fsync", "replace", "rename")}

    def key(status: os.stat_result) -> tuple[int, int]:
        return status.st_dev, status.st_ino

    def fsync(descriptor: int) -> None:
        real["fsync"](descriptor)
        flushed.add(key(os.fstat(descriptor)))
        waiting.pop(key(os.fstat(descriptor)), None)

    def named_by(name: str):
        def give(source, target, **how) -> None:
            source = Path(source)
            below = [*source.rglob("*"), source] if source.is_dir() else [source]
            missed = [path.name for path in below if key(path.stat()) not in flushed]
            assert not missed, f"{target} gets its name while {missed} may be lost"
            real[name](source, target, **how)
            named.append(Path(target).name)
            waiting[key(os.stat(Path(target).parent))] = str(target)

        return give

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        for name in ("replace", "rename"):
            patch.setattr(os, name, named_by(name))
        yield named
    assert not waiting, f"the name of {[*waiting.values()]} may be lost"
