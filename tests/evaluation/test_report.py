from __future__ import annotations

from fastsep.evaluation.report import format_report


def made_result() -> dict:
    curve = [0.001, 0.002, 0.003]
    return {
        "dataset": "mnist",
        "data": "made digits",
        "step": 1200,
        "windows": 5000,
        "horizon": 3,
        "labels": {"mse": "MSE", "ssim": "SSIM"},
        "scores": {
            "model": {"mse": {"2": 0.0015, "3": 0.002}, "ssim": {"2": 0.91, "3": 0.9}},
            "persistence": {"mse": {"2": 0.1, "3": 0.2}},
        },
        "curves": {"model": {"mse": curve, "ssim": [0.92, 0.9, 0.88]}, "persistence": {"mse": curve}},
        "seconds": {"forecasts": 9.0, "scores": 1.0},
    }


def test_report_names_data_scores_and_horizons():
    text = format_report(made_result())
    assert "5,000 test windows" in text and "made digits" in text and "step 1,200" in text
    lines = text.splitlines()
    header = next(line for line in lines if line.startswith("mean over"))
    assert header.split()[-2:] == ["t+2", "t+3"]
    model = next(line for line in lines if "MSE" in line and "model" in line)
    assert model.split()[-2:] == ["1.50e-03", "2.00e-03"]
    assert "swapped" not in text


def test_report_ends_with_where_the_time_went():
    assert format_report(made_result()).endswith("evaluated in 10 s: forecasts 90%, scores 10%")


def test_columns_line_up():
    for table in format_report(made_result()).split("\n\n")[1:]:
        assert len({len(line) for line in table.splitlines()}) == 1


def test_swaps_have_a_table_of_their_own():
    result = made_result() | {"swap": {"ssim": {"2": 0.8, "3": 0.7}}}
    last = format_report(result).split("\n\n")[-2]
    assert last.startswith("swapped") and last.split()[-2:] == ["0.8", "0.7"]
