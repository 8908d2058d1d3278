"""Packaging: what a CPU needs, and for what the extras are."""

import re
from pathlib import Path

from setuptools import find_packages, setup

here = Path(__file__).parent
version = re.search(r'__version__ = "(.+)"', (here / "fastsep" / "__init__.py").read_text()).group(1)

setup(
    name="fastsep",
    version=version,
    description="PDE-driven spatiotemporal disentanglement, fast on CPU and GPU",
    long_description=(here / "README.md").read_text(),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    python_requires=">=3.11",
    packages=find_packages(include=["fastsep", "fastsep.*", "kernels", "kernels.*"]),
    package_data={"fastsep": ["py.typed"], "kernels": ["**/*.md", "**/*.json", "**/*.cu", "**/*.h", "**/*.cpp"]},
    install_requires=[
        "torch>=2.11,<2.14",
        "numpy>=2",
        "numba>=0.60",  # the multi-core generator of wave-equation data
        "h5py>=3.10",  # data files
        "safetensors>=0.4",  # weights
        "tyro>=0.9",  # typed command lines
        "docstring-parser>=0.16",  # what they say of each setting
        "tqdm>=4.66",  # progress
        "tensorboard>=2.15",  # scalars and images of a run
        "matplotlib>=3.8",  # figures
        "pillow>=10",  # chairs' views, animations
    ],
    extras_require={
        # Moving MNIST: a downloader with checksums, bundled digits. Preparing SST: NetCDF-4 written, NetCDF-3 read.
        "data": ["pooch>=1.8", "scikit-learn>=1.4", "h5netcdf>=1.3", "scipy>=1.11"],
        # Frames in Zarr stores.
        "zarr": ["zarr>=3.0.8"],
        # Runs as ONNX programs.
        "onnx": ["onnx>=1.17", "onnxscript>=0.5"],
        # A CUDA build of torch brings Triton of its own; this adds the compilers of the Numba CUDA kernel and of the
        # latent rollout's cluster kernel.
        "gpu": [
            "triton>=3.6; sys_platform == 'linux'",
            "numba-cuda[cu13]>=0.20; sys_platform == 'linux'",
            "nvidia-cuda-nvcc>=13; sys_platform == 'linux'",
            "cuda-bindings>=13; sys_platform == 'linux'",
            "nvidia-cuda-nvrtc>=13; sys_platform == 'linux'",
        ],
        # pytest and the oracles that tests and benchmarks compare with. Triton is for its interpreter and its
        # compiler, which need no GPU; it carries no CUDA package.
        "test": [
            "fastsep[data,zarr,onnx]",
            "pytest>=8",
            "pytest-benchmark>=4",
            "pytest-xdist>=3",
            "hypothesis>=6",
            "onnxruntime>=1.20",
            "the-well>=1.2",
            "xarray>=2024.1",
            "scikit-image>=0.22",
            "triton>=3.6; sys_platform == 'linux'",
        ],
    },
)
