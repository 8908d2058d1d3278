"""The log of a run: a CSV of every number, TensorBoard scalars and forecast images, a progress bar."""

from __future__ import annotations

import csv
from pathlib import Path

from torch import Tensor
from torch.utils.tensorboard import SummaryWriter

from fastsep.objective import Losses
from fastsep.progress import progress_bar

COLUMNS = ("step", "epoch", "lr", *Losses._fields, "test_mse", "sequences_per_second")


class Log:
    """Writes rows as they come. ``test_mse`` is empty where it was not measured.

    Args:
        run: the run directory.
        first_step: steps done before; rows beyond it are dropped, so that a resumed log has no step twice.
    """

    def __init__(self, run: Path, first_step: int, total_steps: int, show_progress: bool = True):
        self.path = run / "log.csv"
        rows = [row for row in read_log(run) if row["step"] <= first_step]
        self._file = self.path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, COLUMNS)
        self._writer.writeheader()
        for row in rows:
            self._writer.writerow(row)
        self._board = SummaryWriter(str(run / "tensorboard"), purge_step=first_step + 1)
        self._bar = progress_bar(
            total=total_steps, initial=first_step, unit="step", disable=not show_progress, smoothing=0.05
        )

    def advance(self) -> None:
        """Move the progress bar by a step."""
        self._bar.update()

    def row(self, step: int, epoch: int, lr: float, losses: Losses, rate: float, test_mse: float | None = None) -> None:
        """Record the mean losses since the last row and the sequences trained a second."""
        terms = {name: float(value) for name, value in losses._asdict().items()}
        values = {"step": step, "epoch": epoch, "lr": lr, **terms, "sequences_per_second": rate}
        if test_mse is not None:
            values["test_mse"] = test_mse
        self._writer.writerow({name: _text(value) for name, value in values.items()})
        self._file.flush()
        for name, value in values.items():
            if name != "step":
                self._board.add_scalar(f"train/{name}", value, step)
        self._bar.set_postfix_str(
            f"loss {losses.total:.3g} pred {losses.prediction:.2g} ae {losses.ae:.2g} "
            f"S {losses.s_invariance:.2g} T {losses.t_regularisation:.2g} {rate:.0f} seq/s",
            refresh=False,  # shown when the bar moves next
        )

    def images(self, step: int, strip: Tensor) -> None:
        """Show a forecast (3, height, width) in TensorBoard."""
        self._board.add_image("forecast", strip, step)

    def close(self) -> None:
        """Finish the files."""
        self._bar.close()
        self._board.close()
        self._file.close()


def read_log(run: Path) -> list[dict[str, float | str]]:
    """The rows of a run's log, numbers as floats; none when there is no log yet."""
    path = run / "log.csv"
    if not path.exists():
        return []
    with path.open(newline="") as file:
        rows = list(csv.DictReader(file))
    whole = [row for row in rows if row["step"] and None not in row.values()]
    return [
        {name: (int(v) if name in ("step", "epoch") else float(v)) if v else "" for name, v in row.items()}
        for row in whole
    ]


def _text(value: float) -> str:
    return str(value) if isinstance(value, int) else f"{value:.6g}"
