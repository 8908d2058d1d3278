"""Sea surface temperature in 64x64 zones of the North Atlantic, a frame a day (de Bezenac et al., ICLR 2018).

Comes from: the authors' 29 files are not public; the nearest open product is Copernicus Marine
GLOBAL_MULTIYEAR_PHY_001_030 (data set cmems_mod_glo_phy_my_0.083deg_P1D-m, free after registration, Copernicus Marine
licence, credit required), from which ``python -m fastsep.prepare_sst`` makes files of the same form. Reproduces: with
the authors' files their windows and protocol exactly; with prepared ones the protocol on similar data.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
import torch
from torch import Tensor

from fastsep.data.base import SHORTER, Split
from fastsep.data.residency import host_array, place
from fastsep.data.sst.files import SIDE, read_zone
from fastsep.data.sst.settings import SST
from fastsep.data.windows import TensorWindows
from fastsep.errors import UserError

__all__ = ["Normalisation", "SSTWindows", "open_windows", "training_frames"]

_SKIPPED = 2  # The authors' windows leave out the first two frames of each part.


def training_frames(frames: int) -> int:
    """How many of a zone's ``frames`` are for training, 80%; the later ones test."""
    return frames * 4 // 5


def open_windows(config: SST, split: Split, cond: int, pred: int, device: torch.device) -> SSTWindows:
    """Windows of normalised frames: the first 80% of the frames of ``zones``, or the rest of ``test_zones``.

    Raises:
        UserError: a zone is missing, damaged, of another size, has masked cells, or is shorter than a window.
    """
    directory = config.path
    zones = config.zones if split == "train" else config.test_zones
    record: Record | None = None
    for row, zone in enumerate(zones):
        temperature, mean, std = read_zone(directory, zone)
        border = training_frames(len(temperature))
        part = slice(0, border) if split == "train" else slice(border, None)
        temperature, mean, std = temperature[part], mean[part], std[part]
        if record is None:
            record = Record.empty(len(zones), len(temperature))
        if len(temperature) != record.frames.shape[1]:
            raise UserError(f"data_{zone}.nc has another number of frames than data_{zones[0]}.nc in {directory}")
        record.fill(row, zone, temperature, mean, std)
    windows = record.frames.shape[1] - (cond + pred) + 1 - _SKIPPED
    if windows < 1:
        raise UserError(
            f"a window of {cond + pred} frames does not fit the {record.frames.shape[1]} {split} frames of a zone "
            f"in {directory} (the first {_SKIPPED} are left out): {SHORTER}"
        )
    return SSTWindows(record, zones, windows, cond, cond + pred, device)


class Record(NamedTuple):
    """Normalised frames of Z zones, and what turns them back into degrees."""

    frames: np.ndarray
    """(Z, T, 1, 64, 64) float32."""
    climatology: np.ndarray
    """(Z, T, 2) float32, mean and standard deviation of the day of the year in degrees Celsius."""
    spatial: np.ndarray
    """(Z, T, 2) float32, mean and standard deviation over the cells of each frame after the climatology's z-score."""

    @classmethod
    def empty(cls, zones: int, frames: int) -> Record:
        """Room for ``zones`` zones of ``frames`` frames, in memory or mapped."""
        statistics = (np.empty((zones, frames, 2), np.float32) for _ in range(2))
        return cls(host_array((zones, frames, 1, SIDE, SIDE), np.float32), *statistics)

    def fill(self, row: int, zone: int, temperature: np.ndarray, mean: np.ndarray, std: np.ndarray) -> None:
        """Normalise a zone: z-score by the climatology, then each frame by its own spatial mean and deviation."""
        scores = (temperature - mean[:, None, None]) / std[:, None, None]  # (T, 64, 64)
        flat = np.flatnonzero(np.ptp(scores, axis=(1, 2)) == 0)
        if len(flat):
            raise UserError(f"zone {zone}, frame {flat[0]}: all cells are equal, so it cannot be normalised")
        frame_mean, frame_std = scores.mean((1, 2)), scores.std((1, 2))
        self.frames[row, :, 0] = (scores - frame_mean[:, None, None]) / frame_std[:, None, None]
        self.climatology[row] = np.stack([mean, std], axis=1)
        self.spatial[row] = np.stack([frame_mean, frame_std], axis=1)


class Normalisation(NamedTuple):
    """Statistics of windows; B windows, m target frames. Temperatures in degrees Celsius."""

    climatology_mean: Tensor
    """(B, m), of the day of each target frame."""
    climatology_std: Tensor
    """(B, m)."""
    target_mean: Tensor
    """(B, m), of each target frame itself: what the published scores use, though a forecaster cannot know it."""
    target_std: Tensor
    """(B, m)."""
    last_mean: Tensor
    """(B,), of the last conditioning frame, which a forecaster knows."""
    last_std: Tensor
    """(B,)."""
    zone: Tensor
    """(B,) int64."""

    def celsius(self, frames: Tensor, statistics: Literal["target", "last"]) -> Tensor:
        """Turn normalised target frames (B, m, 1, 64, 64) into degrees Celsius.

        Args:
            statistics: undo the spatial normalisation with the target frames' own mean and standard deviation (the
                published protocol), or with those of the last conditioning frame (without that help).
        """
        if statistics == "target":
            mean, std = self.target_mean, self.target_std
        else:
            mean, std = self.last_mean[:, None], self.last_std[:, None]
        mean, std, day_mean, day_std = (
            value[:, :, None, None, None] for value in (mean, std, self.climatology_mean, self.climatology_std)
        )
        return (frames * std + mean) * day_std + day_mean


class SSTWindows(TensorWindows):
    """Windows of normalised frames, with the statistics that turn them back into degrees."""

    def __init__(
        self, record: Record, zones: tuple[int, ...], per_zone: int, cond: int, length: int, device: torch.device
    ):
        row = torch.arange(len(zones)).repeat_interleave(per_zone)
        first = torch.arange(_SKIPPED, _SKIPPED + per_zone).repeat(len(zones))
        starts = torch.stack([row, first], dim=1)  # (W, 2)
        super().__init__(place(record.frames, device), starts, length, device=device)
        self.cond = cond
        self.description = f"sea surface temperature, zones {', '.join(map(str, zones))}"
        statistics = np.concatenate([record.climatology, record.spatial], axis=-1)  # (Z, T, 4)
        self._statistics = torch.from_numpy(statistics).to(device)
        self._window_starts = starts.to(device)
        self._zones = torch.tensor(zones, device=device)

    def normalisation(self, index: Tensor) -> Normalisation:
        """Statistics of the windows ``index`` (B,) on the device."""
        row, first = self._window_starts[index].unbind(1)  # (B,), (B,)
        steps = torch.arange(self.cond - 1, self.length, device=self.device)
        values = self._statistics[row[:, None], first[:, None] + steps]  # (B, 1 + m, 4)
        day_mean, day_std, mean, std = values.unbind(-1)
        return Normalisation(
            day_mean[:, 1:], day_std[:, 1:], mean[:, 1:], std[:, 1:], mean[:, 0], std[:, 0], self._zones[row]
        )
