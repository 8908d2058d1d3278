from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from fastsep.data.host_memory import host_free_bytes

MB = 1 << 20


def machine(root: Path, groups: str, **files: int | str) -> Path:
    """A tree of proc and sys with 1,000 MB free and the given files under sys/fs/cgroup."""
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/meminfo").write_text(f"MemTotal: 9 kB\nMemAvailable: {1000 * 1024} kB\n")
    (root / "proc/self/cgroup").write_text(groups)
    for name, value in files.items():
        path = root / "sys/fs/cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{value}\n")
    return root


def test_without_groups_it_is_what_the_machine_has(tmp_path):
    assert host_free_bytes(machine(tmp_path, "")) == 1000 * MB


def test_the_second_versions_limit_holds_wherever_above_the_process_it_is_set(tmp_path):
    files = {
        "a/memory.max": 300 * MB, "a/memory.current": 120 * MB, "a/memory.stat": f"anon 5\ninactive_file {20 * MB}",
        "a/b/memory.max": "max", "a/b/memory.current": 1, "a/b/memory.stat": "inactive_file 0",
    }  # fmt: skip
    assert host_free_bytes(machine(tmp_path, "0::/a/b\n", **files)) == 200 * MB


def test_the_first_versions_limit_holds_too_and_an_outer_path_is_passed_over(tmp_path):
    files = {
        "memory/memory.limit_in_bytes": 50 * MB, "memory/memory.usage_in_bytes": 45 * MB,
        "memory/memory.stat": f"total_inactive_file {5 * MB}",
    }  # fmt: skip
    root = machine(tmp_path, "9:pids:/x\n4:cpu,memory:/not/seen/from/inside\n0::/\n", **files)
    assert host_free_bytes(root) == 10 * MB


def test_more_than_the_limit_in_use_leaves_nothing(tmp_path):
    files = {"memory.max": 10, "memory.current": 20, "memory.stat": "inactive_file 0"}
    assert host_free_bytes(machine(tmp_path, "0::/\n", **files)) == 0


def test_no_limit_of_the_first_version_is_a_large_number(tmp_path):
    files = {
        "memory/memory.limit_in_bytes": 9223372036854771712, "memory/memory.usage_in_bytes": 1,
        "memory/memory.stat": "total_inactive_file 0",
    }  # fmt: skip
    assert host_free_bytes(machine(tmp_path, "4:memory:/\n", **files)) == 1000 * MB


def test_the_process_own_limit_holds():
    limit = (
        "import resource; from fastsep.data.host_memory import host_free_bytes;"
        "resource.setrlimit(resource.RLIMIT_AS, (8 << 30, 8 << 30));"
        "free = host_free_bytes(); assert 0 < free < 8 << 30, free;"
        "resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 8 << 30)); print(host_free_bytes())"
    )
    done = subprocess.run([sys.executable, "-c", limit], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 1 << 30


@pytest.mark.parametrize("text", ["", "nonsense\n", "4:memory\n"])
def test_what_cannot_be_understood_is_no_limit(tmp_path, text):
    assert host_free_bytes(machine(tmp_path, text)) == 1000 * MB
