"""Building blocks of the convolutional networks, aware that one batch holds several network calls.

Legend: K network calls, B sequences, C channels, H x W pixels. Every image batch is (K*B, C, H, W) with the calls
outermost, so that one call is one contiguous slice.
"""

from __future__ import annotations

from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from kernels.call_norm import call_norm

LEAKY_SLOPE = 0.2


class CallBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of K network calls at once, and LeakyReLU, that gives what K calls one after another would.

    Training: each call is normalised with its own batch statistics, and the running statistics move as if the calls
    came in order. Evaluation: plain batch norm with the running statistics. Parameters and buffers are those of
    ``nn.BatchNorm2d``.
    """

    def forward(self, x: Tensor, calls: int = 1, slope: float = 1.0) -> Tensor:
        """Normalise and activate ``x``.

        Args:
            x: (K*B, C, H, W), calls outermost; float64, float32 or a half type (statistics are then float32).
            calls: K.
            slope: of the activation below zero: 1 is none, 0 is ReLU.

        Returns:
            (K*B, C, H, W) in the type of ``x``.
        """
        if not self.training:
            y = F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, False, 0.0, self.eps)
            return activate(y, slope)
        self.num_batches_tracked.add_(calls)
        return self._call_by_call(x, calls, slope) if x.device.type == "cpu" else self._grouped(x, calls, slope)

    def _call_by_call(self, x: Tensor, calls: int, slope: float) -> Tensor:
        """One native batch norm a call: on a CPU slices are free to take, and the native kernel is fast."""
        rest = self.running_mean, self.running_var, self.weight, self.bias, True, self.momentum, self.eps
        parts = [F.batch_norm(call, *rest) for call in x.chunk(calls)]
        return activate(torch.cat(parts) if calls > 1 else parts[0], slope)

    def _grouped(self, x: Tensor, calls: int, slope: float) -> Tensor:
        """All calls in one reduction, and the activation with it."""
        y, mean, var = call_norm(x, self.weight, self.bias, calls, eps=self.eps, slope=slope)
        self._follow(mean, var, count=x[:, 0].numel() // calls)
        return y

    @torch.no_grad()
    def _follow(self, mean: Tensor, var: Tensor, count: int) -> None:
        """Move the running statistics as K updates in order would, from per-call ``mean`` and biased ``var`` (K, C).

        r <- (1-m)^K r + sum_k m (1-m)^(K-1-k) x_k, with the unbiased variance as in ``nn.BatchNorm2d``.
        """
        calls, keep = mean.shape[0], 1.0 - self.momentum
        age = torch.arange(calls - 1, -1, -1, device=mean.device, dtype=mean.dtype)
        weight = (self.momentum * keep**age)[:, None]  # (K, 1); made on the device, so that a graph can capture it
        self.running_mean.mul_(keep**calls).add_((weight * mean).sum(0))
        self.running_var.mul_(keep**calls).add_((weight * var).sum(0) * (count / (count - 1)))


class Block(nn.Module):
    """Convolution, batch norm per call (optional), LeakyReLU(0.2) (optional)."""

    NORMS: ClassVar[dict[str, str]] = {"norm": "conv"}
    """Names of the batch norms, each with that of the convolution in front of it."""

    def __init__(self, conv: nn.Module, norm: bool = True, activation: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.norm = CallBatchNorm2d(conv.out_channels) if norm else None
        self.activation = activation

    def forward(self, x: Tensor, calls: int = 1, static: Tensor | None = None) -> Tensor:
        """(K*B, C, H, W) -> (K*B, C', H', W'); ``static`` (B, ...) only where ``conv`` joins static features."""
        x = self.conv(x) if static is None else self.conv(x, static, calls)
        slope = LEAKY_SLOPE if self.activation else 1.0
        return activate(x, slope) if self.norm is None else self.norm(x, calls, slope)


class JoinConv2d(nn.Conv2d):
    """A 3x3 convolution of the channels [dynamic, static], computing the static half once a sequence, not once a call.

    Convolution is linear: W * [dynamic, static] = W_d * dynamic + W_s * static. ``static`` is the same for all calls.
    """

    def __init__(self, dynamic: int, static: int, out: int, static_first: bool = False) -> None:
        super().__init__(dynamic + static, out, 3, padding=1)
        self.sizes = (static, dynamic) if static_first else (dynamic, static)
        self.static_first = static_first

    def forward(self, dynamic: Tensor, static: Tensor, calls: int) -> Tensor:
        """(K*B, C_d, H, W) and (B, C_s, H, W) -> (K*B, C', H, W)."""
        first, second = self.weight.split(self.sizes, dim=1)
        w_static, w_dynamic = (first, second) if self.static_first else (second, first)
        once = F.conv2d(static, w_static, self.bias, padding=1)  # (B, C', H, W)
        return add_to_calls(F.conv2d(dynamic, w_dynamic, padding=1), once, calls)


class JoinConvTranspose2d(nn.ConvTranspose2d):
    """``JoinConv2d`` for the 4x4 transposed convolution with stride 2, channels [dynamic, static]."""

    def __init__(self, dynamic: int, static: int, out: int) -> None:
        super().__init__(dynamic + static, out, 4, stride=2, padding=1)
        self.sizes = (dynamic, static)

    def forward(self, dynamic: Tensor, static: Tensor, calls: int) -> Tensor:
        """(K*B, C_d, H, W) and (B, C_s, H, W) -> (K*B, C', 2H, 2W)."""
        w_dynamic, w_static = self.weight.split(self.sizes, dim=0)
        once = F.conv_transpose2d(static, w_static, self.bias, stride=2, padding=1)  # (B, C', 2H, 2W)
        return add_to_calls(F.conv_transpose2d(dynamic, w_dynamic, stride=2, padding=1), once, calls)


class CodeConvTranspose2d(nn.ConvTranspose2d):
    """Transposed 4x4 convolution of a code seen as a 1x1 image: a linear layer that makes 4x4 images.

    With ``static`` channels in front it mixes [static, dynamic] and, by linearity, works on the static code once.
    """

    def __init__(self, static: int, dynamic: int, out: int) -> None:
        super().__init__(static + dynamic, out, 4)
        self.sizes = (static, dynamic)

    def forward(self, dynamic: Tensor, static: Tensor, calls: int) -> Tensor:
        """(K*B, t) and (B, s) -> (K*B, C', 4, 4) with the channels last in memory."""
        w_static, w_dynamic = self.weight.permute(0, 2, 3, 1).flatten(1).split(self.sizes)  # (s, 16 C'), (t, 16 C')
        y = dynamic @ w_dynamic  # (K*B, 16 C')
        if self.sizes[0]:
            y = add_to_calls(y, static @ w_static, calls)
        return y.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2) + self.bias.to(y.dtype)[:, None, None]


