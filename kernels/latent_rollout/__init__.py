"""The latent rollout T_{k+1} = R(T_k) as one differentiable operation."""

from kernels.latent_rollout.op import rollout

__all__ = ["rollout"]
