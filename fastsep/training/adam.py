"""Adam that updates weights where they lie, whatever their layout."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor


class Adam(torch.optim.Adam):
    """PyTorch's Adam, which on a CPU takes four times as long for weights that lie channels last.

    Its fused kernel copies them, their gradients and moments into the order of their indices and back. Here it sees
    them in the order of their memory, which is the same to an optimiser. State and settings are those of PyTorch.
    """

    def _init_group(self, group: dict[str, Any], *lists: list[Tensor]) -> bool:
        has_complex = super()._init_group(group, *lists)
        together = lists[:4]  # weights, gradients, first and second moments
        for k, tensors in enumerate(zip(*together, strict=True)):
            if tensors[0].device.type == "cpu" and all(map(_is_channels_last, tensors)):
                for of_kind, tensor in zip(together, tensors, strict=True):
                    of_kind[k] = tensor.permute(0, 2, 3, 1)
        return has_complex

    @torch.no_grad()
    def clear_denormals(self) -> None:
        """Make zeros of moments that are too small for a full mantissa, with which CPUs compute many times slower.

        The first moment of a weight without a gradient falls to a few of the smallest numbers and stays there, since
        0.9 of that rounds up. They change no weight; but after 5,000 steps of ``wave100-best``, where half of the
        moments are of S and end so, they doubled the time of a step.
        """
        for state in self.state.values():
            for moment in (state["exp_avg"], state["exp_avg_sq"]):
                torch.hardshrink(moment, torch.finfo(moment.dtype).tiny, out=moment)


def _is_channels_last(tensor: Tensor) -> bool:
    layout = torch.channels_last
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=layout) and not tensor.is_contiguous()
