"""RESULTS.md and the README's block as text, from results alone."""

from __future__ import annotations

import statistics
from collections import Counter
from collections.abc import Sequence
from typing import Any

from bench.reporting.compare import best, score_at_40, tasks
from bench.reporting.process_tables import GROUP, processes_table
from bench.reporting.results_files import Device, Group
from bench.reporting.schedule_tables import best_schedules, schedules_section
from bench.reporting.text import duration, number, rate
from bench.reproduce import RUNS, SEEDS
from bench.rows import NOT_MEASURED, Row, baseline_seconds, speedup
from bench.scaling import AXES, exponent

HEAD = (
    "| way | precision | case | median | p20 to p80 | per second | x reference | of the ceiling | memory | first call |"
)
INTRODUCTION = """\
Written by `python -m bench.report` from `bench/results/`; not to be edited. Times are medians of repeated rounds after
warm-up, the device synchronised around each round; a captured step is one of eight in a row (before f114cad, and
so that of wave on the H100, one by one). *x reference* is sequences a second over the naive eager float32
reference of `bench/reference`, measured in the same run; on a CPU its rounds go between the row's own, so that the
moods of a shared host fall on both. *Compiled* is `torch.compile` around the whole task, or around each network where a
task unrolled over its frames takes minutes to compile: on a CPU, and for convolutional steps and forecasts. *Of the
ceiling* is the time that the device's own matrix product and copy, as last measured there, would need for the task's
arithmetic and for its least traffic (the longer of the two), over the measured time; arithmetic is counted as the
reference does it, so work that is avoided counts as done. *First call* holds compilation and warm-up. *Memory* is all
that a task holds at most on a GPU, and what one call adds on a CPU."""
README_GROUPS = ("step", "generate", "rollout", "forecast")
PER_SECOND = {"metrics": "frames", "conv_block": "frames", "call_norm": "frames"}


def results_page(devices: list[Device]) -> str:
    """The whole of RESULTS.md."""
    parts = [
        "# Results\n",
        INTRODUCTION.replace("\n", " ") + "\n",
        devices_table(devices),
        *(device_section(device, devices) for device in devices),
    ]
    if not any(device.is_gpu for device in devices):
        parts.append("## GPU\n\nNot measured. `python -m bench.gpu_suite --out DIR` measures everything on one.\n")
    return "\n".join(parts)


