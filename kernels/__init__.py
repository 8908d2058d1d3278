"""GPU and CPU kernels. Each folder is one operation; nothing here imports ``fastsep``."""
