"""Windows of a sequence data set, gathered on the device that trains.

Letters: N sequences, T frames of a sequence, W windows, B batch, L frames of a window, ``*shape`` one frame.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fastsep.data.scaling import Scaling


class Windows:
    """A data set as training and evaluation see it: windows of ``length`` frames, addressed by number.

    Subclasses define ``batch``. It must use device operations only, without synchronisation, so that a training step
    that contains it can be captured in a CUDA graph.
    """

    length: int
    shape: tuple[int, ...]
    device: torch.device
    resident: bool = True
    """The data lie on ``device``; if not, ``batch`` copies from the host and cannot be captured."""
    streamed: bool = False
    """The data are read while a model trains, in an order that suits their file."""
    description: str = ""
    """What the frames are, where scores have to say so; one line."""
    layout: str = ""
    """Where the numbers of a frame lie, if its shape does not say."""
    step: str = ""
    """In which frames are counted, such as "frames of 2 s", where the data say."""
    whole: bool = False
    """The windows are of all that the data hold, instead of their training or test part."""
    last_row: str = ""
    """Which row of a frame the last one is, north or south, where the data say."""
    notes: tuple[str, ...] = ()
    """What to know about the data before training on them, a line each."""
    limits: tuple[float, float] | None = None
    """Least and largest value of the frames, where that was measured."""
    mask: Tensor | None = None
    """The cells of a frame that count, *space bool on ``device``; None where all do."""
    scaling: Scaling | None = None
    """What turns frames into the data's own units; None where the model sees those."""
    share: tuple[int, int] = (0, 1)
    """Which of how many equal parts of each batch is asked for: windows that are drawn are then those of that part."""

    def __len__(self) -> int:
        raise NotImplementedError

    def batch(self, index: Tensor) -> Tensor:
        """Return the windows ``index`` (B,) int64 on ``device`` as (B, length, *shape) float32."""
        raise NotImplementedError

    def order(self, generator: torch.Generator, batch: int = 1) -> Tensor:
        """One epoch's windows in the order to train on them, in batches of ``batch``: (W,) int64 on the host.

        A function of the arguments alone; batches are whole but for the last one.
        """
        return torch.randperm(len(self), generator=generator)

    def expect(self, index: Tensor) -> None:
        """Say which windows the next calls of ``batch`` ask for, in order: (n,) int64 on the host; read ahead if it
        helps."""

    def reseed(self, key: int) -> None:
        """Make what the next ``batch`` draws a function of ``key``; nothing where windows are not drawn."""


class TensorWindows(Windows):
    """Windows of one tensor that lies on the device, or on the host where the device cannot hold it.

    Args:
        frames: (N, T, *shape) float32, or uint8 that stands for frames of 0 to 1 (divided by 255 in ``batch``).
        starts: (W, 2) int64, the sequence and the first frame of each window.
        length: frames of a window.
        newest_first: return each window backwards in time.
        cyclic: after the last frame of a sequence comes its first.
        device: where ``batch`` returns windows, if not where ``frames`` lie.
    """

    def __init__(
        self,
        frames: Tensor,
        starts: Tensor,
        length: int,
        newest_first: bool = False,
        cyclic: bool = False,
        device: torch.device | None = None,
    ):
        self.frames = frames.contiguous()
        self.starts = starts.to(frames.device)
        self.length = length
        self.shape = tuple(frames.shape[2:])
        self.device = frames.device if device is None else device
        self.resident = frames.device.type == self.device.type
        self.cyclic = cyclic
        steps = torch.arange(length, device=frames.device)
        self._steps = steps.flip(0) if newest_first else steps

    def __len__(self) -> int:
        return len(self.starts)

    def batch(self, index: Tensor) -> Tensor:
        sequence, first = self.starts[index.to(self.frames.device)].unbind(1)  # (B,), (B,)
        times = first[:, None] + self._steps  # (B, L)
        if self.cyclic:
            times = times % self.frames.shape[1]
        rows = sequence[:, None] * self.frames.shape[1] + times  # (B, L), frames counted through all sequences
        # Whole frames are copied: an index per frame costs less than one per sequence and time.
        frames = self.frames.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
        return to_unit(frames.to(self.device))  # (B, L, *shape)


def to_unit(frames: Tensor) -> Tensor:
    """Frames of uint8 as float32 of 0 to 1; float frames as they are."""
    return frames.float().div_(255) if frames.dtype == torch.uint8 else frames


def all_starts(sequences: int, frames: int, length: int) -> Tensor:
    """Every window of every sequence, in order: (sequences * (frames - length + 1), 2) int64."""
    per_sequence = max(frames - length + 1, 0)
    sequence = torch.arange(sequences).repeat_interleave(per_sequence)
    return torch.stack([sequence, torch.arange(per_sequence).repeat(sequences)], dim=1)
