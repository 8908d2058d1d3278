"""Convolutions that may leave their bias out, work on static channels once, or double the image on the way.

Legend: K network calls, B sequences, C channels, H x W pixels, s static and t dynamic channels. Every image batch is
(K*B, C, H, W) with the calls outermost. ``bias=False`` leaves the bias to the batch norm behind.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.halves import Halved
from kernels.doubled_conv import doubled_conv
from kernels.portable import exporting
from kernels.thin_conv import norm_exit, thin_entry, thin_exit

if TYPE_CHECKING:
    from fastsep.networks.layers import CallBatchNorm2d


class Conv2d(Halved, nn.Conv2d):
    """A convolution that can be called without its bias."""

    def forward(self, x: Tensor, bias: bool = True) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return F.conv2d(x, self.factor(), self.bias if bias else None, self.stride, self.padding)


class EntryConv2d(nn.Conv2d):
    """A convolution of frames, with LeakyReLU if no norm stands between."""

    def forward(self, frames: Tensor, bias: bool = True, slope: float = 1.0) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        shift, (stride, _), (padding, _) = self.bias if bias else None, self.stride, self.padding
        return thin_entry(frames, self.weight, shift, stride=stride, padding=padding, slope=slope)


class Pending(NamedTuple):
    """A batch norm per call, in training, and an activation that an exit's input has yet to go through."""

    norm: CallBatchNorm2d
    calls: int
    slope: float
    conv_bias: Tensor
    """Left out by the convolution in front of the norm."""


