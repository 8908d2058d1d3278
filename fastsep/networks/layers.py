"""Building blocks of the convolutional networks, aware that one batch holds several network calls.

Legend: K network calls, B sequences, C channels, H x W pixels. Every image batch is (K*B, C, H, W) with the calls
outermost, so that one call is one contiguous slice.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.convolutions import DoublingConv2d, EntryConv2d, ExitConv2d, JoinConv2d, Pending, conv3
from kernels.call_norm import Gather, call_norm

LEAKY_SLOPE = 0.2


class CallBatchNorm2d(nn.BatchNorm2d):
    """Batch norm of K network calls at once, and LeakyReLU, that gives what K calls one after another would.

    Training: each call is normalised with its own batch statistics, and the running statistics move as if the calls
    came in order. Evaluation: plain batch norm with the running statistics. Parameters and buffers are those of
    ``nn.BatchNorm2d``.
    """

    gather: Gather | None = None
    """Where several processes share a batch: what collects their statistics (see ``call_norm``)."""
    ledger: list[tuple[Tensor, int]] | None = None
    """Where a trainer adds up all counts of calls at once (see ``CallCounts``)."""

    def count(self, calls: int) -> None:
        """Count calls in training."""
        if self.ledger is None:
            self.num_batches_tracked.add_(calls)
        else:
            self.ledger.append((self.num_batches_tracked, calls))

    def forward(self, x: Tensor, calls: int = 1, slope: float = 1.0, conv_bias: Tensor | None = None) -> Tensor:
        """Normalise and activate ``x``.

        Args:
            x: (K*B, C, H, W), calls outermost; float64, float32 or a half type (statistics are then float32).
            calls: K.
            slope: of the activation below zero: 1 is none, 0 is ReLU.
            conv_bias: (C,), in training only: the bias that the convolution in front left out (see ``call_norm``).

        Returns:
            (K*B, C, H, W) in the type of ``x``.
        """
        statistics = self.running_mean, self.running_var
        if not self.training:
            return activate(F.batch_norm(x, *statistics, self.weight, self.bias, False, 0.0, self.eps), slope)
        self.count(calls)
        settings = {"momentum": self.momentum, "eps": self.eps, "slope": slope, "conv_bias": conv_bias}
        return call_norm(x, self.weight, self.bias, *statistics, calls, gather=self.gather, **settings)


def require_call_norms(model: nn.Module) -> None:
    """Raise TypeError where ``model`` has another batch norm: that would take all calls of a stack for one batch."""
    for name, module in model.named_modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not isinstance(module, CallBatchNorm2d):
            raise TypeError(
                f"{name} is a {type(module).__name__}, which would normalise stacked network calls together: use "
                "fastsep.networks.layers.CallBatchNorm2d"
            )


def share_norms(model: nn.Module, gather: Gather) -> None:
    """Let the batch norms of ``model`` take the statistics of all processes together."""
    for module in model.modules():
        if isinstance(module, CallBatchNorm2d):
            module.gather = gather


class CallCounts:
    """Counts the calls of all batch norms of a model in one operation a step: one by one each is a launch.

    From now on, in training, they are counted only when this settles.
    """

    def __init__(self, model: nn.Module) -> None:
        self._ledger: list[tuple[Tensor, int]] = []
        for module in model.modules():
            if isinstance(module, CallBatchNorm2d):
                module.ledger = self._ledger

    def settle(self) -> None:
        """Add what was counted since the last time."""
        totals: dict[Tensor, int] = {}
        for counter, calls in self._ledger:  # a norm may have been called several times
            totals[counter] = totals.get(counter, 0) + calls
        if totals:
            torch._foreach_add_(list(totals), list(totals.values()))
        self.forget()

    def forget(self) -> None:
        """Drop what was counted since the last time."""
        self._ledger.clear()


class Block(nn.Module):
    """Convolution, batch norm per call (optional), LeakyReLU(0.2) (optional)."""

    NORMS: ClassVar[dict[str, str]] = {"norm": "conv"}
    """Names of the batch norms, each with that of the convolution in front of it."""

    def __init__(self, conv: nn.Module, norm: bool = True, activation: bool = True) -> None:
        super().__init__()
        self.conv = conv
        self.norm = CallBatchNorm2d(conv.out_channels) if norm else None
        self.slope = LEAKY_SLOPE if activation else 1.0

    def forward(self, x: Tensor, calls: int = 1, static: Tensor | None = None) -> Tensor:
        """(K*B, C, H, W) -> (K*B, C', H', W'); ``static`` (B, ...) only where ``conv`` joins static features."""
        inputs = (x,) if static is None else (x, static, calls)
        if self.norm is None:
            return self.conv(*inputs) if self.slope == 1.0 else self.conv(*inputs, slope=self.slope)
        return conv_norm(self.conv, self.norm, *inputs, calls=calls, slope=self.slope)


def conv_norm(conv: nn.Module, norm: nn.Module, *inputs: Tensor | int, calls: int, slope: float = 1.0) -> Tensor:
    """Convolution of ``inputs``, batch norm per call, activation.

    The mean of a call takes the convolution's bias out again, so training never adds it (its gradient, zero, is
    ``None``); the running mean hears of it, and evaluation adds it.
    """
    if not norm.training:
        return norm(conv(*inputs), calls, slope)
    return norm(conv(*inputs, bias=False), calls, slope, conv.bias)


def activate(x: Tensor, slope: float) -> Tensor:
    """LeakyReLU in place: the layers in front of it keep their input, never their output."""
    return x if slope == 1.0 else F.leaky_relu(x, slope, inplace=True)


def conv3_stage(
    widths: list[int],
    skip: int = 0,
    skip_first: bool = False,
    doubles: bool = False,
    reads_frames: bool = False,
    makes_frames: bool = False,
) -> nn.ModuleList:
    """3x3 blocks between consecutive ``widths``.

    The first one joins ``skip`` static channels if there are any, and doubles the image by nearest neighbours first if
    it ``doubles``. It reads frames if it ``reads_frames``, and the last one makes them if it ``makes_frames``.
    """
    convs = [conv3(size, out) for size, out in pairwise(widths)]
    if skip:
        convs[0] = JoinConv2d(widths[0], skip, widths[1], skip_first, doubles)
    elif doubles:
        convs[0] = DoublingConv2d(widths[0], widths[1])
    elif reads_frames:
        convs[0] = EntryConv2d(widths[0], widths[1], 3, padding=1)
    if makes_frames:
        convs[-1] = ExitConv2d(*widths[-2:])
    return nn.ModuleList(Block(conv) for conv in convs)


def run_blocks(blocks: Sequence[Block] | nn.ModuleList, x: Tensor, calls: int, static: Tensor | None = None) -> Tensor:
    """Blocks in a row on (K*B, C, H, W); ``static`` (B, C_s, H, W) goes to the first."""
    x = blocks[0](x, calls, static)
    for block in blocks[1:]:
        x = block(x, calls)
    return x


def to_frames(
    block: Block, conv: nn.Module, x: Tensor, calls: int, static: Tensor | None = None, bias: bool = True
) -> Tensor:
    """The exit ``conv`` of ``block``: (K*B, C, H, W) -> frames in float32 at least.

    In training the block's norm and activation may run inside the exit: their map, the largest of a decoder, need not
    be written then.
    """
    if not block.norm.training:
        return conv(block(x, calls, static), bias)
    inputs = (x,) if static is None else (x, static, calls)
    return conv(block.conv(*inputs, bias=False), bias, Pending(block.norm, calls, block.slope, block.conv.bias))
