"""The separable model: static code S, dynamic code T, rollout of T, decoder (paper, section 3).

Letters: B batch, K network calls, n conditioning frames, N frames, L size of T; ``*shape`` one frame.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from fastsep.errors import UserError
from fastsep.model_config import ModelConfig
from fastsep.network_kinds import kind_of
from fastsep.networks import build_decoder, build_encoder, build_integrator, init_weights
from fastsep.networks.layers import require_call_norms


class Static(NamedTuple):
    """What a sequence keeps: the code S (B, s, ...) and the encoder's skip features (B, c, h, w), deepest first."""

    code: Tensor
    skips: tuple[Tensor, ...] = ()

    def unbind(self) -> tuple[Static, ...]:
        """That of each of K stacked calls. Their gradients come back as one stack; ``[0]`` would fill up zeros."""
        return tuple(Static(code, skips) for code, *skips in zip(*(part.unbind() for part in self.parts), strict=True))

    @property
    def parts(self) -> tuple[Tensor, ...]:
        """The code and the skip features, in a row."""
        return self.code, *self.skips


class SeparableModel(nn.Module):
    """Forecasts a sequence from n conditioning frames by splitting it into S and T.

    The networks take whole stacks of calls at once: both windows of an encoder, all frames of a decode. Each call in a
    stack keeps the batch-norm statistics it would have alone.
    """

    def __init__(self, config: ModelConfig):
        """A model with fresh weights.

        Raises:
            UserError: settings that are left open or do not fit each other.
            TypeError: a network with a batch norm that would take a stack of calls for one.
        """
        super().__init__()
        if config.left_open:
            flags = ", ".join("--" + name.replace("_", "-") for name in config.left_open)
            raise UserError(f"a model needs all of its settings: settle {flags} with fastsep.model_auto")
        self.config = config
        self.encoder_s = None if config.no_s else build_encoder(config, config.code_size_s, skips=config.skip)
        self.encoder_t = build_encoder(config, config.code_size_t)
        self.decoder = build_decoder(config)
        self.integrator = build_integrator(config)
        require_call_norms(self)
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draw the weights from the paper's distributions."""
        networks = [net for net in (self.encoder_s, self.encoder_t, self.decoder) if net is not None]
        init_weights(networks, self.integrator, self.config.gain_resnet, self.config.init)

    def lay_out(self) -> SeparableModel:
        """Store convolutions' weights channels last, the layout in which they are fast; returns the model."""
        is_convolutional = kind_of(self.config.encoder).convolutional
        return self.to(memory_format=torch.channels_last) if is_convolutional else self

    def encode_static(self, frames: Tensor) -> Static:
        """Windows (K, B, n, *shape) -> S (K, B, s, ...) and skip features (K, B, c, h, w)."""
        if self.encoder_s is None:
            return Static(frames.new_ones(*frames.shape[:2], self.config.code_size_s))
        return Static(*self.encoder_s(frames))

    def encode_dynamic(self, frames: Tensor) -> Tensor:
        """Windows (K, B, n, *shape) -> T (K, B, L, ...), in float32 at least: the state of the rollout."""
        code = self.encoder_t(frames)[0]
        return code if code.dtype == torch.float64 else code.float()

    def roll_out(self, t0: Tensor, frames: int) -> Tensor:
        """T_0 (B, L, ...) -> T_0 ... T_{frames-1} (frames, B, L, ...)."""
        return self.integrator(t0, frames)

    def decode(self, static: Static, dynamic: Tensor) -> Tensor:
        """S of B sequences and T (K, B, L, ...) -> frames (K, B, *shape), float32 (float64 for a float64 model)."""
        logits = self.decoder(static.code, dynamic, static.skips)
        if logits.dtype != torch.float64:
            # A bf16 sigmoid alone would cost about 1e-6 of mean squared error.
            logits = logits.float()
        return _sigmoid(logits, self.training) if self.config.last_activation == "sigmoid" else logits

    def describe(self, cond: Tensor) -> tuple[Static, Tensor]:
        """Conditioning frames (B, n, *shape) -> S and T_0 of each sequence."""
        (static,) = self.encode_static(cond[None]).unbind()
        return static, self.encode_dynamic(cond[None])[0]

    def trajectory(self, cond: Tensor, frames: int) -> Tensor:
        """T_0 ... T_{frames-1} of conditioning frames (B, n, *shape): (frames, B, L, ...)."""
        return self.roll_out(self.encode_dynamic(cond[None])[0], frames)

    def forecast(self, cond: Tensor, horizon: int) -> Tensor:
        """The ``horizon`` frames after the conditioning frames (B, n, *shape): (B, horizon, *shape)."""
        return self.swap(cond, cond, horizon)

    def swap(self, content: Tensor, motion: Tensor, horizon: int) -> Tensor:
        """Forecast with S of ``content`` and T of ``motion``, each (B, n, *shape): (B, horizon, *shape)."""
        static, t0 = self.describe(content)
        if motion is not content:
            t0 = self.encode_dynamic(motion[None])[0]
        dynamic = self.roll_out(t0, horizon + self.config.offset)[self.config.offset :]
        return self.decode(static, dynamic).transpose(0, 1)


def _sigmoid(logits: Tensor, training: bool) -> Tensor:
    """A compiler might write the frames for the backward pass, for which the logits, which are there anyway, do."""
    if training and torch.compiler.is_compiling():
        return checkpoint(torch.sigmoid, logits, use_reentrant=False, preserve_rng_state=False)
    return logits.sigmoid()
