"""Writes frames in every format that is read, for the tests."""

from __future__ import annotations

import shutil
from pathlib import Path

import h5py
import numpy as np
import xarray
import zarr

from fastsep.data.frames.source import Source

SIZES = {"n": 3, "t": 7, "c": 2, "h": 5, "w": 6, "p": 4}
TYPES = ("<f4", ">f4", "<f8", "<f2", "|u1", "<i2", ">i4", "|b1")
LAYOUTS = ("ntchw", "nthw", "tchw", "thwc", "thw", "ntp", "tp", "ntcp", "hwtn", "cwhnt", "ptn", "tcnhw", "nhwct")


def made(layout: str, dtype: str = "<f4", seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """An array, and the frames (N, T, C, *space) that it holds."""
    shape = [SIZES[key] for key in layout]
    values = np.random.default_rng(seed).integers(0, 2 if dtype == "|b1" else 100, shape).astype(dtype)
    frames = values.transpose([layout.index(key) for key in "ntchwp" if key in layout])
    for axis, key in enumerate("n c"):
        if key in "nc" and key not in layout:
            frames = np.expand_dims(frames, axis)
    return values, frames.astype(np.float32)


def write_hdf5(path: Path, values: np.ndarray) -> Path:
    with h5py.File(path / "x.h5", "w") as file:
        file["u"] = values
    return path / "x.h5"


def write_chunked(path: Path, values: np.ndarray) -> Path:
    with h5py.File(path / "x.hdf5", "w") as file:
        chunks = tuple(min(2, size) for size in values.shape)
        file.create_dataset("deep/er/u", data=values, chunks=chunks, compression="gzip", fletcher32=True)
    return path / "x.hdf5"


def write_npy(path: Path, values: np.ndarray) -> Path:
    np.save(path / "x.npy", values)
    return path / "x.npy"


def write_fortran(path: Path, values: np.ndarray) -> Path:
    np.save(path / "x.npy", np.asfortranarray(values))
    return path / "x.npy"


def write_npz(path: Path, values: np.ndarray) -> Path:
    np.savez(path / "x.npz", u=values)
    return path / "x.npz"


def write_npz_packed(path: Path, values: np.ndarray) -> Path:
    np.savez_compressed(path / "x.npz", u=np.asfortranarray(values), x=np.arange(3))
    return path / "x.npz"


def write_netcdf(path: Path, values: np.ndarray, engine: str = "h5netcdf", form: str = "NETCDF4") -> Path:
    names = [f"axis{k}" for k in range(values.ndim)]
    values = values.astype(values.dtype.newbyteorder("="))
    xarray.Dataset({"u": (names, values)}).to_netcdf(path / "x.nc", engine=engine, format=form)
    return path / "x.nc"


def write_netcdf3(path: Path, values: np.ndarray) -> Path:
    if values.dtype.kind in "ub" or (values.dtype.itemsize == 2 and values.dtype.kind == "f"):
        values = values.astype(np.int16)
    return write_netcdf(path, values, "scipy", "NETCDF3_64BIT")


def write_zarr(path: Path, values: np.ndarray, version: int = 3, **options) -> Path:
    shutil.rmtree(path / "x.zarr", ignore_errors=True)
    chunks = tuple(min(2, size) for size in values.shape)
    group = zarr.open_group(path / "x.zarr", mode="w", zarr_format=version)
    with zarr.config.set({"array.write_empty_chunks": True}):
        stored = group.create_array("deep/u", shape=values.shape, dtype=values.dtype, chunks=chunks, **options)
        stored[...] = values
    return path / "x.zarr"


def write_zarr2(path: Path, values: np.ndarray) -> Path:
    return write_zarr(path, values, version=2)


def write_zarr_sharded(path: Path, values: np.ndarray) -> Path:
    shards = tuple(2 * min(2, size) for size in values.shape)
    return write_zarr(path, values, shards=shards, compressors=[zarr.codecs.Crc32cCodec()])


WRITERS = {
    writer.__name__: writer
    for writer in (
        write_hdf5, write_chunked, write_npy, write_fortran, write_npz, write_npz_packed, write_netcdf, write_netcdf3,
        write_zarr, write_zarr2, write_zarr_sharded,
    )
}  # fmt: skip


def read_all(source: Source) -> np.ndarray:
    return np.stack([source.read(sequence, 0, source.frames) for sequence in range(source.sequences)])


def write_well(path: Path, seed: int = 0, space: tuple[int, ...] = (6, 8)) -> dict[str, np.ndarray]:
    """A file in the layout of The Well; its fields."""
    random, (samples, steps), names = np.random.default_rng(seed), (2, 5), "xyz"[: len(space)]
    vector = (len(space),)
    fields = {
        "t0_fields/density": random.random((samples, steps, *space), np.float32),
        "t0_fields/common": random.random((steps, *space), np.float32),
        "t0_fields/profile": random.random((samples, steps, space[0], 1), np.float32),
        "t0_fields/line": random.random((samples, steps, space[0]), np.float32),
        "t0_fields/walls": random.random((samples, *space), np.float32),
        "t1_fields/velocity": random.random((samples, steps, *space, *vector), np.float32),
        "t2_fields/stress": random.random((samples, steps, *space, *vector, *vector), np.float32),
    }
    varying = {"common": (False, True), "walls": (True, False)}
    with h5py.File(path, "w") as file:
        file.attrs.update(dataset_name="made", grid_type="cartesian", n_spatial_dims=len(space), n_trajectories=samples)
        file.attrs["simulation_parameters"] = []
        for group in ("boundary_conditions", "scalars", "t0_fields", "t1_fields", "t2_fields"):
            file.create_group(group).attrs["field_names"] = [n.split("/")[1] for n in fields if n.startswith(group)]
        for name in names:
            boundary = file["boundary_conditions"].create_group(f"{name}_periodic")
            boundary.attrs.update(associated_dims=name, bc_type="PERIODIC", sample_varying=False, time_varying=False)
            boundary.attrs["associated_fields"] = []
            boundary["mask"] = np.zeros(space[names.index(name)], bool)
        dimensions = file.create_group("dimensions")
        dimensions.attrs["spatial_dims"] = list(names)
        for name, size in zip(("time", *names), (steps, *space), strict=True):
            dimensions[name] = np.linspace(0, 1, size, dtype=np.float32)
            dimensions[name].attrs.update(sample_varying=False, time_varying=name == "time")
        for name, values in fields.items():
            file[name] = values
            sample, time = varying.get(name.split("/")[1], (True, True))
            file[name].attrs.update(sample_varying=sample, time_varying=time)
            file[name].attrs["dim_varying"] = [True, *["profile" not in name and "line" not in name] * (len(space) - 1)]
    return fields
