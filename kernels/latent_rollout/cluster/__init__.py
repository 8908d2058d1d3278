"""The latent rollout in a thread-block cluster: CUDA C++, compiled at run time. README.md beside this file."""

from kernels.latent_rollout.cluster.compiler import ClusterError
from kernels.latent_rollout.cluster.launch import Kept, forward, prepare, recursion, resident_clusters, rows_for, takes

__all__ = ["ClusterError", "Kept", "forward", "prepare", "recursion", "resident_clusters", "rows_for", "takes"]
