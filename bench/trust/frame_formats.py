"""Users' own frames in every format that ``open_source`` reads."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import xarray
import zarr

from bench.trust.format import Arrays, Format
from fastsep.data.formats.checksum import checksum, pack_checksums
from fastsep.data.formats.hdf5_stream import Rows, hdf5_stream
from fastsep.data.formats.netcdf_stream import Variable, netcdf_stream
from fastsep.data.frames.opening import open_source

_SHAPE = (3, 6, 8, 8)  # (N, T, H, W)
_CHUNKS = (1, 4, 8, 8)


def _values() -> np.ndarray:
    return np.random.RandomState(0).rand(*_SHAPE).astype(np.float32)


def _npy(folder: Path) -> None:
    np.save(folder / "x.npy", _values())


def _npy_with_sums(folder: Path) -> None:
    """As this program writes it."""
    np.save(folder / "x.npy", _values())
    with open(folder / "x.npy", "ab") as file:
        file.write(pack_checksums([checksum(row) for row in _values()]))


def _npz(folder: Path) -> None:
    np.savez(folder / "x.npz", u=_values())


def _npz_packed(folder: Path) -> None:
    np.savez_compressed(folder / "x.npz", u=_values())


def _hdf5(folder: Path, libver: Any = ("v110", "v110")) -> None:
    with h5py.File(folder / "x.h5", "w", libver=libver) as file:
        file.create_dataset("u", data=_values(), chunks=_CHUNKS, fletcher32=True)


def _hdf5_of_others(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        group = file.create_group("deep")
        group.create_dataset("u", data=_values(), chunks=_CHUNKS, compression="gzip")
        group["u"].attrs["units"] = "m"


def _hdf5_with_sums(folder: Path) -> None:
    """As this program writes it."""
    with hdf5_stream(folder / "x.h5", {}, {}, "u", Rows(_SHAPE, np.dtype("<f4"))) as rows:
        rows.write(_values())


def _forecast(folder: Path) -> None:
    """NetCDF as this program writes it."""
    sizes = dict(zip(("sample", "time", "lat", "lon"), _SHAPE, strict=True))
    variables = {"time": Variable(("time",), np.arange(_SHAPE[1])), "u": Variable(tuple(sizes), None, {"units": "K"})}
    with netcdf_stream(folder / "x.nc", {"horizon": _SHAPE[1]}, sizes, variables) as file:
        file.write("u", _values())


def _well(folder: Path) -> None:
    with h5py.File(folder / "x.h5", "w") as file:
        file.attrs.update(n_spatial_dims=2, n_trajectories=_SHAPE[0])
        file.create_group("dimensions").attrs["spatial_dims"] = ["x", "y"]
        for name, size in zip(("time", "x", "y"), _SHAPE[1:], strict=True):
            file[f"dimensions/{name}"] = np.arange(size)
        for group, name, values in (("t0_fields", "a", _values()), ("t1_fields", "v", np.stack([_values()] * 2, -1))):
            file.create_group(group).attrs["field_names"] = [name]
            file[group][name] = values
            file[group][name].attrs.update(sample_varying=True, time_varying=True, dim_varying=[True, True])


def _dataset() -> xarray.Dataset:
    coordinates = {"time": np.arange(_SHAPE[1]), "lat": np.arange(8.0), "lon": np.arange(8.0)}
    values = np.where(_values()[0] > 0.9, np.nan, _values()[0])
    return xarray.Dataset({"u": (tuple(coordinates), values, {"units": "K"})}, coordinates)


_PACKED = {"u": {"dtype": "i2", "scale_factor": 1e-4, "_FillValue": -32767}}


def _netcdf4(folder: Path) -> None:
    packing = {"u": {**_PACKED["u"], "zlib": True, "chunksizes": (2, 8, 8)}}
    _dataset().to_netcdf(folder / "x.nc", engine="h5netcdf", encoding=packing)


def _netcdf3(folder: Path) -> None:
    _dataset().to_netcdf(folder / "x.nc", engine="scipy", format="NETCDF3_64BIT", encoding=_PACKED)


def _zarr(version: int, **options: Any) -> Callable[[Path], None]:
    def make(folder: Path) -> None:
        stored = zarr.create_array(folder / "x.zarr", shape=_SHAPE, dtype=np.float32, chunks=_CHUNKS,
                                   zarr_format=version, **options)  # fmt: skip
        stored[...] = _values()

    return make


def _folder(folder: Path) -> None:
    (folder / "x").mkdir()
    for number, sequence in enumerate(_values()):
        np.save(folder / "x" / f"{number}.npy", sequence)


def _read(folder: Path) -> Arrays:
    source = open_source(next(folder.glob("x*")))
    try:
        yield from (source.sequences, source.frames, *source.shape, source.layout, *source.names, *source.units)
        for sequence in range(source.sequences):
            for first in range(0, source.frames, 4):
                values = source.read(sequence, first, min(4, source.frames - first))
                yield np.nan_to_num(values, posinf=1, neginf=1)  # what is missing or infinite shows when it is scanned
        for name, (dims, values, _) in source.coordinates.items():
            yield from (name, *dims, np.nan_to_num(values, posinf=1, neginf=1))
    finally:
        source.close()


# A chunk in the place of another fits its own checksum: one file is changed, with nothing of the others.
FRAME_FORMATS = {
    "frames .npy": Format(_npy, "x.npy", _read, share=0.5),
    "frames .npy, checksums of rows": Format(_npy_with_sums, "x.npy", _read, share=0.5),
    "frames .npz": Format(_npz, "x.npz", _read, checked=True, share=0.5),
    "frames .npz, compressed": Format(_npz_packed, "x.npz", _read, checked=True, share=0.5),
    "frames HDF5, checksums of chunks": Format(_hdf5, "x.h5", _read, checked=True, share=0.15),
    "frames HDF5, checksums of rows": Format(_hdf5_with_sums, "x.h5", _read, checked=True, share=0.15),
    "frames HDF5 of others": Format(_hdf5_of_others, "x.h5", _read, share=0.15),
    "frames NetCDF-4, checksums of variables": Format(_forecast, "x.nc", _read, checked=True, share=0.15),
    "frames of The Well": Format(_well, "x.h5", _read, share=0.15),
    "frames NetCDF-4": Format(_netcdf4, "x.nc", _read, share=0.15),
    "frames NetCDF-3": Format(_netcdf3, "x.nc", _read, share=0.5),
    "frames Zarr 3": Format(_zarr(3), "x.zarr/zarr.json", _read, share=0.3),
    "frames Zarr 3, checksums of chunks": Format(
        _zarr(3, compressors=[zarr.codecs.ZstdCodec(), zarr.codecs.Crc32cCodec()]), "x.zarr/c/1/0/0/0", _read,
        checked=True, share=0.3,
    ),
    "frames Zarr 3, shards": Format(
        _zarr(3, shards=(1, 8, 8, 8), compressors=[zarr.codecs.Crc32cCodec()]), "x.zarr/c/1/0/0/0", _read,
        checked=True, share=0.3,
    ),
    "frames Zarr 2": Format(_zarr(2), "x.zarr/[.0-9]*", _read, share=0.3),
    "frames in a folder": Format(_folder, "x/*.npy", _read, share=0.3),
}  # fmt: skip
