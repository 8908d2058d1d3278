"""The ``record`` fixture: times a subject with pytest-benchmark, keeps its row; ``--save-results`` writes the rows."""

from __future__ import annotations

import gc
import os
import statistics
import time
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
import torch

from bench.environment import RESULTS, ceilings, describe, slug
from bench.profiling import shares
from bench.rows import Row, table_lines, write_json
from bench.subjects import Subject
from bench.timing import Beside, peak_bytes, start_memory, summarise, synchronise
from fastsep.machine.precision import cpu_has_bf16

ROWS: pytest.StashKey[list[Row]] = pytest.StashKey()
CEILINGS: pytest.StashKey[dict[str, dict[str, float]]] = pytest.StashKey()
BASELINE: pytest.StashKey[Subject | None] = pytest.StashKey()
CPU, GPU = torch.device("cpu"), torch.device("cuda")
SECONDS_A_ROW = 2.0


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--save-results", action="store_true", help="write bench/results/<device>/<group>.json for bench.report"
    )
    parser.addoption("--compiled", action="store_true", help="also what takes minutes a row to compile on a CPU")
    parser.addoption("--seconds-a-row", type=float, default=SECONDS_A_ROW, help="about how long to time each row [2]")


def pytest_configure(config: pytest.Config) -> None:
    config.stash[ROWS], config.stash[CEILINGS], config.stash[BASELINE] = [], {}, None


@pytest.fixture(params=["cpu", "cuda"])
def device(request: pytest.FixtureRequest) -> torch.device:
    """Each row once on the CPU and once on the GPU."""
    return torch.device(request.param)


def device_ceilings(config: pytest.Config, device: torch.device) -> dict[str, float]:
    """Matrix product and copy on ``device``, measured once in this run."""
    known = config.stash[CEILINGS]
    if device.type not in known:
        known[device.type] = ceilings(device)
    return known[device.type]


def baseline_of(config: pytest.Config, row: Row) -> Subject | None:
    """The naive reference of the row's task, if it was timed before; that of another task is let go.

    Only on a CPU: nobody else is on a GPU, and its rounds hardly drift.
    """
    subject = config.stash[BASELINE]
    if subject is not None and task(subject.row) != task(row):
        subject = config.stash[BASELINE] = None
    return subject


def task(row: Row) -> tuple[Any, ...]:
    """What rows have in common that do the same."""
    return row.group, row.device, row.case


def why_absent(row: Row, slow_to_compile: bool) -> str | None:
    """What this machine lacks for the row."""
    if row.device == "cuda":
        return None if torch.cuda.is_available() else "no GPU"
    if row.precision == "bf16" and not cpu_has_bf16():
        return "this CPU multiplies no bf16"
    return "compiling takes minutes on a CPU (with --compiled)" if slow_to_compile else None


@pytest.fixture
def record(benchmark: Any, request: pytest.FixtureRequest) -> Callable[..., None]:
    """``record(make, row)`` times the subject that ``make()`` returns, for about ``seconds``.

    On a CPU its rounds alternate with those of the naive reference, which is timed first.

    With ``absent`` it notes instead why there is no number. A row for hardware that is not here is absent by itself;
    one that is ``slow_to_compile`` on a CPU is measured only with ``--compiled``.
    """

    def run(
        make: Callable[[], Subject], row: Row, absent: str | None = None, slow_to_compile: bool = False,
        seconds: float | None = None,
    ) -> None:  # fmt: skip
        config = request.config
        slow = slow_to_compile and not config.getoption("--compiled")
        row.absent = why_absent(row, slow) or absent
        if row.absent is not None:
            config.stash[ROWS].append(row)
            pytest.skip(f"{row.key}: {row.absent}")

        baseline = baseline_of(config, row)
        gc.collect()
        torch.compiler.reset()  # else graphs of earlier rows count against the limit of recompilations
        place = torch.device(row.device)
        best = device_ceilings(config, place)
        start = start_memory(place)
        begin = time.perf_counter()
        subject = make()
        row = subject.row

        def call() -> None:
            subject.call()
            synchronise(place)

        call()  # compiles, fills caches
        row.info["first_call_seconds"] = time.perf_counter() - begin
        begin = time.perf_counter()
        row.peak_bytes = peak_bytes(call, place, start)
        once = max(time.perf_counter() - begin, 1e-6)
        beside = Beside(baseline.call, place) if baseline else None
        both = once + baseline.row.seconds["median"] * baseline.times if baseline else once
        rounds = min(max(int((seconds or config.getoption("--seconds-a-row")) / both), 3), 50)
        if row.group.startswith("step/") and row.way.startswith("fastsep"):
            row.info["operators"] = shares(call, place)

        case = " ".join(f"{name} {value}" for name, value in row.case.items())
        scaling = row.group.startswith("scaling")
        if scaling:
            benchmark.group, benchmark.name = f"{row.group} ({row.device})", f"{row.way} {case}"
        else:
            benchmark.group, benchmark.name = f"{row.group} {case} ({row.device})", f"{row.way} {row.precision}"
        benchmark.pedantic(call, setup=beside, rounds=rounds, iterations=1)
        if benchmark.stats is not None:  # None under --benchmark-disable
            times = [t / subject.times for t in benchmark.stats.stats.data]
            row.seconds = summarise(times).to_json()
            if beside:
                row.reference_seconds = statistics.median(beside.times) / baseline.times
            elif (row.way, row.precision, row.device) == ("reference", "fp32", "cpu") and not scaling:
                config.stash[BASELINE] = subject
            row.info["of_ceiling"] = row.of_ceiling(best)
            benchmark.extra_info.update(
                row.to_json(), per_second=row.per_second, ceilings=best, environment=describe(place)
            )
            config.stash[ROWS].append(row)

    return run


def pytest_sessionfinish(session: pytest.Session) -> None:
    config = session.config
    rows = config.stash[ROWS]
    if not rows or not config.getoption("--save-results"):
        return
    for place in (CPU, GPU):
        if not any(row.device == place.type and row.seconds for row in rows):
            continue
        # Without a GPU its rows stand, as absent, beside those of the CPU.
        mine = [row for row in rows if row.device == place.type or (place == CPU and row.absent)]
        for group in {row.group for row in mine}:
            value = {
                "environment": describe(place),
                "ceilings": device_ceilings(config, place),
                "rows": [row.to_json() for row in mine if row.group == group],
            }
            write_json(RESULTS / slug(place) / f"{group.replace('/', '-')}.json", value)


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    rows = config.stash[ROWS]
    compared = [row for row in rows if not row.group.startswith("scaling")]
    if any(row.seconds for row in compared):
        terminalreporter.section("medians, and times the naive reference in rounds beside it")
        terminalreporter.write("\n".join([*table_lines(compared), "", ""]))
    absent = Counter(row.absent for row in rows if row.absent)
    for reason, count in absent.items():
        terminalreporter.write_line(f"{count} rows not measured: {reason}")
    for place in config.stash[CEILINGS]:
        best = config.stash[CEILINGS][place]
        terminalreporter.write_line(
            f"{place} ceilings: matrix product "
            + ", ".join(f"{best[key] / 1e12:.2f} TFLOP/s {key[7:]}" for key in best if key.startswith("matmul"))
            + f"; copy {best['copy'] / 1e9:.0f} GB/s"
        )
    if config.getoption("--save-results") and any(row.seconds for row in rows):
        where = os.path.relpath(RESULTS, config.rootpath)
        terminalreporter.write_line(f"results in {where}; draw them up with: python -m bench.report")
