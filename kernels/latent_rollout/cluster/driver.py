"""Loaded kernels and their launch, through the CUDA driver.

The cluster's size is part of the kernel (``__cluster_dims__``), so a plain launch starts it, on PyTorch's current
stream; a CUDA graph captures it like any kernel. Nothing here is shared between launches but the loaded code.
"""

from __future__ import annotations

import ctypes
import threading
from typing import Any, NamedTuple

import torch

from kernels.latent_rollout.cluster import compiler
from kernels.latent_rollout.cluster.compiler import ClusterError, checked
from kernels.latent_rollout.cluster.variant import PROGRAMS, THREADS, Variant

POINTERS = ("start", "states", "w_lift", "w_mix", "w_drop", "b1", "b2", "b3")
POINTERS += ("out_lift", "out_mix", "signs_lift", "signs_mix", "marks")


class Arguments(ctypes.Structure):
    """As in cuda/shape.h."""

    _fields_ = (*((name, ctypes.c_void_p) for name in POINTERS), ("batch", ctypes.c_int), ("transitions", ctypes.c_int))


class Loaded(NamedTuple):
    """A kernel on a device, and how many of its clusters are resident at once."""

    function: Any
    clusters: int


_loaded: dict[tuple[int, Variant], Loaded] = {}
_lock = threading.Lock()


def load(variant: Variant, device: int) -> Loaded:
    """Compile (or take from the cache) and load a kernel; nothing to do the second time.

    Raises:
        ClusterError: no cuda.bindings, no NVRTC, a GPU without clusters; or a CUDA graph is being captured, which must
            not load anything.
    """
    key = device, variant
    if key in _loaded:
        return _loaded[key]
    with _lock:
        if key not in _loaded:
            if torch.cuda.is_current_stream_capturing():
                raise ClusterError("the cluster kernel is not loaded: run it once before capturing it in a CUDA graph")
            _loaded[key] = _load(variant, device)
    return _loaded[key]


def _load(variant: Variant, device: int) -> Loaded:
    major, minor = torch.cuda.get_device_capability(device)
    if major < 9:
        raise ClusterError(f"the cluster kernel needs a GPU with clusters (9.0 or later), this one is {major}.{minor}")
    driver, _ = compiler.bindings()
    with torch.cuda.device(device):
        _ensure_context(driver, device)
        cubin = compiler.cubin_for(variant, f"sm_{major}{minor}")
        error, module = driver.cuModuleLoadData(cubin)
        if int(error):  # what the cache held may be damaged
            cubin = compiler.cubin_for(variant, f"sm_{major}{minor}", again=True)
            module = checked(driver.cuModuleLoadData(cubin))
        function = checked(driver.cuModuleGetFunction(module, b"rollout"))
        attribute = driver.CUfunction_attribute.CU_FUNC_ATTRIBUTE_MAX_DYNAMIC_SHARED_SIZE_BYTES
        checked(driver.cuFuncSetAttribute(function, attribute, variant.shared))
        return Loaded(function, _resident(driver, function, variant))


def _resident(driver, function, variant: Variant) -> int:
    config = driver.CUlaunchConfig()
    config.gridDimX, config.gridDimY, config.gridDimZ = PROGRAMS, 1, 1
    config.blockDimX, config.blockDimY, config.blockDimZ = THREADS, 1, 1
    config.sharedMemBytes = variant.shared
    attribute = driver.CUlaunchAttribute()
    attribute.id = driver.CUlaunchAttributeID.CU_LAUNCH_ATTRIBUTE_CLUSTER_DIMENSION
    size = attribute.value.clusterDim
    size.x, size.y, size.z = PROGRAMS, 1, 1
    config.attrs, config.numAttrs = [attribute], 1
    return checked(driver.cuOccupancyMaxActiveClusters(function, config))


def _ensure_context(driver, device: int) -> None:
    """Make the device's primary context current in this thread, which may be one of autograd's and have none."""
    if not int(checked(driver.cuCtxGetCurrent())):
        checked(driver.cuCtxSetCurrent(checked(driver.cuDevicePrimaryCtxRetain(checked(driver.cuDeviceGet(device))))))


def launch(variant: Variant, device: int, groups: int, arguments: Arguments) -> None:
    """Start ``groups`` clusters on PyTorch's current stream; loads the kernel where that is to be done.

    Raises:
        ClusterError: as :func:`load`, or the launch was refused.
    """
    function = load(variant, device).function
    driver, _ = compiler.bindings()
    parameters = (ctypes.c_void_p * 1)(ctypes.addressof(arguments))
    with torch.cuda.device(device):
        _ensure_context(driver, device)
        stream = torch.cuda.current_stream(device).cuda_stream
        grid, block = (groups * PROGRAMS, 1, 1), (THREADS, 1, 1)
        checked(driver.cuLaunchKernel(function, *grid, *block, variant.shared, stream, ctypes.addressof(parameters), 0))
