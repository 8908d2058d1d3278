"""Decode the rendered chairs once: ``python -m fastsep.prepare_chairs SRC --out FILE``."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import tyro

from fastsep import cli
from fastsep.data.chairs import FILE
from fastsep.data.chairs_views import write_views
from fastsep.progress import progress_bar


def main() -> None:
    """Parse, decode, write."""
    tyro.cli(_prepare, prog="python -m fastsep.prepare_chairs")


def _prepare(source: Annotated[Path, tyro.conf.Positional], /, out: Path = FILE) -> None:
    """Decode, crop and scale the views of all chairs into one array that training maps into memory.

    Args:
        source: Directory that rendered_chairs.tar was unpacked to.
        out: NumPy file to write; 1.1 GB for all 1,393 chairs.
    """
    chairs = write_views(source, out, lambda names: progress_bar(names, unit="chair", desc="decoding"))
    print(f"{out}: {chairs} chairs")


if __name__ == "__main__":
    cli.run(main)
