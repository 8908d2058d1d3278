"""The training objective: auto-encoding, invariance of S, prediction, regularisation of T (paper, section 3.3).

Letters: B batch, n conditioning frames, m predicted frames, K network calls; ``*shape`` one frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from fastsep.config import ObjectiveConfig
from fastsep.model import SeparableModel, Static
from fastsep.model_config import ModelConfig


class Losses(NamedTuple):
    """The unweighted terms and their weighted sum, scalars.

    The log has a column and the picture of a training a line for each (``drawing/curves.py`` names them).
    """

    ae: Tensor
    s_invariance: Tensor
    prediction: Tensor
    t_regularisation: Tensor
    total: Tensor


class Outputs(NamedTuple):
    """What the networks computed for one batch of videos."""

    static: tuple[Static, Static]
    """Of the first and of the last window."""
    dynamic: Tensor
    """T_0 ... T_{N-1}: (N, B, L, ...)."""
    reconstruction: Tensor
    """Auto-encoding of the frame that the random window stands for: (B, *shape)."""
    forecast: Tensor
    """(N, B, *shape)."""


class Cells(NamedTuple):
    """The cells of a frame that losses and scores count, where not all do."""

    mask: Tensor
    """*space bool."""
    share: float
    """That of all cells."""

    @classmethod
    def of(cls, mask: Tensor | None) -> Cells | None:
        """Those of a mask of windows (waits for the device)."""
        return None if mask is None else cls(mask, mask.float().mean().item())


def window_ends(model: ModelConfig, objective: ObjectiveConfig) -> tuple[int, int]:
    """Smallest and largest r, the exclusive end of the random window."""
    return model.nt_cond, model.nt_cond + objective.nt_pred - (model.offset == 0)


def forecast_frames(model: ModelConfig, objective: ObjectiveConfig) -> int:
    """N: with an offset the conditioning frames come first."""
    return objective.nt_pred + model.offset


def run_networks(model: SeparableModel, video: Tensor, end: Tensor, config: ObjectiveConfig) -> Outputs:
    """Call every network once, with the calls of the paper's loop stacked in its order."""
    static = encode_static(model, video, config)
    return decode(model, static, roll_out(model, video, end, config))


def encode_static(model: SeparableModel, video: Tensor, config: ObjectiveConfig) -> Static:
    """S of the first and of the last window of a batch, stacked: (2, B, s, ...)."""
    n, m = model.config.nt_cond, config.nt_pred
    return model.encode_static(torch.stack([video[:, :n], video[:, m : m + n]]))


def roll_out(model: SeparableModel, video: Tensor, end: Tensor, config: ObjectiveConfig) -> Tensor:
    """T of the random window, then T_0 ... T_{N-1} from the first window: (1 + N, B, L, ...)."""
    n = model.config.nt_cond
    random = video.index_select(1, end - n + torch.arange(n, device=video.device))  # (B, n, *shape)
    t_random, t_first = model.encode_dynamic(torch.stack([random, video[:, :n]])).unbind()
    return torch.cat([t_random[None], model.roll_out(t_first, forecast_frames(model.config, config))])


def decode(model: SeparableModel, static: Static, codes: Tensor) -> Outputs:
    """The frames of ``codes`` (1 + N, B, L, ...), see ``roll_out``, with S of the first of two windows."""
    first, last = static.unbind()
    frames = model.decode(first, codes)  # (1 + N, B, *shape)
    return Outputs((first, last), codes[1:], frames[0], frames[1:])


def objective(model: SeparableModel, video: Tensor, end: Tensor, config: ObjectiveConfig) -> Losses:
    """The loss of one batch: the definition, of whose parts ``training/forward.py`` makes a step.

    Args:
        video: (B, n + m, *shape) float32.
        end: int64 scalar tensor, r: the random window is ``video[:, r - n : r]``.
    """
    outputs = run_networks(model, video, end, config)
    return losses(outputs, video, end, model.config, config)


def losses(
    outputs: Outputs,
    video: Tensor,
    end: Tensor,
    model: ModelConfig,
    config: ObjectiveConfig,
    cells: Cells | None = None,
) -> Losses:
    """The four terms for what the networks computed; those of frames are means over ``cells``, by default all."""
    offset = model.offset
    target = video.index_select(1, (end - offset).reshape(1))[:, 0]  # (B, *shape)
    ae = mean_square(outputs.reconstruction, target, cells)
    future = video if offset else video[:, model.nt_cond :]
    prediction = mean_square(outputs.forecast, future.transpose(0, 1), cells)
    t0 = outputs.dynamic[0]
    # The spatial codes of the SST networks are averaged, vectors are summed.
    squared = t0.square().mean() if t0.dim() > 2 else t0.square().sum(1).mean()
    t_regularisation = 0.5 * squared
    s_invariance = _invariance(*outputs.static)
    total = (
        config.lamb_ae * ae
        + config.lamb_s * s_invariance
        + config.lamb_pred * prediction
        + (0.0 if model.no_s else config.lamb_t) * t_regularisation
    )
    return Losses(ae, s_invariance, prediction, t_regularisation, total)


def mean_square(output: Tensor, target: Tensor, cells: Cells | None = None) -> Tensor:
    """Mean squared difference of frames (..., *space) over the cells that count, whatever ``output`` has in others."""
    if cells is None:
        return F.mse_loss(output, target)
    return F.mse_loss(torch.where(cells.mask, output, target), target) / cells.share


def _invariance(first: Static, last: Static) -> Tensor:
    """Mean squared difference of S, and of its skip features, between the two windows."""
    distances = [_SquaredDistance.apply(a, b) for a, b in zip(first.parts, last.parts, strict=True)]
    return torch.stack(distances).sum() / sum(part.numel() for part in first.parts)


class _SquaredDistance(torch.autograd.Function):
    """Sum of squared differences, in float32 at least, of two maps in any float type: one pass less each way."""

    @staticmethod
    def forward(ctx, a: Tensor, b: Tensor) -> Tensor:
        difference = a - b
        ctx.save_for_backward(difference)
        wide = torch.promote_types(difference.dtype, torch.float32)
        return torch.linalg.vector_norm(difference, dtype=wide).square()

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor]:
        (difference,) = ctx.saved_tensors
        by_a = difference * (2.0 * grad)  # a scalar of another float type leaves the map's type
        return by_a, -by_a
