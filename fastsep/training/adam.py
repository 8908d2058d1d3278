"""Adam that updates weights where they lie, whatever their layout, and their halves with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from fastsep.networks.halves import Halved
from kernels.adam import Moments, adam_step


class Adam(torch.optim.Adam):
    """PyTorch's Adam. State and settings are those of PyTorch; some things it does otherwise.

    On a CPU it takes four times as long for weights that lie channels last: its fused kernel copies them, their
    gradients and moments into the order of their indices and back. Here it sees them in the order of their memory,
    which is the same to an optimiser.

    A weight that has a half (see ``keep_halves``) is updated by the gradient of that, and rounded into it.
    """

    halves: dict[Tensor, Tensor]

    def __init__(self, *arguments: Any, **settings: Any) -> None:
        super().__init__(*arguments, **settings)
        self.halves = {}
        self._beside: torch.cuda.Stream | None = None
        self._aside: set[Tensor] = set()
        self.register_step_post_hook(type(self)._step_halves)

    def keep_halves(self, model: nn.Module, dtype: torch.dtype) -> None:
        """Give the layers of ``model`` that take one a half in ``dtype``, and update it from now on."""
        for module in model.modules():
            if isinstance(module, Halved) and module.takes_half and module.weight.requires_grad:
                half = self.halves.get(module.weight)  # layers may share a weight
                if half is None:
                    half = self.halves[module.weight] = module.weight.detach().to(dtype).requires_grad_()
                module.rounded = half

    def step_beside(self, stream: torch.cuda.Stream | None, weights: Iterable[Tensor]) -> None:
        """From now on update those of ``weights`` that have a half on ``stream``, where their gradients must be made.

        These updates wait for nothing on the current stream (but for a norm to clip by), and run beside the others,
        some of which are too short to fill a GPU. Without a stream all are updated on the current one.
        """
        self._beside, self._aside = stream, set(weights) if stream is not None else set()

    @torch.no_grad()
    def round_halves(self) -> None:
        """Round them anew, where weights were changed by others."""
        for weight, half in self.halves.items():
            half.copy_(weight)

    def gradients(self) -> Iterator[Tensor]:
        """Those that the next step will go down."""
        for group in self.param_groups:
            for weight in group["params"]:
                grad = self.halves.get(weight, weight).grad
                if grad is not None:
                    yield grad

    def zero_grad(self, set_to_none: bool = True) -> None:
        super().zero_grad(set_to_none)
        for half in self.halves.values():
            half.grad = None

    @torch.no_grad()
    def _step_halves(self, *_: Any) -> None:
        """The rest of a step: PyTorch has moved the weights with a gradient of their own; those with a half follow."""
        excess = getattr(self, "grad_scale", None)
        if self._beside is not None and excess is not None:
            self._beside.wait_stream(torch.cuda.current_stream(self._beside.device))
        for group in self.param_groups:
            moving = [p for p in group["params"] if p in self.halves and self.halves[p].grad is not None]
            if self._beside is not None:  # PyTorch would look for a GPU for no stream, too
                with torch.cuda.stream(self._beside):
                    self._move([weight for weight in moving if weight in self._aside], group, excess)
            self._move([weight for weight in moving if weight not in self._aside], group, excess)
        if self._beside is not None:
            torch.cuda.current_stream(self._beside.device).wait_stream(self._beside)

    def _move(self, weights: list[Tensor], group: dict[str, Any], excess: Tensor | None) -> None:
        moments = [self._moments(weight) for weight in weights]
        if moments:
            torch._foreach_add_([each.step for each in moments], 1)
        for weight, each in zip(weights, moments, strict=True):
            half = self.halves[weight]
            adam_step(weight, half, half.grad, each, group["lr"], group["betas"], group["eps"], excess)

    def _moments(self, weight: Tensor) -> Moments:
        """Those of a weight, made as PyTorch's Adam makes them on a GPU if there are none."""
        state = self.state[weight]
        if not state:
            state["step"] = torch.zeros((), dtype=torch.float32, device=weight.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(weight), torch.zeros_like(weight)
        return Moments(state["exp_avg"], state["exp_avg_sq"], state["step"])

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


def total_norm(tensors: list[Tensor]) -> Tensor:
    """The norm of all numbers of ``tensors`` together, in float32 at least."""
    norms = []
    for dtype in dict.fromkeys(tensor.dtype for tensor in tensors):
        alike = [tensor for tensor in tensors if tensor.dtype == dtype]
        norms += torch._foreach_norm(alike, 2, dtype=torch.promote_types(dtype, torch.float32))
    return torch.linalg.vector_norm(torch.stack(norms))


def _is_channels_last(tensor: Tensor) -> bool:
    layout = torch.channels_last
    return tensor.dim() == 4 and tensor.is_contiguous(memory_format=layout) and not tensor.is_contiguous()
