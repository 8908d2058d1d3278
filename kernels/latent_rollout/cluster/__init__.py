"""The latent rollout in a thread-block cluster: CUDA C++, compiled at run time. README.md beside this file."""

from kernels.latent_rollout.cluster.compiler import ClusterError
from kernels.latent_rollout.cluster.launch import forward, recursion, resident_clusters, takes

__all__ = ["ClusterError", "forward", "recursion", "resident_clusters", "takes"]
