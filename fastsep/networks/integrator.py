"""The integrator R of vector codes: residual blocks of a small MLP, explicit Euler steps of a latent ODE."""

from __future__ import annotations

from torch import Tensor, nn

from fastsep.networks.mlp import linears
from kernels.latent_rollout import rollout


class MLPIntegrator(nn.Module):
    """T <- T + f_k(T) for each residual block k; f_k is Linear, ReLU, Linear, ReLU, Linear.

    That is what ``kernels/latent_rollout/reference.py`` defines and every kernel beside it computes, from the
    parameters in their order here: another f_k needs another rollout (as in sst.py, which has a loop of its own).
    """

    def __init__(self, code_size: int, hidden: int, n_blocks: int):
        super().__init__()
        sizes = [code_size, hidden, hidden, code_size]
        self.blocks = nn.ModuleList(linears(sizes, nn.Linear) for _ in range(n_blocks))

    def forward(self, t0: Tensor, frames: int) -> Tensor:
        """Roll T_0 (B, L) out to the codes of ``frames`` frames, T_0 included: (frames, B, L)."""
        return rollout(t0, tuple(self.parameters()), frames)
