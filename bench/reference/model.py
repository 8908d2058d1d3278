"""The model frame by frame, as the paper states it: the baseline of every timing and an independent oracle.

Plain PyTorch and nothing of fastsep but its settings. Every window is encoded by a call of its own, every frame is
decoded by a call of its own, the integrator advances one frame at a time, and ``nn.BatchNorm2d`` sees each call by
itself.

Letters: B batch, n conditioning frames, m frames to predict, L size of the dynamic code, ``*shape`` one frame.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bench.reference.networks import DECODERS, ENCODERS, ResidualConv, ResidualMLP
from fastsep.config import ModelConfig, ObjectiveConfig


class ReferenceModel(nn.Module):
    """E_S, E_T, D and R of the paper, one call at a time.

    Initialised as published: N(0, 0.02) in the encoders and the decoder, orthogonal in the integrator, zero biases.
    """

    def __init__(self, config: ModelConfig):
        super().__init__()
        self.config = config
        encoder, decoder = ENCODERS[config.encoder], DECODERS[config.decoder]
        self.encoder_s = None if config.no_s else encoder(config, config.code_size_s)
        self.encoder_t = encoder(config, config.code_size_t)
        mixed = config.code_size_t + (config.code_size_s if config.mixing == "concat" else 0)
        self.decoder = decoder(config, mixed)
        self.integrator = ResidualConv(config) if config.encoder == "sst" else ResidualMLP(config)
        self._initialise()

    @torch.no_grad()
    def _initialise(self) -> None:
        for name, module in self.named_modules():
            if isinstance(module, nn.BatchNorm2d):
                module.weight.normal_(1, 0.02)
            elif isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                if name.startswith("integrator"):
                    nn.init.orthogonal_(module.weight, self.config.gain_resnet)
                else:
                    module.weight.normal_(0, 0.02)
                module.bias.zero_()

    def encode_static(self, window: Tensor) -> tuple[Tensor | float, list[Tensor]]:
        """S and, for a model with skips, the feature maps; S is 1 in the ablation."""
        if self.encoder_s is None:
            return 1.0, []
        code, features = self.encoder_s(window)
        return code, features if self.config.skip else []

    def encode_dynamic(self, window: Tensor) -> Tensor:
        """T of the window's first (offset n) or next (offset 0) frame."""
        return self.encoder_t(window)[0]

    def decode(self, static: Tensor | float, dynamic: Tensor, features: list[Tensor]) -> Tensor:
        """One frame (B, *shape)."""
        code = static * dynamic if self.config.mixing == "mul" else torch.cat([static, dynamic], 1)
        frame = self.decoder(code, features)
        return frame.sigmoid() if self.config.last_activation == "sigmoid" else frame

    def roll_out(self, t: Tensor, frames: int) -> list[Tensor]:
        """[T_0, ..., T_{frames-1}]."""
        codes = [t]
        for _ in range(frames - 1):
            codes.append(self.integrator(codes[-1]))
        return codes

    def generate(self, cond: Tensor, frames: int) -> Tensor:
        """(B, n, *shape) -> (B, frames, *shape), numbered as the decoder does."""
        static, features = self.encode_static(cond)
        codes = self.roll_out(self.encode_dynamic(cond), frames)
        return torch.stack([self.decode(static, t, features) for t in codes], 1)

    def forecast(self, cond: Tensor, horizon: int) -> Tensor:
        """(B, n, *shape) -> the next ``horizon`` frames (B, horizon, *shape)."""
        return self.generate(cond, horizon + self.config.offset)[:, self.config.offset :]


class ReferenceLosses(NamedTuple):
    """The four terms before weighting, their weighted sum, and what the forecast was made of."""

    ae: Tensor
    invariance: Tensor
    prediction: Tensor
    regularisation: Tensor
    total: Tensor
    forecast: Tensor  # (B, m + offset, *shape)
    codes: Tensor  # (m + offset, B, L, ...)


def reference_objective(model: ReferenceModel, video: Tensor, end: Tensor, config: ObjectiveConfig) -> ReferenceLosses:
    """Loss of one batch (paper, section 3).

    Args:
        video: (B, n + m, *shape).
        end: scalar int64, the last frame (exclusive) of the window that the auto-encoding term encodes.
    """
    n, offset = model.config.nt_cond, model.config.offset
    first, last = video[:, :n], video[:, -n:]
    steps = torch.arange(-n, 0, device=video.device)
    window = video.index_select(1, end + steps)  # (B, n, *shape)
    target = video.index_select(1, (end - offset).reshape(1)).squeeze(1)  # (B, *shape)

    static, features = model.encode_static(first)
    if model.config.no_s:
        invariance = video.new_zeros(())
    else:
        static_last, features_last = model.encode_static(last)
        here = torch.cat([x.flatten(1) for x in (static, *features)], 1)
        there = torch.cat([x.flatten(1) for x in (static_last, *features_last)], 1)
        invariance = F.mse_loss(here, there)

    ae = F.mse_loss(model.decode(static, model.encode_dynamic(window), features), target)

    t0 = model.encode_dynamic(first)
    codes = model.roll_out(t0, config.nt_pred + offset)
    forecast = torch.stack([model.decode(static, t, features) for t in codes], 1)
    prediction = F.mse_loss(forecast, video if offset else video[:, n:])

    squares = t0.square() if model.config.encoder == "sst" else t0.square().sum(1)
    regularisation = 0.5 * squares.mean()

    lamb_t = 0.0 if model.config.no_s else config.lamb_t
    total = config.lamb_ae * ae + config.lamb_s * invariance + config.lamb_pred * prediction + lamb_t * regularisation
    return ReferenceLosses(ae, invariance, prediction, regularisation, total, forecast, torch.stack(codes))


def compile_networks(model: ReferenceModel, backend: str | Callable = "inductor") -> None:
    """``torch.compile`` encoders, decoder and integrator in place, each once however many frames call it."""
    for network in model.children():
        network.compile(dynamic=False, backend=backend)


class ReferenceStep:
    """Forward, backward and ``torch.optim.Adam`` as one would write them first.

    Args:
        precision: ``fp32``, or ``bf16`` for autocast around the forward pass.
        compiled: ``torch.compile`` the whole objective, or, where that takes minutes because it is unrolled over the
            frames (on a CPU, and of convolutional networks), each network by itself.
        capturable: keep Adam's counters on the device, so that a CUDA graph can hold the step.
    """

    def __init__(
        self,
        model: ReferenceModel,
        objective: ObjectiveConfig,
        lr: float = 4e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        precision: str = "fp32",
        compiled: bool = False,
        capturable: bool = False,
    ):
        self.model, self.config, self.precision = model, objective, precision
        self.optimiser = torch.optim.Adam(model.parameters(), lr, betas, capturable=capturable)
        self.objective = reference_objective
        if compiled and model.config.encoder == "mlp" and next(model.parameters()).is_cuda:
            self.objective = torch.compile(reference_objective)
        elif compiled:
            compile_networks(model)

    def __call__(self, video: Tensor, end: Tensor | None = None) -> Tensor:
        """Train on ``video`` (B, n + m, *shape) and return the total loss."""
        n, offset = self.model.config.nt_cond, self.model.config.offset
        if end is None:
            top = video.shape[1] if offset else video.shape[1] - 1
            end = torch.randint(n, top + 1, (), device=video.device)
        self.optimiser.zero_grad()
        with torch.autocast(video.device.type, torch.bfloat16, enabled=self.precision == "bf16"):
            loss = self.objective(self.model, video, end, self.config).total
        loss.backward()
        self.optimiser.step()
        return loss.detach()
