"""How much memory this process may still take: the machine's, its control groups' and its own limit, the least of them.

A batch system or a container kills a process that passes its control group's limit, however much the machine has free.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator
from pathlib import Path

# What counts as used and yet is given back on demand: file pages not used lately. (limit, usage, name in memory.stat)
_VERSION_1 = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
_VERSION_2 = ("memory.max", "memory.current", "inactive_file")


def host_free_bytes(root: Path = Path("/")) -> int:
    """Bytes that the process may still allocate without being killed.

    Args:
        root: where ``proc`` and ``sys`` lie.
    """
    return max(0, min(_machine(root), *_control_groups(root), _own_limit(root)))


def _machine(root: Path) -> int:
    try:
        for line in (root / "proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    except OSError:  # not Linux
        pass
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2


def _control_groups(root: Path) -> Iterator[int]:
    """What each control group above the process leaves it; none where there is no limit."""
    try:
        lines = (root / "proc/self/cgroup").read_text().splitlines()
    except OSError:
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        number, controllers, path = [*line.split(":", 2), "", ""][:3]
        if number == "0" and not controllers:
            places = [(place, _VERSION_2) for place in (mount, mount / "unified")]
        elif "memory" in controllers.split(","):
            places = [(mount / "memory", _VERSION_1)]
        else:
            continue
        for place, names in places:
            # Within a container the path may be the outer one: what is not there is passed over, up to the mount.
            group = place / path.lstrip("/")
            for folder in (group, *group.parents):
                left = _left(folder, *names)
                if left is not None:
                    yield left
                if folder == place:
                    break


def _left(folder: Path, limit_file: str, usage_file: str, reclaimable: str) -> int | None:
    try:
        limit = (folder / limit_file).read_text().strip()
        if limit == "max":
            return None
        usage = int((folder / usage_file).read_text())
        lines = (folder / "memory.stat").read_text().splitlines()
        given_back = sum(int(value) for name, value in (line.split() for line in lines) if name == reclaimable)
        return int(limit) - usage + given_back
    except (OSError, ValueError):
        return None


def _own_limit(root: Path) -> int:
    limit, _ = resource.getrlimit(resource.RLIMIT_AS)
    if limit == resource.RLIM_INFINITY:
        return 1 << 62
    try:
        pages = int((root / "proc/self/statm").read_text().split()[0])
    except OSError:
        pages = 0
    return limit - pages * os.sysconf("SC_PAGE_SIZE")
