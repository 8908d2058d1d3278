"""The log of a run: a CSV of every number, TensorBoard scalars and forecast images, a progress bar.

All of it is decoration: what cannot be written costs a warning, not the training.
"""

from __future__ import annotations

from pathlib import Path

from torch import Tensor

from fastsep.objective import Losses
from fastsep.progress import progress_bar
from fastsep.runs.log_file import LogFile, Row
from fastsep.training.board import Board


class Log:
    """Writes rows as they come. ``test_mse`` is empty where it was not measured.

    Args:
        run: the run directory.
        first_step: steps done before; rows beyond it are dropped, so that a resumed log has no step twice.
    """

    def __init__(self, run: Path, first_step: int, total_steps: int, show_progress: bool = True):
        self._file = LogFile(run / "log.csv", first_step)
        self._board = Board(run / "tensorboard", first_step)
        self._bar = progress_bar(
            total=total_steps, initial=first_step, unit="step", disable=not show_progress, smoothing=0.05
        )

    def advance(self) -> None:
        """Move the progress bar by a step."""
        self._bar.update()

    def row(self, step: int, epoch: int, lr: float, losses: Losses, rate: float, test_mse: float | None = None) -> Row:
        """Record the mean losses since the last row and the sequences trained a second; returns the row."""
        terms = {name: float(value) for name, value in losses._asdict().items()}
        values = {"step": step, "epoch": epoch, "lr": lr, **terms, "sequences_per_second": rate}
        if test_mse is not None:
            values["test_mse"] = test_mse
        self._file.write(values)
        for name, value in values.items():
            if name != "step":
                self._board.scalar(f"train/{name}", value, step)
        self._bar.set_postfix_str(
            f"loss {losses.total:.3g} pred {losses.prediction:.2g} ae {losses.ae:.2g} "
            f"S {losses.s_invariance:.2g} T {losses.t_regularisation:.2g} {rate:.0f} seq/s",
            refresh=False,  # shown when the bar moves next
        )
        return values

    def images(self, step: int, strip: Tensor) -> None:
        """Show a forecast (3, height, width) in TensorBoard."""
        self._board.image("forecast", strip, step)

    def close(self) -> None:
        """Finish the files."""
        self._bar.close()
        self._board.close()


class Silence(Log):
    """The log of a rank that writes nothing."""

    def __init__(self) -> None:
        pass

    def advance(self) -> None:
        pass

    def row(self, *values: object) -> Row:
        return {}

    def images(self, step: int, strip: Tensor) -> None:
        pass

    def close(self) -> None:
        pass
