"""What a data set is to the rest of the program: its settings, and how to open a split of it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, ClassVar, Literal, Self

from fastsep.data.appearance import Appearance
from fastsep.errors import UserError
from fastsep.settings import AT_RESUME, Settings

if TYPE_CHECKING:  # settings are read without PyTorch, so that --help is there at once
    import torch

    from fastsep.data.scaling import Scaling
    from fastsep.data.windows import Windows

Padding = Callable[[tuple[int, ...]], tuple[int, ...]]
"""The cells that networks want added at the end of each axis of a frame (C, *space)."""
Split = Literal["train", "test", "all"]
Values = Literal["", "unit", "standard"]
SHORTER = "lower --nt-pred (where a run is evaluated: --horizon)"
"""What helps where sequences are shorter than windows."""


@dataclass(frozen=True)
class DataConfig(Settings):
    """Settings that every data set has; each data set adds its own."""

    name: ClassVar[str] = ""
    module: ClassVar[str] = ""
    """Where its readers are: a module with ``open_windows(config, split, cond, pred, device)``; one that is ``scaled``
    also takes ``scaling`` and ``padding``, and returns windows with ``scaling``: the one given, if any."""
    protocol: ClassVar[str] = "fastsep.evaluation.own_data:OwnData"
    """What is scored: the module and the name of a ``Protocol``, imported when a run is evaluated."""
    appearance: ClassVar[Appearance | None] = None
    """How its frames are shown; None makes it of what windows say."""
    default_path: ClassVar[Path | None] = None
    """Where its data lie if ``data`` does not say."""
    scaled: ClassVar[bool] = False
    """Its frames are scaled by what the training part says; a run keeps that."""
    values: ClassVar[Values] = ""
    """What frames that a run forecasts must roughly have, so that forgotten scaling shows: values of 0 to 1, or a mean
    of 0 and a deviation of 1 each."""
    takes_all: ClassVar[bool] = False
    """Its files are parted here, so that all of one that was held back can be opened, too."""
    are_bytes: ClassVar[bool] = False
    """Its files hold bytes, which stand for frames of 0 to 1."""

    data: Annotated[Path | None, AT_RESUME] = None
    """Where the data lie (a file or a directory, as the data set says)."""

    @property
    def path(self) -> Path | None:
        """Where the data lie; none where they are made in memory."""
        return self.data or self.default_path

    def files(self) -> list[Path]:
        """The files that the data consist of, in a fixed order; those that are absent may be among them."""
        return [self.path] if self.path else []

    def at(self, path: Path) -> Self:
        """The settings for such data that lie elsewhere."""
        return replace(self, data=path)

    @property
    def tests_alone(self) -> bool:
        """Its files hold nothing to train on: they are not those of any training."""
        return False

    @property
    def newest_first(self) -> bool:
        """Its windows go back in time, and so do forecasts."""
        return False

    def refusal(self, path: Path) -> str:
        """Why a file of frames is none that a run can go on from, and what helps; empty where it may be one."""
        return ""

    def open(
        self,
        split: Split,
        cond: int,
        pred: int,
        device: torch.device,
        scaling: Scaling | None = None,
        padding: Padding | None = None,
    ) -> Windows:
        """Windows of ``cond`` conditioning and ``pred`` further frames, on ``device`` where it has room.

        Args:
            scaling: what a run's frames were scaled by from its start; none yet for a new run.
            padding: of a new run. Data sets that are not ``scaled`` have no use for either.

        Raises:
            UserError: the data are missing, damaged or too short; the message names the file and the remedy.
        """
        if split == "all" and not self.takes_all:
            raise UserError(f"{self.name} is parted as published: evaluate it without --whole")
        more = {"scaling": scaling, "padding": padding} if self.scaled else {}
        return importlib.import_module(self.module).open_windows(self, split, cond, pred, device, **more)
