"""Write a run as a program that needs no fastsep: ``python -m fastsep.export runs/mine --out mine.pt2``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

import tyro

from fastsep import cli, entry
from fastsep.settings import Range, Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Write a run as a program that forecasts without fastsep, in the data's units, any number of sequences at once.

    Load a .pt2 with torch.export.load(FILE).module(), one of --format aoti with
    torch._inductor.aoti_load_package(FILE), a .onnx with ONNX Runtime. It takes float32 and as many frames as the run
    conditions on, and says so, with names and units, in fastsep.json within the .pt2 or in the .onnx's metadata."""

    run: Annotated[cli.Positional[Path], tyro.conf.arg(metavar="RUN")]
    """Run directory, as training wrote it."""
    out: Path
    """File to write, .pt2 or .onnx."""
    horizon: Annotated[int | None, Range(1, 1000)] = None
    """Frames that the program forecasts [as many as training predicted]."""
    best: bool = False
    """Take the checkpoint with the least error in validation instead of the newest."""
    format: Literal["auto", "pt2", "onnx", "aoti"] = "auto"
    """auto goes by the suffix; onnx needs the extra onnx; aoti is a .pt2 of code compiled for such machines."""


def main() -> None:
    """Parse, export, say what was written."""
    arguments = cli.parse(Arguments, "export", examples=["runs/mine --out model.pt2 --horizon 20"])

    # Imported only now: --help should not wait for PyTorch.
    from fastsep.inference.export import export_run

    facts = export_run(**vars(arguments))
    taken, given = (f"({', '.join(map(str, facts[name]))})" for name in ("input", "output"))
    print(f"{arguments.out}: frames {taken} to forecasts {given}, float32, step {facts['step']} of {arguments.run}")


if __name__ == "__main__":
    entry.run(main)