class ExitConv2d(nn.Conv2d):
    """A 3x3 convolution to frames."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__(size, out, 3, padding=1)

    def forward(self, x: Tensor, bias: bool = True, pending: Pending | None = None) -> Tensor:
        """(N, C, H, W) -> (N, C', H, W), in float32 at least."""
        return _exit(x, self.weight, self.bias if bias else None, pending)


class ExitConvTranspose2d(nn.ConvTranspose2d):
    """A transposed convolution to frames: 3x3, or 4x4 with stride 2."""

    def __init__(self, size: int, out: int, stride: int = 1) -> None:
        super().__init__(size, out, 4 if stride == 2 else 3, stride=stride, padding=1)

    def forward(self, x: Tensor, bias: bool = True, pending: Pending | None = None) -> Tensor:
        """(N, C, H, W) -> (N, C', s H, s W), in float32 at least."""
        return _exit(x, self.weight, self.bias if bias else None, pending, transposed=True, stride=self.stride[0])


def _exit(x: Tensor, weight: Tensor, bias: Tensor | None, pending: Pending | None, **kind: bool | int) -> Tensor:
    if pending is not None and pending.norm.gather is not None:  # one kernel cannot wait for other processes
        norm, *rest = pending
        x, pending = norm(x, *rest), None
    if pending is None:
        return thin_exit(x, weight, bias, **kind)
    norm, calls, slope, conv_bias = pending
    norm.count(calls)
    state = norm.weight, norm.bias, norm.running_mean, norm.running_var
    settings = {"momentum": norm.momentum, "eps": norm.eps, "slope": slope, "conv_bias": conv_bias}
    return norm_exit(x, *state, weight, bias, calls, **settings, **kind)


class ConvTranspose2d(Halved, nn.ConvTranspose2d):
    """A transposed convolution that can be called without its bias."""

    def forward(self, x: Tensor, bias: bool = True) -> Tensor:
        """(N, C, H, W) -> (N, C', H', W')."""
        return F.conv_transpose2d(x, self.factor(), self.bias if bias else None, self.stride, self.padding)


class DoublingConv2d(nn.Conv2d):
    """A 3x3 convolution of the image doubled by nearest neighbours."""

    def __init__(self, size: int, out: int) -> None:
        super().__init__(size, out, 3, padding=1)

    def forward(self, x: Tensor, bias: bool = True) -> Tensor:
        """(N, C, H, W) -> (N, C', 2H, 2W)."""
        return doubled_conv(x, self.weight, self.bias if bias else None)


class JoinConv2d(Halved, nn.Conv2d):
    """A 3x3 convolution of the channels [dynamic, static], computing the static half once a sequence, not once a call.

    Convolution is linear: W * [dynamic, static] = W_d * dynamic + W_s * static. ``static`` is the same for all calls.
    With ``doubles``, the dynamic channels are an image half as large, doubled first.
    """

    def __init__(self, dynamic: int, static: int, out: int, static_first: bool = False, doubles: bool = False) -> None:
        super().__init__(dynamic + static, out, 3, padding=1)
        self.sizes = (static, dynamic) if static_first else (dynamic, static)
        self.static_first = static_first
        self.doubles = doubles
        self.takes_half = not doubles

    def forward(self, dynamic: Tensor, static: Tensor, calls: int, bias: bool = True) -> Tensor:
        """(K*B, t, H, W), or (K*B, t, H/2, W/2) to double, and (B, s, H, W) -> (K*B, C', H, W)."""
        first, second = self.factor().split(self.sizes, dim=1)
        w_static, w_dynamic = (first, second) if self.static_first else (second, first)
        once = F.conv2d(static, w_static, self.bias if bias else None, padding=1)  # (B, C', H, W)
        x = doubled_conv(dynamic, w_dynamic) if self.doubles else F.conv2d(dynamic, w_dynamic, padding=1)
        return add_to_calls(x, once, calls)


class JoinConvTranspose2d(Halved, nn.ConvTranspose2d):
    """``JoinConv2d`` for the 4x4 transposed convolution with stride 2, channels [dynamic, static]."""

    def __init__(self, dynamic: int, static: int, out: int) -> None:
        super().__init__(dynamic + static, out, 4, stride=2, padding=1)
        self.sizes = (dynamic, static)

    def forward(self, dynamic: Tensor, static: Tensor, calls: int, bias: bool = True) -> Tensor:
        """(K*B, t, H, W) and (B, s, H, W) -> (K*B, C', 2H, 2W)."""
        w_dynamic, w_static = self.factor().split(self.sizes, dim=0)
        shift = self.bias if bias else None
        once = F.conv_transpose2d(static, w_static, shift, stride=2, padding=1)  # (B, C', 2H, 2W)
        return add_to_calls(F.conv_transpose2d(dynamic, w_dynamic, stride=2, padding=1), once, calls)


class CodeConvTranspose2d(Halved, nn.ConvTranspose2d):
    """Transposed 4x4 convolution of a code seen as a 1x1 image: a linear layer that makes 4x4 images.

    With ``static`` channels in front it mixes [static, dynamic] and, by linearity, works on the static code once.
    """

    def __init__(self, static: int, dynamic: int, out: int) -> None:
        super().__init__(static + dynamic, out, 4)
        self.sizes = (static, dynamic)

    def forward(self, dynamic: Tensor, static: Tensor, calls: int, bias: bool = True) -> Tensor:
        """(K*B, t) and (B, s) -> (K*B, C', 4, 4) with the channels last in memory."""
        w_static, w_dynamic = self.factor().permute(0, 2, 3, 1).flatten(1).split(self.sizes)  # (s, 16 C'), (t, 16 C')
        y = dynamic @ w_dynamic  # (K*B, 16 C')
        if self.sizes[0]:
            y = add_to_calls(y, static @ w_static, calls)
        y = y.unflatten(1, (4, 4, -1)).permute(0, 3, 1, 2)
        return y + self.bias.to(y.dtype)[:, None, None] if bias else y


def add_to_calls(x: Tensor, once: Tensor, calls: int) -> Tensor:
    """``x`` (K*B, ...) with ``once`` (B, ...) added to every call. In place, autograd would copy its gradient."""
    if exporting() and x.shape[1] == 1:  # of such a map PyTorch 2.13 does not see how it lies once it is flattened
        return x + once.repeat(calls, *(1,) * (once.dim() - 1))
    return (x.unflatten(0, (calls, -1)) + once).flatten(0, 1)


def conv3(size: int, out: int, stride: int = 1) -> Conv2d:
    """A 3x3 convolution that keeps the image (or halves it, with stride 2)."""
    return Conv2d(size, out, 3, stride=stride, padding=1)
