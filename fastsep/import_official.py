"""Import a run of the authors' code: ``python -m fastsep.import_official DIR --out RUN``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from fastsep import cli, entry
from fastsep.presets import PRESETS
from fastsep.settings import Pattern, Range, Settings

_PRESETS = Pattern("|".join(PRESETS).replace("_", "[-_]"), f"one of {', '.join(PRESETS)}")


@dataclass(frozen=True)
class Arguments(Settings):
    """Turn a run of the authors' code into a run directory that evaluation reads.

    The pickled networks are read without running code from them.
    """

    directory: cli.Positional[Path]
    """Their run directory, with ov_Es.pt, ov_Et.pt, decoder.pt, t_resnet.pt and params.json."""
    out: Path
    """Run directory to write."""
    preset: Annotated[str | None, _PRESETS] = None
    """Settings to start from, a name that ``fastsep.train --help`` lists; needed only without params.json."""
    epoch: Annotated[int | None, Range(0, 1_000_000_000)] = None
    """Import the checkpoint of this epoch (ov_Es_EPOCH.pt and so on) instead of the final networks."""


def main() -> None:
    """Parse, import, say where."""
    arguments = cli.parse(Arguments, "import_official", examples=["theirs/xp_dir --out runs/theirs"])

    # Imported only now: --help should not wait for PyTorch.
    from fastsep.runs.official import import_run

    preset = arguments.preset and arguments.preset.replace("-", "_")
    import_run(arguments.directory, arguments.out, preset, arguments.epoch)
    print(f"run: {arguments.out}")


if __name__ == "__main__":
    entry.run(main)
