"""The report: from results files to tables, charts and the README's block."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.report import replace_block
from bench.reporting import tables
from bench.reporting.charts import draw_all
from bench.reporting.results_files import read_results
from bench.rows import Row, read_lines, speedup, table_lines, write_json
from bench.scaling import exponent

ENVIRONMENT = {
    "device": "Some CPU, 2 threads", "slug": "some-cpu", "date": "2030-01-02 03:04 UTC", "commit": "0123456789",
    "python": "3.12", "versions": {"torch": "2.13.0", "triton": "absent"}, "matrix_units": "AMX",
}  # fmt: skip
CEILINGS = {"matmul_fp32": 1e12, "matmul_bf16": 4e12, "copy": 1e11}


def timed(group: str, way: str, median: float, precision: str = "fp32", items: float = 128, **case: object) -> Row:
    seconds = {"median": median, "p20": 0.9 * median, "p80": 1.1 * median, "min": median, "max": median, "rounds": 5}
    return Row(group, way, "cpu", precision, case, seconds, items, flops=1e11, bytes=1e9, peak_bytes=2**20)


def run(seed: int) -> dict:
    metrics = {
        "scores": {"model": {"mse": {"40": 1e-4 * (1 + seed)}}, "persistence": {"mse": {"40": 2e-2}}},
        "curves": {"model": {"mse": [1e-5 * k for k in range(1, 41)]}, "persistence": {"mse": [1e-2] * 40}},
    }
    return {
        "environment": ENVIRONMENT, "run": "wave100-published", "dataset": "wave100", "seed": seed,
        "scores": [{"step": 3750, "seconds": 300.0, "metrics": metrics}],
    }  # fmt: skip


@pytest.fixture
def results(tmp_path: Path) -> Path:
    folder = tmp_path / "some-cpu"
    groups = {
        "step-wave": [
            timed("step/wave", "reference", 2.0, batch=128),
            timed("step/wave", "fastsep", 0.4, "bf16", batch=128),
            Row("step/wave", "fastsep captured", "cuda", "bf16", {"batch": 128}, absent="no GPU"),
        ],
        "generate": [
            timed("generate", "reference", 4.0, items=1, sequences=1),
            timed("generate", "fastsep", 0.032, items=16, sequences=16),
        ],
        "scaling-batch": [timed("scaling/batch", "fastsep", 1e-3 * b**2, batch=b) for b in (2, 4, 8)],
        "forecast": [
            timed("forecast", way, t * h, preset="mnist", batch=2, horizon=h)
            for way, t in (("reference", 0.01), ("fastsep", 0.002))
            for h in (10, 95, 400)
        ],
    }
    for name, rows in groups.items():
        value = {"environment": ENVIRONMENT, "ceilings": CEILINGS, "rows": [row.to_json() for row in rows]}
        write_json(folder / f"{name}.json", value)
    for seed in (0, 1):
        write_json(folder / "reproduction" / f"wave100-published-seed{seed}.json", run(seed))
    return tmp_path


def test_page_holds_what_was_measured_and_says_what_was_not(results: Path) -> None:
    page = tables.results_page(read_results(results))
    assert "| step/wave batch 128 | 2 s | 400 ms | 5 | fastsep bf16 |" in page
    assert "| generate | 4 s | 2 ms | 2,000 | fastsep fp32 |" in page
    assert "Not measured, no GPU: fastsep captured bf16 (cuda)." in page
    assert "batch^2.00" in page
    assert "| wave100-published | 2 | 3750 | 300 s | 1.50e-04 ± 7.1e-05 | 2.00e-02 | not measured |" in page
    assert "## GPU\n\nNot measured." in page


def test_readme_says_what_the_type_alone_gains(results: Path) -> None:
    name = "some-cpu/step-wave.json"
    value = json.loads((results / name).read_text())
    assert "| 2 s → 400 ms, **5x** (batch 128) |" in tables.readme_block(read_results(results))
    value["rows"].append(timed("step/wave", "reference", 0.8, "bf16", batch=128).to_json())
    value["rows"].append(timed("step/wave", "reference", 0.1, "bf16", batch=64).to_json())
    write_json(results / name, value)
    assert "| 2 s → 400 ms, **5x**, of bf16 2x (batch 128) |" in tables.readme_block(read_results(results))


def test_scores_are_averaged_over_the_seeds_that_reached_a_step(results: Path) -> None:
    shorter = run(2)
    shorter["scores"].insert(0, {**shorter["scores"][0], "step": 1500})
    longer = run(3)
    longer["scores"].append({**longer["scores"][0], "step": 7500})
    for value in (shorter, longer):
        write_json(results / "some-cpu" / "reproduction" / f"wave100-published-seed{value['seed']}.json", value)
    devices = read_results(results)
    page, block = tables.results_page(devices), tables.readme_block(devices)
    assert "| wave100-published | 1 | 1500 | 300 s | 3.00e-04 |" in page
    assert "| wave100-published | 4 | 3750 | 300 s | 2.50e-04 ± 1.3e-04 |" in page
    assert "| wave100-published | 1 | 7500 | 300 s | 4.00e-04 |" in page
    assert "| wave100-published | 1 | 7500 | 300 s | 4.00e-04 |" in block and "3750" not in block


def test_fraction_of_the_ceiling_is_floor_time_over_time() -> None:
    row = timed("step/wave", "fastsep", 0.5, "bf16", batch=128)
    assert row.of_ceiling(CEILINGS) == pytest.approx(max(1e11 / 4e12, 1e9 / 1e11) / 0.5)
    assert timed("x", "fastsep", 0.5).per_second == pytest.approx(256)


def test_speedup_compares_equal_tasks_only() -> None:
    rows = [timed("step/wave", "reference", 2.0, batch=128), timed("step/wave", "reference", 9.0, batch=64)]
    fast = timed("step/wave", "fastsep", 0.5, batch=128)
    assert speedup(fast, [*rows, fast]) == pytest.approx(4)
    assert speedup(timed("step/wave", "fastsep", 0.5, batch=32), rows) is None


def test_speedup_prefers_the_reference_timed_beside_the_row() -> None:
    rows = [timed("step/wave", "reference", 2.0, batch=128), timed("step/wave", "fastsep", 0.5, batch=128)]
    rows[1].reference_seconds = 3.0
    assert speedup(rows[1], rows) == pytest.approx(6)
    assert [line.split()[-1] for line in table_lines(rows)[1:]] == ["1.00", "6.00"]


def test_every_chart_is_drawn(results: Path) -> None:
    (device,) = read_results(results)
    names = {path.stem for path in draw_all(device, results / "some-cpu")}
    assert names == {"speedup", "roofline", "scaling", "forecast", "training"}


def test_readme_block_is_replaced_between_its_markers(results: Path) -> None:
    text = "before\n<!-- results:begin -->\nold\n<!-- results:end -->\nafter\n"
    new = replace_block(text, tables.readme_block(read_results(results)))
    assert new.startswith("before\n<!-- results:begin -->\n|")
    assert "old" not in new and new.endswith("<!-- results:end -->\nafter\n")
    assert "| task | Some CPU, 2 threads, AMX | GPU |" in new
    assert "| training step wave | 2 s → 400 ms, **5x** (batch 128) | not measured |" in new
    assert "| generate a sequence | 4 s → 2 ms, **2,000x** | not measured |" in new
    assert replace_block("no markers", "block") == "no markers"


def test_a_suite_file_cut_off_in_a_line_is_still_read(tmp_path: Path) -> None:
    folder = tmp_path / "some-gpu"
    folder.mkdir()
    row = {"kind": "row", "part": "step", "key": "k", **timed("step/wave", "reference", 1.0, batch=128).to_json()}
    lines = [
        {"kind": "environment", **ENVIRONMENT, "cuda": "13.0"},
        {"kind": "note", "part": "ceilings", "key": "ceilings", **CEILINGS},
        {"kind": "start", "part": "step", "key": "k"},
        row,
        {"kind": "note", "part": "train", "key": "wave100-published seed 0", **run(0)},
    ]
    (folder / "suite.jsonl").write_text("\n".join(map(json.dumps, lines)) + '\n{"kind": "row", "pa')
    assert len(read_lines(folder / "suite.jsonl")) == len(lines)
    (device,) = read_results(tmp_path)
    assert device.is_gpu and device.ceilings == CEILINGS
    assert [r.way for r in device.groups["step/wave"].timed] == ["reference"]
    assert [r["run"] for r in device.runs] == ["wave100-published"]
    assert "## GPU\n\nNot measured." not in tables.results_page([device])


def test_a_device_with_training_runs_alone_is_reported(tmp_path: Path) -> None:
    untimed = run(0)
    untimed["scores"][0]["seconds"] = None
    write_json(tmp_path / "some-cpu" / "reproduction" / "wave100-published-seed0.json", untimed)
    devices = read_results(tmp_path)
    assert [path.stem for path in draw_all(devices[0], tmp_path)] == ["training"]
    assert "| wave100-published | 1 | 3750 | not measured | 1.00e-04 |" in tables.results_page(devices)
    assert "| Some CPU, 2 threads, AMX | wave100-published |" in tables.readme_block(devices)


def test_exponent_of_a_power_law() -> None:
    x = [1, 2, 4, 8]
    assert exponent(x, [3 * v**1.5 for v in x]) == pytest.approx(1.5)
    assert exponent([4], [1.0]) is None


def test_layers_alone_stand_in_their_table_with_their_rates_and_in_no_summary(results: Path) -> None:
    rows = [timed("conv_block/mnist", way, t, layer="last") for way, t in (("reference", 0.2), ("fastsep", 0.1))]
    value = {"environment": ENVIRONMENT, "ceilings": CEILINGS, "rows": [row.to_json() for row in rows]}
    write_json(results / "some-cpu" / "conv_block-mnist.json", value)
    page = tables.results_page(read_results(results))
    section = page.split("### conv_block/mnist")[1].split("###")[0]
    assert "1 TFLOP/s, 10 GB/s" in section and "100.0%" in section
    assert page.count("layer last") == section.count("layer last") == 2


def test_a_note_that_holds_a_table_is_printed_and_may_go_into_the_readme(results: Path) -> None:
    folder = results / "some-gpu"
    folder.mkdir()
    note = {"kind": "note", "key": "steps", "title": "Steps", "text": "Once.", "columns": ["preset", "ms"]}
    lines = [{"kind": "environment", **ENVIRONMENT, "cuda": "13.0"}, {**note, "rows": [["wave", 2.5]], "readme": "Now"}]
    (folder / "suite.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    devices = read_results(results)
    assert "### Steps\n\nOnce.\n\n| preset | ms |\n| --- | --- |\n| wave | 2.5 |" in tables.results_page(devices)
    assert "\nNow:\n\n| preset | ms |\n| --- | --- |\n| wave | 2.5 |" in tables.readme_block(devices)


def test_notes_alone_do_not_date_the_rows_of_other_runs(results: Path) -> None:
    note = {"kind": "note", "key": "steps", "title": "Steps", "text": "Later.", "columns": ["ms"], "rows": [[1]]}
    later = {"kind": "environment", **ENVIRONMENT, "commit": "later"}
    (results / "some-cpu" / "suite.jsonl").write_text("".join(json.dumps(line) + "\n" for line in (later, note)))
    (device,) = read_results(results)
    assert device.environment["commit"] == ENVIRONMENT["commit"] and "steps" in device.notes


def test_later_files_count_whatever_they_are_called(tmp_path: Path) -> None:
    folder = tmp_path / "gpu"
    folder.mkdir()
    for number, hour in ((2, 10), (10, 12), (9, 11)):
        environment = ENVIRONMENT | {"date": f"2026-01-01 {hour}:00 UTC", "commit": f"c{number}"}
        lines = [
            {"kind": "environment", **environment},
            {"kind": "row", "part": "p", "key": "k", **Row("group", "way", "cuda", info={"from": number}).to_json()},
            {"kind": "note", "part": "p", "key": f"run {number}", "scores": [], "run": "wave"},
        ]
        (folder / f"suite-{number}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (device,) = read_results(tmp_path)
    assert [row.info["from"] for row in device.groups["group"].rows] == [10]
    assert [run["environment"]["commit"] for run in device.runs] == ["c2", "c9", "c10"]


def test_a_machine_that_only_searched_for_schedules_is_reported(tmp_path: Path) -> None:
    row = {
        "preset": "wave_onecycle", "steps": 9, "seed": 0, "choice": {"nt_pred": 8}, "environment": ENVIRONMENT,
        "threads": 2, "seconds": 7.0, "mse": 2e-5, "curve": [2e-5] * 40,
    }  # fmt: skip
    folder = tmp_path / "some-cpu" / "schedules"
    folder.mkdir(parents=True)
    (folder / "wave_onecycle.jsonl").write_text(json.dumps(row) + "\n")
    devices = read_results(tmp_path)
    name = devices[0].name
    assert name.startswith("Some CPU, 2 threads")
    assert f"| {name} | wave_onecycle | `--nt-pred 8` | 1 | 9 | 7 s (2) | 2.00e-05 |" in tables.readme_block(devices)
    assert f"## {name}" in tables.results_page(devices)


def test_settings_that_were_taken_out_are_no_best_ones(tmp_path: Path) -> None:
    row = {"preset": "wave_onecycle", "steps": 9, "seed": 0, "environment": ENVIRONMENT, "threads": 2, "seconds": 7.0}
    row["curve"] = [1e-5] * 40
    rows = [row | {"choice": choice, "mse": mse} for choice, mse in (({"given_up": 8}, 1e-5), ({"nt_pred": 8}, 2e-5))]
    folder = tmp_path / "some-cpu" / "schedules"
    folder.mkdir(parents=True)
    (folder / "wave_onecycle.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    devices = read_results(tmp_path)
    readme, page = tables.readme_block(devices), tables.results_page(devices)
    assert "given-up" not in readme and "`--nt-pred 8` | 1 | 9 |" in readme
    assert page.index("| `--given-up 8` (*taken out*) | 1 | 7 s (2) | 1.00e-05 |") < page.index("| `--nt-pred 8` | 1 |")