def activate(x: Tensor, slope: float) -> Tensor:
    """LeakyReLU in place: the layers in front of it keep their input, never their output."""
    return x if slope == 1.0 else F.leaky_relu(x, slope, inplace=True)


def add_to_calls(x: Tensor, once: Tensor, calls: int) -> Tensor:
    """Add ``once`` (B, ...) to every call of ``x`` (K*B, ...)."""
    return (x.unflatten(0, (calls, -1)) + once).flatten(0, 1)


def conv3(size: int, out: int, stride: int = 1) -> nn.Conv2d:
    """A 3x3 convolution that keeps the image (or halves it, with stride 2)."""
    return nn.Conv2d(size, out, 3, stride=stride, padding=1)


def conv3_stage(widths: list[int], skip: int = 0, skip_first: bool = False) -> nn.ModuleList:
    """3x3 blocks between consecutive ``widths``; the first one joins ``skip`` static channels if there are any."""
    first = JoinConv2d(widths[0], skip, widths[1], skip_first) if skip else conv3(widths[0], widths[1])
    rest = [conv3(size, out) for size, out in pairwise(widths[1:])]
    return nn.ModuleList(Block(conv) for conv in [first, *rest])


def run_blocks(blocks: nn.ModuleList, x: Tensor, calls: int, static: Tensor | None = None) -> Tensor:
    """Blocks in a row on (K*B, C, H, W); ``static`` (B, C_s, H, W) goes to the first."""
    x = blocks[0](x, calls, static)
    for block in blocks[1:]:
        x = block(x, calls)
    return x
