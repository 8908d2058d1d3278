"""Writes a run as a program that other processes load without this project: PyTorch, ONNX or compiled code."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from torch.export import ExportedProgram

from fastsep.data.formats.optional import optional
from fastsep.errors import UserError, warn
from fastsep.files import require_writable, write_bytes, write_problem
from fastsep.inference.arrays import whole_number
from fastsep.inference.forecaster import Forecaster, load
from fastsep.inference.program import BACKWARDS, INPUT, OUTPUT, as_texts, describe, example, quiet, trace
from fastsep.machine.compiler import has_compiler, is_compiler_problem
from fastsep.progress import progress_bar

Format = Literal["auto", "pt2", "onnx", "aoti"]
FACTS = "fastsep.json"
"""Name of the file within a .pt2 that says what goes in and comes out."""
_SUFFIXES = {"pt2": ".pt2", "onnx": ".onnx", "aoti": ".pt2"}
_OPSET = 18
_TOLERANCE = 1e-4  # of the largest value: what is wrong is off by far more, rounding by far less


def export_run(
    run: Path, out: Path, horizon: int | None = None, best: bool = False, format: Format = "auto", progress: bool = True
) -> dict[str, Any]:
    """Write a checkpoint of ``run`` as a program: the last n frames in, ``horizon`` frames out.

    Args:
        run: run directory.
        out: file to write, ``.pt2`` or ``.onnx``.
        horizon: frames to forecast; by default as many as training predicts.
        best: take the checkpoint with the least error in validation instead of the newest.
        format: pt2 (``torch.export.load``), onnx, or aoti (``torch._inductor.aoti_load_package``); auto goes by the
            suffix of ``out``.
        progress: show a bar.

    Returns:
        What was written beside the program: shapes, units and so on.

    Raises:
        UserError: no run, a suffix that fits no format, a package or compiler that is not there, an unwritable file.
        ValueError: a horizon that is no number of frames.
    """
    format = _settle(out, format)
    forecaster = load(run, "cpu", best)
    horizon = whole_number(horizon or forecaster.config.objective.nt_pred, "horizon")
    facts = describe(forecaster, horizon)
    if facts["frames"] == BACKWARDS:
        warn(f"{run} goes back in time, as published: the program takes and gives frames newest first")
    with _blamed_on(out):
        require_writable(out)
    data = _make(forecaster, horizon, format, facts, progress)
    with _blamed_on(out):
        write_bytes(out, data)
    return facts


@contextmanager
def _blamed_on(out: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise write_problem(out, error, "choose another --out") from None


def _settle(out: Path, format: Format) -> Literal["pt2", "onnx", "aoti"]:
    """The format to write. Raises UserError for one that cannot be, before anything takes long."""
    if format == "auto":
        format = "onnx" if out.suffix == ".onnx" else "pt2"
    if out.suffix != _SUFFIXES[format]:
        raise UserError(f"{out} does not end in {_SUFFIXES[format]}: name a .pt2 file, or a .onnx file for ONNX")
    if format == "onnx":
        for package in ("onnx", "onnxscript"):
            optional(package, "exporting to ONNX", "onnx")
    if format == "aoti" and not has_compiler(torch.device("cpu")):
        raise UserError("--format aoti compiles and there is no C++ compiler: install g++, or use --format pt2")
    return format


def _make(forecaster: Forecaster, horizon: int, format: str, facts: dict[str, Any], progress: bool) -> bytes:
    """The file's content; hundreds of frames take minutes."""
    pack = {"pt2": _pack_pt2, "onnx": _pack_onnx, "aoti": _pack_aoti}[format]
    with progress_bar(total=3, desc=f"trace {horizon} frames", unit="part", disable=not progress) as bar:
        program = trace(forecaster, horizon)
        bar.update()
        bar.set_description("compare forecasts")
        _check(program, forecaster, horizon)
        bar.update()
        bar.set_description(f"pack as {format}")
        with torch.no_grad(), quiet():
            data = pack(program, facts)
        bar.update()
    return data


def _check(program: ExportedProgram, forecaster: Forecaster, horizon: int) -> None:
    """Raise UserError where the program does not forecast what the run does."""
    frames = example(forecaster, 3)
    with torch.no_grad():
        found = program.module()(frames)
    expected = forecaster.forecast(frames, horizon)
    scaling, last = forecaster.scaling, (1,) * len(forecaster.scaling.space)
    # Units differ by channel; an offset that is large beside what varies leaves it few digits.
    within = _TOLERANCE * scaling.scale(expected).nan_to_num(0.0, 0.0, 0.0).abs().max().item() * abs(scaling.factor)
    within = torch.from_numpy(within + 4 * np.finfo(np.float32).eps * abs(scaling.shift)).reshape(-1, *last)
    alike = torch.equal(found.isnan(), expected.isnan())
    if not (alike and ((found - expected).nan_to_num().abs() <= within).all()):
        raise UserError(
            f"PyTorch {torch.__version__} exports this run to a program with other forecasts: use another version"
        )


# What follows packs in memory: what PyTorch writes to a full disk by itself is no OSError, and may end in a crash.


def _pack_pt2(program: ExportedProgram, facts: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    torch.export.save(program, buffer, extra_files={FACTS: json.dumps(facts, indent=2)})
    return buffer.getvalue()


def _pack_onnx(program: ExportedProgram, facts: dict[str, Any]) -> bytes:
    made = torch.onnx.export(
        program, input_names=[INPUT], output_names=[OUTPUT], opset_version=_OPSET, dynamo=True, verbose=False
    )
    made.model.metadata_props.update(as_texts(facts))
    return made.model_proto.SerializeToString()


def _pack_aoti(program: ExportedProgram, facts: dict[str, Any]) -> bytes:
    buffer = io.BytesIO()
    try:
        torch._inductor.aoti_compile_and_package(
            program, package_path=buffer, inductor_configs={"aot_inductor.metadata": as_texts(facts)}
        )
    except Exception as error:
        if not is_compiler_problem(error):
            raise
        raise UserError(f"the C++ compiler failed ({type(error).__name__}): use --format pt2") from None
    return buffer.getvalue()
