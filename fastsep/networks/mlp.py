"""Multi-layer perceptrons: the encoders and the decoder of WaveEq.

Letters: K network calls, B batch, n conditioning frames, s and t code sizes; ``*shape`` one frame.
"""

from __future__ import annotations

import itertools
import math

import torch.nn.functional as F
from torch import Tensor, nn

from fastsep.networks.halves import Linear


def linears(sizes: list[int], layer: type[nn.Linear] = Linear) -> nn.ModuleList:
    """Linear layers between consecutive sizes."""
    return nn.ModuleList(layer(a, b) for a, b in itertools.pairwise(sizes))


class MLPEncoder(nn.Module):
    """Conditioning frames, flattened, to a code; ReLU between the layers, none after the last."""

    def __init__(self, shape: tuple[int, ...], nt_cond: int, hidden: int, n_layers: int, code_size: int):
        super().__init__()
        self.layers = linears([nt_cond * math.prod(shape)] + [hidden] * (n_layers - 1) + [code_size])

    def forward(self, frames: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """(K, B, n, *shape) -> code (K, B, code), and no skip features."""
        x = frames.flatten(2)  # (K, B, n * pixels)
        for layer in self.layers[:-1]:
            x = F.relu(layer(x))
        return self.layers[-1](x), ()


class MLPDecoder(nn.Module):
    """Codes to one frame each."""

    def __init__(self, shape: tuple[int, ...], mixing: str, size_s: int, size_t: int, hidden: int, n_layers: int):
        super().__init__()
        self.shape = shape
        self.mixing = mixing
        self.size_s = size_s
        code = size_s + size_t if mixing == "concat" else size_t
        self.layers = linears([code] + [hidden] * (n_layers - 1) + [math.prod(shape)])

    def forward(self, static: Tensor, dynamic: Tensor, skips: tuple[Tensor, ...] = ()) -> Tensor:
        """Static code (B, s) and dynamic codes (K, B, t) -> logits (K, B, *shape)."""
        x = self._first(static, dynamic)
        for layer in self.layers[1:]:
            x = layer(F.relu(x))
        return x.unflatten(-1, self.shape)

    def _first(self, static: Tensor, dynamic: Tensor) -> Tensor:
        """The layer that mixes the codes; what S alone contributes is computed once a sequence."""
        first = self.layers[0]
        if self.mixing == "mul":
            return first(static * dynamic)
        weight_s, weight_t = first.factor().split([self.size_s, first.in_features - self.size_s], dim=1)
        return F.linear(dynamic, weight_t) + F.linear(static, weight_s, first.bias)
