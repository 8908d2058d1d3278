"""Who may import whom: the arrows of the README, kept by the imports themselves."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
DRIVERS = {"training", "evaluation", "inference"}
UPWARDS = ["kernels", "networks", "model", "objective", "runs"]


def imported(path: Path) -> Iterator[str]:
    """Modules that a file names anywhere, within functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "fastsep":
            yield from (f"fastsep.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} imports by a relative name"
            yield node.module


def part(module: str) -> str:
    """``fastsep.data.wave.reader`` is in ``data``, ``kernels.wave`` in ``kernels``; a data set's own protocol is
    evaluation's, which alone imports it."""
    top, *rest = module.split(".")
    if rest[:1] == ["data"] and rest[-1] == "protocol":
        return "evaluation"
    return rest[0] if top == "fastsep" and rest else top


@pytest.fixture(scope="module")
def graph() -> dict[str, set[str]]:
    """What each package or module of ``fastsep``, and ``kernels``, imports of this project."""
    found: dict[str, set[str]] = {}
    for top in ("fastsep", "kernels"):
        for path in (ROOT / top).rglob("*.py"):
            mine = part(".".join(path.relative_to(ROOT).with_suffix("").parts))
            ours = {module for module in imported(path) if module.split(".")[0] in ("fastsep", "kernels", "bench")}
            found.setdefault(mine, set()).update({part(module) for module in ours} - {mine})
    return found


def test_nothing_turns_back(graph: dict[str, set[str]]) -> None:
    assert len(list(TopologicalSorter(graph).static_order())) > 30  # a circle raises, and names itself


def test_arrows_point_down(graph: dict[str, set[str]]) -> None:
    for place, name in enumerate(UPWARDS):
        assert not graph[name] & {*UPWARDS[place + 1 :], *DRIVERS}, name
    assert not graph["data"] & set(UPWARDS[1:])


def test_kernels_know_tensors_only(graph: dict[str, set[str]]) -> None:
    assert graph["kernels"] == set()


def test_what_drives_does_not_know_who_else_drives(graph: dict[str, set[str]]) -> None:
    for driver in DRIVERS:
        assert not graph[driver] & (DRIVERS - {driver})


def test_what_is_driven_does_not_know_by_whom(graph: dict[str, set[str]]) -> None:
    commands = {path.stem for path in (ROOT / "fastsep").glob("*.py") if "entry.run(" in path.read_text()}
    assert len(commands) > 8
    for name in graph.keys() - commands - {"__init__"}:
        assert not graph[name] & (commands | DRIVERS), name


def test_products_do_without_benchmarks(graph: dict[str, set[str]]) -> None:
    assert not any("bench" in imports for imports in graph.values())
