"""The thin layers of the presets at their batch sizes: convolutions with few channels on one side."""

from __future__ import annotations

from typing import Any

_ENTRY = ("n", "c", "h", "w", "f", "k", "stride", "padding", "slope", "bias")
_EXIT = ("n", "c", "h", "w", "f", "transposed", "stride", "bias")

ENTRIES = {
    "mnist": (256, 5, 64, 64, 64, 4, 2, 1, 0.2, True),
    "taxibj": (200, 8, 32, 32, 64, 3, 1, 1, 1.0, False),
    "chairs": (256, 15, 64, 64, 64, 5, 2, 3, 1.0, False),
    "sst": (256, 4, 64, 64, 64, 3, 1, 1, 1.0, False),
}
EXITS = {
    "mnist": (2048, 64, 32, 32, 1, True, 2, True),
    "taxibj": (900, 64, 32, 32, 2, True, 1, True),
    "chairs": (2048, 64, 32, 32, 3, True, 2, True),
    "sst": (896, 64, 64, 64, 1, False, 1, False),
}
LAYERS: dict[tuple[str, str], dict[str, Any]] = {
    **{(preset, "thin_entry"): dict(zip(_ENTRY, sizes, strict=True)) for preset, sizes in ENTRIES.items()},
    **{(preset, "thin_exit"): dict(zip(_EXIT, sizes, strict=True)) for preset, sizes in EXITS.items()},
}
"""By preset and op: the facts of its case but for the dtype."""

NORM_EXITS: dict[str, dict[str, Any]] = {
    preset: {**LAYERS[preset, "thin_exit"], "calls": calls, "slope": 0.2}
    for preset, calls in (("mnist", 16), ("taxibj", 9), ("chairs", 16), ("sst", 7))
}
"""The same of the norms in front of exits, by preset."""


def least_bytes(op: str, direction: str, facts: dict[str, Any]) -> int:
    """Traffic of a layer in a half type that reads every operand once; frames are float32, weights count as nothing."""
    n, stride = facts["n"], facts["stride"]
    if op == "thin_entry":
        height, width = ((size + 2 * facts["padding"] - facts["k"]) // stride + 1 for size in (facts["h"], facts["w"]))
        frames, features = 4 * n * facts["c"] * facts["h"] * facts["w"], 2 * n * facts["f"] * height * width
        # Backward reads the output too where an activation stands behind: for its sign.
        return frames + features * (2 if direction == "backward" and facts["slope"] != 1.0 else 1)
    # A norm and its exit: statistics, exit; then the gradient by what the norm gives, from it the one by its input.
    passes = {"forward": 1, "backward": 2, "forward+backward": 7}[direction]
    features, frames = 2 * n * facts["c"] * facts["h"] * facts["w"], 4 * n * facts["f"] * facts["h"] * facts["w"]
    return features * passes + frames * stride**2 * (2 if passes == 7 else 1)
