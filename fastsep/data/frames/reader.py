"""Windows of your own frames: opened, split, scaled by what the training part alone says, put where there is room."""

from __future__ import annotations

import torch
from torch import Tensor

from fastsep.data.base import Padding, Split
from fastsep.data.frames.kept import Kept
from fastsep.data.frames.loading import load
from fastsep.data.frames.opening import open_source
from fastsep.data.frames.settings import Frames
from fastsep.data.frames.showing import last_row, span_of_steps, step_of
from fastsep.data.frames.splits import kind_of, part_of, windows_in
from fastsep.data.residency import place
from fastsep.data.scaling import Scaling
from fastsep.data.windows import TensorWindows, Windows
from fastsep.errors import UserError, warn


def open_windows(
    config: Frames,
    split: Split,
    cond: int,
    pred: int,
    device: torch.device,
    scaling: Scaling | None = None,
    padding: Padding | None = None,
) -> Windows:
    """Windows of one part of the data.

    Args:
        scaling: that of a run; by default it is measured on the training part.
        padding: what the networks want added, where it is measured.

    Raises:
        UserError: the data are missing, damaged, constant, too short, of another shape than ``scaling``, or have values
            that are missing now and then.
    """
    if config.data is None:
        raise UserError("frames are read from a file or folder: give it with --data PATH")
    source = open_source(config.data, config.variable, config.layout)
    windows = None
    try:
        kept = Kept(source, config.every)
        if scaling is not None:
            _check_same(config, kept, scaling)
            if split != "train":  # a training opens both
                _compare_units(config, kept, scaling)
        windows = _open(config, kept, split, cond, pred, device, scaling, padding)
    finally:
        if windows is None or isinstance(windows, TensorWindows):  # others go on reading
            source.close()
    return windows


def _open(
    config: Frames,
    kept: Kept,
    split: Split,
    cond: int,
    pred: int,
    device: torch.device,
    scaling: Scaling | None,
    padding: Padding | None,
) -> Windows:
    needed = {split} if split == "all" and scaling is not None else {split, "train", "test"}
    parts = {which: part_of(which, config, kept.sequences, kept.frames) for which in needed}
    what = kept.source.description
    starts = windows_in(parts[split], split, config, cond, pred, what)  # (W, 2)
    if split == "train":
        windows_in(parts["test"], "test", config, cond, pred, what)  # at once, not after minutes of reading
    elif scaling is None:
        scaling = load(config, kept, "train", parts["train"], padding=padding, keep=False).scaling
    part = load(config, kept, split, parts[split], scaling, padding)
    scaling, count = part.scaling, len(starts)
    if split == "test":
        starts = _spread(starts, config.test_windows)
    if part.frames is None:
        from fastsep.data.frames.stream import StreamedWindows

        fill = config.fill if part.gaps else "none"
        windows = StreamedWindows(
            kept.source, scaling, starts, cond + pred, config.every, device, fill, config.buffer * 1_000_000
        )
        if split == "train":
            windows.require_buffer()
    else:
        starts -= torch.tensor([parts[split].sequences.start, parts[split].frames.start])
        windows = TensorWindows(place(part.frames, device), starts, cond + pred, device=device)
        windows.scaling, mask = scaling, scaling.mask
        windows.mask = None if mask is None else torch.from_numpy(mask).to(device)
        windows.description = what
    windows.limits, windows.whole = part.limits, split == "all"
    windows.step, windows.last_row = step_of(kept.source, config.every), last_row(kept.source)
    if split == "train":
        windows.notes = _notes(config, kept, scaling, f"{count:,} windows of {cond} + {pred} frames")
    return windows


def _spread(starts: Tensor, most: int) -> Tensor:
    """At most ``most`` windows, evenly: (W, 2) -> (min(W, most), 2)."""
    return starts if len(starts) <= most else starts[torch.arange(most) * len(starts) // most]


def _check_same(config: Frames, kept: Kept, scaling: Scaling) -> None:
    """Raise UserError unless the frames are of the kind that ``scaling`` was measured on."""
    before, now = (len(scaling.shift), *scaling.space), kept.shape
    if before != now:
        before, now = ("x".join(map(str, shape)) for shape in (before, now))
        raise UserError(f"{config.data} has frames of {now}, the run was trained on {before}: give such data")
    if scaling.names and kept.source.names and scaling.names != tuple(kept.source.names):
        before, now = (", ".join(names) for names in (scaling.names, kept.source.names))
        raise UserError(f"{config.data} has the channels {now}, the run was trained on {before}: give such data")


def _compare_units(config: Frames, kept: Kept, scaling: Scaling) -> None:
    if any(a and b and a != b for a, b in zip(kept.source.units, scaling.units, strict=False)):
        before, now = (", ".join(unit or "no unit" for unit in units) for units in (scaling.units, kept.source.units))
        warn(f"{config.data} is in {now}, the run was trained in {before}: its numbers are taken as if they were that")


def _notes(config: Frames, kept: Kept, scaling: Scaling, windows: str) -> tuple[str, ...]:
    """What to know before training, a line each."""
    by_time = kind_of(config, kept.sequences) == "time"
    train, test = (len(part_of(which, config, kept.sequences, kept.frames)[by_time]) for which in ("train", "test"))
    what = "sequences" if not by_time else "frames" if kept.sequences == 1 else "frames of each sequence"
    notes = [
        f"data: {kept.source.description}",
        f"split: the first {train:,} {what} train ({windows}), the last {test:,} test",
    ]
    if span := span_of_steps(kept.source):
        notes.append(f"times: not at equal steps ({span}); windows count frames")
    if scaling.present is not None:
        cells = scaling.present.size
        missing = cells - int(scaling.present.sum())
        where = ", in one variable or another," if len(scaling.shift) > 1 else ""
        notes.append(
            f"missing: {missing:,} of {cells:,} cells ({missing / cells:.1%}) are never measured{where} and left out"
        )
    if any(scaling.padding):
        before, after = ("x".join(map(str, size)) for size in (scaling.space, scaling.shape[1:]))
        notes.append(f"padding: {before} becomes {after}, which losses, scores and figures leave out")
    return tuple(notes)