def devices_table(devices: list[Device]) -> str:
    """Where the numbers come from."""
    lines = [
        "| device | date | commit | versions | fp32 product | bf16 product | copy |",
        "|---|---|---|---|---|---|---|",
    ]
    for device in devices:
        facts, top = device.environment, device.ceilings
        versions = ", ".join(f"{k} {v}" for k, v in facts.get("versions", {}).items() if v != "absent")
        rates = [f"{rate(top[k])}FLOP/s" if k in top else NOT_MEASURED for k in ("matmul_fp32", "matmul_bf16")]
        copy = f"{rate(top['copy'])}B/s" if "copy" in top else NOT_MEASURED
        cells = (device.name, facts.get("date"), facts.get("commit"), versions, *rates, copy)
        lines.append("| " + " | ".join(str(cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def device_section(device: Device, devices: Sequence[Device] = ()) -> str:
    """Everything known of one device."""
    parts = [f"## {device.name}\n"]
    charts = {
        "speedup": "Speed-up", "roofline": "Roofline", "forecast": "Time against horizon", "rollout": "Rollout",
        "scaling": "Scaling", "training": "Training",
    }  # fmt: skip
    parts += [summary_table(device)]
    parts += [reproduction_table(device)] if device.runs else []
    parts += [schedules_section(device, devices)] if device.schedules else []
    parts += [f"![{title}](results/{device.slug}/{name}.png)\n" for name, title in charts.items() if _has(device, name)]
    parts += [scaling_table(device)] if device.matching("scaling") else []
    parts += [processes_table(device)] if device.matching(GROUP) else []
    parts += [note_section(device)] if device.notes else []
    parts += [group_section(group) for name, group in sorted(device.groups.items()) if not name.startswith("scaling")]
    return "\n".join(parts)


def _has(device: Device, chart: str) -> bool:
    from bench.environment import RESULTS

    return (RESULTS / device.slug / f"{chart}.png").exists()


def summary_table(device: Device) -> str:
    """The fastest way of each task beside the reference."""
    lines = ["| task | reference | fastsep | x reference | way |", "|---|---|---|---|---|"]
    for task, rows in tasks(device):
        slow, fast = (
            best([r for r in rows if r.way == "reference" and r.precision == "fp32"], "reference"),
            best(rows, "fastsep"),
        )
        if fast and slow:
            before, after = one(slow, baseline_seconds(fast, slow)), one(fast, fast.seconds["median"])
            gain = number(speedup(fast, rows))
            lines.append(f"| {task} | {before} | {after} | {gain} | {fast.way} {fast.precision} |")
    return "\n".join(lines) + "\n" if len(lines) > 2 else ""


def one(row: Row, seconds: float) -> str:
    """``seconds`` of a call, or of one of the sequences that it generates."""
    return duration(seconds / (row.case.get("sequences") or 1))


def group_section(group: Group) -> str:
    """All rows of a group, and why others are missing."""
    facts = group.environment
    lines = [f"### {group.name}\n", f"{facts['device']}, commit {facts['commit']}, {facts['date']}.\n"]
    if group.timed:
        lines += [HEAD, "|" + "---|" * (HEAD.count("|") - 1)]
        lines += [row_line(row, group) for row in group.timed]
    absent: dict[str, list[str]] = {}
    for row in group.rows:
        if row.absent:
            absent.setdefault(row.absent, []).append(f"{row.way} {row.precision} ({row.device})")
    for reason, ways in absent.items():
        lines.append(f"\nNot measured, {reason}: {', '.join(dict.fromkeys(ways))}.")
    operators = [row for row in group.timed if row.info.get("operators")]
    for row in operators[-1:]:
        shares = ", ".join(f"{o['name']} {o['share']:.0%}" for o in row.info["operators"])
        lines.append(f"\nWhere {row.way} {row.precision} spends its time: {shares}.")
    return "\n".join(lines) + "\n"


def achieved(row: Row) -> str:
    """Items a second; of a layer alone arithmetic and least traffic a second instead."""
    if "layer" in row.case and row.flops and row.bytes:
        flops, traffic = row.flops / row.seconds["median"], row.bytes / row.seconds["median"]
        return f"{number(flops / 1e12)} TFLOP/s, {number(traffic / 1e9)} GB/s"
    return f"{number(row.per_second)} {PER_SECOND.get(row.group, 'sequences')}" if row.per_second else ""


def row_line(row: Row, group: Group) -> str:
    """One line of a group's table."""
    times, gain, share = row.seconds, speedup(row, group.rows), group.of_ceiling(row)
    cells = (
        row.way,
        row.precision,
        ", ".join(f"{name} {value}" for name, value in row.case.items()),
        duration(times["median"]),
        f"{duration(times['p20'])} to {duration(times['p80'])} ({times['rounds']})",
        achieved(row),
        number(gain) if gain else "",
        f"{share:.1%}" if share else "",
        f"{number(row.peak_bytes / 2**20)} MiB" if row.peak_bytes is not None else "",
        duration(row.info["first_call_seconds"]) if row.info.get("first_call_seconds") else "",
    )
    return "| " + " | ".join(cells) + " |"


def scaling_table(device: Device) -> str:
    """Fitted exponents of time and memory."""
    lines = ["### Scaling\n", "| axis | way | range | time grows as | memory grows as |", "|---|---|---|---|---|"]
    for axis in AXES:
        group = device.groups.get(f"scaling/{axis}")
        for way in dict.fromkeys(row.way for row in group.timed) if group else ():
            rows = [row for row in group.timed if row.way == way]
            x = [row.case[axis] for row in rows]
            fits = [
                exponent(x, [row.seconds["median"] for row in rows]),
                exponent(x, [row.peak_bytes or 0 for row in rows]),
            ]
            texts = [f"{axis}^{p:.2f}" if p is not None else NOT_MEASURED for p in fits]
            lines.append(f"| {axis} | {way} | {min(x)} to {max(x)} | {texts[0]} | {texts[1]} |")
    return "\n".join(lines) + "\n"


def reproduction_table(device: Device) -> str:
    """MSE at t+40 of every training run at each step where it was scored."""
    head = "| run | seeds | step | training time | MSE at t+40 | persistence | mean frame |"
    title = "### Reproduction: WaveEq, MSE at t+40 on all test windows, mean ± standard deviation over seeds\n"
    lines = [title, head, "|" + "---|" * (head.count("|") - 1)]
    for name in dict.fromkeys(run["run"] for run in device.runs):
        scores = [score for run in device.runs if run["run"] == name for score in run.get("scores", ())]
        for step in sorted({score["step"] for score in scores}):
            lines.append(f"| {name} | {scored([score for score in scores if score['step'] == step])} |")
    if device.is_gpu:  # where the whole of it takes minutes
        seeds = Counter(run["run"] for run in device.runs if run.get("scores"))
        missing = [f"{name} ({SEEDS - seeds[name]} of {SEEDS} seeds)" for name in RUNS if seeds[name] < SEEDS]
        lines += [f"\nNot measured: {', '.join(missing)}."] if missing else []
    return "\n".join(lines) + "\n"


def scored(scores: list[dict[str, Any]]) -> str:
    """Table cells of one stop of a training run: seeds, step, time, score, baselines."""
    values = [score_at_40(score) for score in scores]
    spread = f" ± {statistics.stdev(values):.1e}" if len(values) > 1 else ""
    known = scores[0]["metrics"]["scores"]
    others = [known.get(other, {}).get("mse", {}).get("40") for other in ("persistence", "mean frame")]
    cells = [f"{value:.2e}" if value is not None else NOT_MEASURED for value in others]
    times = [score["seconds"] for score in scores if score["seconds"] is not None]
    seconds = duration(statistics.median(times)) if times else NOT_MEASURED
    score = f"{statistics.mean(values):.2e}{spread}"
    return " | ".join((str(len(values)), str(scores[0]["step"]), seconds, score, *cells))


def note_section(device: Device) -> str:
    """Tests, tables and profiles of the GPU suite."""
    lines = []
    tests = device.notes.get("gpu tests")
    if tests:
        counts = ", ".join(f"{tests[k]} {k}" for k in ("passed", "failed", "errors", "skipped") if k in tests)
        lines += [f"GPU tests: {counts or tests.get('status')}.", *(f"- {line}" for line in tests.get("failures", []))]
    for note in device.notes.values():
        if "columns" in note:
            lines += [f"\n### {note['title']}\n", f"{note['text']}\n", *note_table(note)]
    for key, note in device.notes.items():
        if key.startswith("profile") and "kernels" in note:
            lines += [f"\n### {key[0].upper()}{key[1:]}\n", f"{note['total_us']:.0f} µs of device time a step.\n"]
            lines += ["| kernel | calls a step | µs a step |", "|---|---|---|"]
            lines += [
                f"| `{k['kernel'].replace('|', ' ')}` | {k['calls']:g} | {k['us']} |" for k in note["kernels"][:15]
            ]
    return "\n".join(lines) + "\n"


def note_table(note: dict[str, Any], columns: int | None = None) -> list[str]:
    """The table of a note that holds one, or its first ``columns``."""
    table = [note["columns"], ["---"] * len(note["columns"]), *note["rows"]]
    return ["| " + " | ".join(map(str, cells[:columns])) + " |" for cells in table]


def readme_block(devices: list[Device]) -> str:
    """The few numbers of the README: tasks down, devices across; then the training runs."""
    cells: dict[str, dict[str, str]] = {}
    for device in devices:
        for _, rows in tasks(device):
            name = _readme_task(rows[0])
            if name:
                cells.setdefault(name, {})[device.slug] = _readme_cell(rows)
    measured = [device for device in devices if any(device.slug in by_device for by_device in cells.values())]
    names = [device.name for device in measured]
    if not any(device.is_gpu for device in devices):
        names.append("GPU")
    lines = ["| task | " + " | ".join(names) + " |", "|---|" + "---|" * len(names)]
    for name, by_device in cells.items():
        texts = [by_device.get(device.slug, NOT_MEASURED) for device in measured]
        texts += [NOT_MEASURED] * (len(names) - len(texts))
        lines.append(f"| {name} | " + " | ".join(texts) + " |")
    for note in (note for device in devices for note in device.notes.values() if "readme" in note):
        lines += ["", f"{note['readme']}:", "", *note_table(note, note.get("readme_columns"))]
    head = "| device | training run | seeds | steps | time | MSE at t+40 | persistence | mean frame |"
    table = ["", head, "|" + "---|" * (head.count("|") - 1)]
    for device in devices:
        for name in dict.fromkeys(run["run"] for run in device.runs if run.get("scores")):
            scores = [score for run in device.runs if run["run"] == name for score in run.get("scores", ())]
            last = max(score["step"] for score in scores)
            table.append(f"| {device.name} | {name} | {scored([s for s in scores if s['step'] == last])} |")
    lines += table if len(table) > 3 else []
    found = best_schedules(devices)
    return "\n".join(lines + (["", "Best settings found by `python -m bench.schedules`:", "", *found] if found else []))


def _readme_task(row: Row) -> str | None:
    """The name of a task without the batch, which differs from device to device; ``None`` for tasks left out."""
    if not row.group.startswith(README_GROUPS) or row.case.get("horizon", 95) != 95:
        return None
    if row.group == "generate":
        return "generate a sequence"
    if row.group == "rollout":
        return f"rollout and its gradient, {row.case['steps']} steps"
    if row.group == "forecast":
        return f"forecast {row.case['preset']}, {row.case['horizon']} frames"
    return f"training step {row.group.removeprefix('step/')}"


def _readme_cell(rows: list[Row]) -> str:
    """Reference, what compiling or capturing makes of it, fastsep, and the gains over the reference in both types."""
    naive = [row for row in rows if row.way == "reference" and row.precision == "fp32"]
    slow, fast = best(naive, "reference"), best(rows, "fastsep")
    if not slow or not fast:
        return NOT_MEASURED
    graph = best([row for row in rows if row.way != "reference"], "reference")
    times = [one(slow, baseline_seconds(fast, slow))]
    times += [one(row, row.seconds["median"]) for row in (graph, fast) if row]
    gain = speedup(fast, rows)
    same_type = [row for row in rows if (row.way, row.precision, row.case) == ("reference", fast.precision, fast.case)]
    plain = best(same_type, "reference") if fast.precision != "fp32" else None
    beside = f", of {plain.precision} {number(gain / speedup(plain, rows))}x" if plain else ""
    batch = f" (batch {fast.case['batch']})" if "batch" in fast.case else ""
    return f"{' → '.join(times)}, **{number(gain)}x**{beside}{batch}"
