"""The distinct convolutional layers of a preset, each with the batch norm and activation behind it, alone.

Letters: K network calls, N = K*B images, C channels.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.utils.flop_counter import FlopCounterMode

from bench.rows import Row
from bench.subjects import Subject, shrunk
from fastsep.machine.precision import autocast, precision_name, resolve_precision
from fastsep.model import SeparableModel
from fastsep.networks.convolutions import CodeConvTranspose2d
from fastsep.networks.layers import activate, conv_norm
from fastsep.objective import run_networks
from fastsep.presets import PRESETS
from fastsep.training.ways import cudnn_benchmark
from kernels.choose import asked_for, decide, use

THIN = 16
"""A layer with fewer channels on one side is thin."""


@dataclass
class Layer:
    """A convolution, the norm behind it if any, and the shapes that a step hands to it."""

    name: str
    conv: nn.Module
    norm: nn.Module | None
    slope: float
    calls: int
    shapes: tuple[torch.Size, ...]
    """Of the dynamic input and, where static channels join, of those."""
    first: bool
    """It reads frames, which need no gradient."""
    others: list[str] = field(default_factory=list)
    """Layers of the step that do the same on the same shapes."""

    @property
    def thin(self) -> bool:
        return min(self.conv.in_channels, self.conv.out_channels) < THIN

    def by_pytorch(self, inputs: list[Tensor], padded: bool = False) -> Tensor:
        """The layer as PyTorch's own functions would be called: images joined and doubled, a norm a call.

        ``padded`` fills thin sides up with zero channels to a multiple of 8, which is what tensor cores like.
        """
        conv, (x, *static) = self.conv, inputs
        if getattr(conv, "doubles", type(conv).__name__ == "DoublingConv2d"):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
        if static:
            parts = [x, static[0].repeat(self.calls, *[1] * (x.dim() - 1))]
            first = isinstance(conv, CodeConvTranspose2d) or getattr(conv, "static_first", False)
            x = torch.cat(parts[::-1] if first else parts, 1)
        x = x[..., None, None] if isinstance(conv, CodeConvTranspose2d) else x
        function = F.conv_transpose2d if isinstance(conv, nn.ConvTranspose2d) else F.conv2d
        weight, bias = conv.weight, conv.bias
        if padded:
            rows, columns = -weight.shape[0] % 8, -weight.shape[1] % 8
            weight = F.pad(weight, (0, 0, 0, 0, 0, columns, 0, rows))
            x = F.pad(x, (0, 0, 0, 0, 0, weight.shape[0 if isinstance(conv, nn.ConvTranspose2d) else 1] - x.shape[1]))
            bias = F.pad(bias, (0, -len(bias) % 8))
        y = function(x, weight, bias, conv.stride, conv.padding)[:, : conv.out_channels]
        if self.norm is not None:
            n = self.norm
            rest = n.running_mean, n.running_var, n.weight, n.bias, True, n.momentum, n.eps
            y = torch.cat([F.batch_norm(part, *rest) for part in y.chunk(self.calls)])
        return F.leaky_relu(y, self.slope) if self.slope != 1.0 else y

    def ours(self, inputs: list[Tensor]) -> Tensor:
        """The layer as the networks run it."""
        arguments = (*inputs, self.calls) if len(inputs) > 1 else inputs
        if self.norm is None:
            return activate(self.conv(*arguments), self.slope)
        return conv_norm(self.conv, self.norm, *arguments, calls=self.calls, slope=self.slope)


@lru_cache
def layers(preset: str, batch: int, small: bool = False) -> tuple[Layer, ...]:
    """The distinct layers of a training step of ``preset``, in its order; found on fake tensors."""
    config = PRESETS[preset]()
    config = shrunk(config) if small else config
    model = SeparableModel(config.model).train()
    found: dict[tuple, Layer] = {}
    hooks = [conv.register_forward_pre_hook(_note(found, batch, *rest, conv)) for conv, *rest in _convolutions(model)]
    with FakeTensorMode(allow_non_fake_inputs=True):
        video = torch.empty(batch, config.window, *config.model.shape)
        run_networks(model, video, torch.empty((), dtype=torch.int64), config.objective)
    for hook in hooks:
        hook.remove()
    return tuple(found.values())


def _convolutions(model: nn.Module) -> Iterator[tuple[nn.Module, str, nn.Module | None, float]]:
    """Every convolution with its name, the norm behind it and the slope of the activation after that."""
    for path, owner in model.named_modules():
        norms = {conv: norm for norm, conv in getattr(owner, "NORMS", {}).items()}
        for name, conv in owner.named_children():
            if isinstance(conv, nn.Conv2d | nn.ConvTranspose2d):
                norm = getattr(owner, norms.get(name, ""), None)
                slope = getattr(owner, "slope", 0.0 if norm is not None else 1.0)
                yield conv, f"{path}.{name}", norm, slope


def _note(
    found: dict[tuple, Layer], batch: int, name: str, norm: nn.Module | None, slope: float, conv: nn.Module
) -> Callable:
    def hook(_: nn.Module, arguments: tuple) -> None:
        inputs = [a for a in arguments if isinstance(a, Tensor)]
        calls = inputs[0].shape[0] // batch
        shapes = tuple(i.shape for i in inputs)
        key = type(conv), conv.weight.shape, conv.stride, conv.padding, shapes, norm is None, slope
        if key in found:
            found[key].others.append(name)
        else:
            found[key] = Layer(name, conv, norm, slope, calls, shapes, not inputs[0].requires_grad)

    return hook


def layer_subject(
    preset: str, layer: Layer, way: str, backward: bool, batch: int, device: torch.device, precision: str
) -> Subject:
    """One layer on random inputs, forward alone or with its gradients; ``way`` may be padded or compiled."""
    dtype = resolve_precision(precision, device)
    torch.manual_seed(0)
    mine = replace(layer, conv=copy.deepcopy(layer.conv), norm=copy.deepcopy(layer.norm))
    mine.conv.to(device, memory_format=torch.channels_last)
    if mine.norm is not None:
        mine.norm.to(device)
    inputs = [
        torch.randn(shape, device=device).to(dtype if not layer.first else torch.float32) for shape in layer.shapes
    ]
    inputs = [x if layer.first or x.dim() != 4 else x.to(memory_format=torch.channels_last) for x in inputs]
    inputs = [x.requires_grad_(backward and not layer.first) for x in inputs]
    form = partial(mine.by_pytorch, padded="padded" in way) if way.startswith("reference") else mine.ours
    form = torch.compile(form, dynamic=False) if "compiled" in way else form
    wanted = [x for x in inputs if x.requires_grad] + [mine.conv.weight, *(mine.norm.parameters() if mine.norm else [])]

    chooses = way.startswith("fastsep") and device.type == "cuda"  # in a step others may be chosen for it and its norm
    with torch.no_grad(), autocast(device, dtype):
        shape = mine.by_pytorch(inputs).shape
        if chooses:
            with asked_for() as cases:
                mine.ours(inputs)
    if chooses:
        with cudnn_benchmark(True):  # as in a step, whose choices these are
            decided = decide(cases, device)  # with gradients and exact references
        use({case: choice.use for case, choice in decided.items()})
    grad = torch.randn(shape, device=device).to(memory_format=torch.channels_last)

    def call() -> None:
        with torch.set_grad_enabled(backward), autocast(device, dtype):
            y = form(inputs)
        if backward:
            torch.autograd.grad(y, wanted, grad.to(y.dtype))

    passes = 3 if backward else 1
    traffic = sum(x.nbytes for x in inputs) + grad.numel() * inputs[0].element_size()
    row = Row(
        f"conv_block/{preset}", way, device.type, precision_name(dtype),
        {"batch": batch, "layer": layer.name, "pass": "fwd+bwd" if backward else "fwd"},
        items=layer.shapes[0][0], flops=flops(layer) * (2 if layer.first and backward else passes),
        bytes=passes * traffic,
        info={"times": 1 + len(layer.others), "shapes": [list(s) for s in layer.shapes], "thin": layer.thin,
              "weight": list(layer.conv.weight.shape)},
    )  # fmt: skip
    return Subject(row, call, keep=[mine, inputs])


def flops(layer: Layer) -> int:
    """Floating-point operations of the library's forward pass."""
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        replace(layer, conv=copy.deepcopy(layer.conv).to("meta"), norm=None).by_pytorch(
            [torch.empty(shape, device="meta") for shape in layer.shapes]
        )
    return counter.get_total_flops()
