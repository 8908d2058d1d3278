"""Import a run of the authors' code: ``python -m fastsep.import_official DIR --out RUN``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli
from fastsep.training.official import import_run


def main() -> None:
    """Parse, import, say where."""
    tyro.cli(_import, prog="python -m fastsep.import_official")


def _import(
    directory: Annotated[Path, tyro.conf.Positional], /, out: Path, preset: str | None = None, epoch: int | None = None
) -> None:
    """Turn a run of the authors' code into a run directory that evaluation reads.

    The pickled networks are read without running code from them.

    Args:
        directory: their run directory, with ov_Es.pt, ov_Et.pt, decoder.pt, t_resnet.pt and params.json.
        out: run directory to write.
        preset: settings to start from; needed only without params.json.
        epoch: import the checkpoint of this epoch (ov_Es_EPOCH.pt and so on) instead of the final networks.
    """
    import_run(directory, out, preset, epoch)
    print(f"run: {out}")


if __name__ == "__main__":
    cli.run(main)
