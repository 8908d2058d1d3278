"""How the frames of a data set are shown."""

from __future__ import annotations

import re
from dataclasses import dataclass


def plain(text: str) -> str:
    """``text`` as it stands: between two $ it would be read as mathematics, and names of files may hold them, and
    bytes that are no text."""
    return re.sub(r"(?<!\\)\$", r"\\$", text.encode("utf-8", "replace").decode())


@dataclass(frozen=True)
class Appearance:
    """What pictures say of frames, and in which colours."""

    title: str
    """Name of the data set."""
    quantity: str
    """What a pixel holds, with its unit."""
    colours: str = "viridis"
    """Colour map of frames with one channel."""
    limits: tuple[float, float] | None = None
    """Range of the colour map; the truth's own where None."""
    step: str = "frames"
    """Unit of time, where windows do not say."""

    @property
    def error(self) -> str:
        """What a pixel of an error holds, with its unit."""
        unit = re.search(r" \[[^\]]*\]$", self.quantity)
        return f"|error|{unit[0] if unit else ''}"

    def __post_init__(self) -> None:
        for name in ("title", "quantity", "step"):
            object.__setattr__(self, name, plain(getattr(self, name)))
