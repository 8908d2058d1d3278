"""Decode the rendered chairs once: ``python -m fastsep.prepare_chairs SRC --out FILE``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from fastsep import cli, entry
from fastsep.data.chairs.settings import Chairs
from fastsep.settings import Settings


@dataclass(frozen=True)
class Arguments(Settings):
    """Decode, crop and scale the views of all chairs into one array that training maps into memory."""

    source: cli.Positional[Path]
    """Directory that rendered_chairs.tar was unpacked to."""
    out: Path = Chairs.default_path
    """NumPy file to write; 1.1 GB for all 1,393 chairs. Their names go to a .txt beside it."""


def main() -> None:
    """Parse, decode, write."""
    arguments = cli.parse(Arguments, "prepare_chairs", examples=["rendered_chairs --out data/chairs.npy"])

    # Imported only now: --help should not wait for NumPy and Pillow.
    from fastsep.data.chairs.views import write_views
    from fastsep.progress import progress_bar

    out = arguments.out
    chairs = write_views(arguments.source, out, lambda names: progress_bar(names, unit="chair", desc="decoding"))
    print(f"{out}: {chairs} chairs")


if __name__ == "__main__":
    entry.run(main)
