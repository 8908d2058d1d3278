"""The latent rollout T_{k+1} = R(T_k) as one differentiable operation."""

from kernels.choose import register
from kernels.latent_rollout.candidates import make_task
from kernels.latent_rollout.op import rollout
from kernels.latent_rollout.settle import OP

register(OP, make_task)

__all__ = ["rollout"]
