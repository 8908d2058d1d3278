"""Every kind of file that the program reads: how a small good one is made, and how it is read."""

from __future__ import annotations

import dataclasses
import gzip
import json
import struct
import sys
import types
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import torch
import xarray
from PIL import Image
from torch import nn

from bench.trust.format import Arrays, Format
from bench.trust.frame_formats import FRAME_FORMATS
from fastsep.config_file import to_json
from fastsep.data.chairs.reader import load_views
from fastsep.data.chairs.views import decode, pack_header
from fastsep.data.formats.checksum import checksum, pack_checksums
from fastsep.data.mnist.files import read_idx
from fastsep.data.mnist.reader import draw_test_scene
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.mnist.videos import read_scene, write_videos
from fastsep.data.scaling import Scaling
from fastsep.data.sst.copernicus_files import open_sources
from fastsep.data.sst.files import read_zone, write_zone
from fastsep.data.sst.settings import Region
from fastsep.data.taxibj.reader import load_year
from fastsep.data.wave.files import WaveSettings
from fastsep.data.wave.generate import generate
from fastsep.data.wave.reader import _view as view_sequences
from fastsep.inference import load
from fastsep.model import SeparableModel
from fastsep.presets import PRESETS
from fastsep.runs.checkpoint import load_model, save_checkpoint
from fastsep.runs.directory import create_run, load_config
from fastsep.runs.log_file import COLUMNS, read_log
from fastsep.runs.official import read_settings
from fastsep.runs.official_pickle import read_module


def _wave(folder: Path) -> None:
    generate(folder, WaveSettings(size=3, frames=5, grid=8), torch.device("cpu"))


def _wave_of_others(folder: Path) -> None:
    values = np.random.RandomState(0).rand(3, 5, 8, 8).astype(np.float32)
    with h5py.File(folder / "wave.h5", "w") as file:
        file.create_dataset("simulations", data=values, chunks=(1, 5, 8, 8), compression="gzip")


def _wave_pt(folder: Path) -> None:
    generate(folder, WaveSettings(size=2, frames=3, grid=6), torch.device("cpu"), "pt")


def _wave_pt_before_archives(folder: Path) -> None:
    value = {"simul": torch.rand(3, 6, 6), "c": 300.0}
    torch.save(value, folder / "homogenous_wave0.pt", _use_new_zipfile_serialization=False)


def _read_wave(folder: Path) -> Arrays:
    yield view_sequences.__wrapped__(folder, "", WaveSettings(), False, torch.device("cpu")).frames


def _videos(folder: Path) -> None:
    config = MovingMNIST(digits="sklearn", test_videos=3, test_frames=4, grid=32)
    scene = draw_test_scene(config, 42)
    scene = dataclasses.replace(scene, images=scene.images[:8], digit_ids=scene.digit_ids % 8)
    write_videos(scene, folder / "videos.h5", lambda chunks, total: chunks)


def _read_videos(folder: Path) -> Arrays:
    scene = read_scene(folder / "videos.h5")
    yield from (scene.images, scene.digit_ids, scene.positions, scene.grid, scene.source)
    yield scene.draw(torch.arange(len(scene.digit_ids))[:2], scene.frames)


def _digits(folder: Path) -> None:
    values = np.random.RandomState(0).randint(0, 256, (3, 28, 28)).astype(np.uint8)
    (folder / "images").write_bytes(struct.pack(">HBB3I", 0, 8, 3, *values.shape) + values.tobytes())


def _digits_packed(folder: Path) -> None:
    _digits(folder)
    (folder / "images").write_bytes(gzip.compress((folder / "images").read_bytes(), mtime=0))


def _read_digits(folder: Path) -> Arrays:
    yield read_idx(folder / "images")


def _zone_arrays() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.RandomState(0)
    return (15 + random.rand(3, 64, 64)).astype(np.float32), np.full(3, 15, np.float32), np.ones(3, np.float32)


def _zone(folder: Path) -> None:
    temperature, mean, std = _zone_arrays()
    dims = ("time", "latitude", "longitude")
    variables = {"thetao": (dims, temperature), "daily_mean": (dims[:1], mean), "daily_std": (dims[:1], std)}
    days = np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]")
    write_zone(folder / "data_1.nc", variables, {"time": days}, {"zone": 1})


def _zone_of_others(folder: Path) -> None:
    temperature, mean, std = _zone_arrays()
    packing = {"dtype": "i2", "scale_factor": 0.001, "add_offset": 20.0, "_FillValue": -32767, "zlib": True}
    variables = {"thetao": (("t", "y", "x"), temperature), "daily_mean": ("t", mean), "daily_std": ("t", std)}
    encoding = {"thetao": packing}
    xarray.Dataset(variables).to_netcdf(folder / "data_1.nc", engine="h5netcdf", encoding=encoding)


def _read_zone(folder: Path) -> Arrays:
    yield from read_zone(folder, 1)


def _ocean() -> xarray.Dataset:
    temperature = 15 + np.random.RandomState(0).rand(3, 1, 65, 66)
    coordinates = {
        "time": np.arange("2001-01-01", "2001-01-04", dtype="datetime64[D]").astype("datetime64[ns]"),
        "depth": [0.494], "latitude": np.linspace(30, 35, 65), "longitude": np.linspace(-40, -35, 66),
    }  # fmt: skip
    return xarray.Dataset({"thetao": (tuple(coordinates), temperature, {"units": "degrees_C"})}, coordinates)


_PACKED = {"thetao": {"dtype": "i2", "scale_factor": 0.000732444226741791, "add_offset": 21.0, "_FillValue": -32767}}


def _copernicus(folder: Path) -> None:
    packing = {"thetao": {**_PACKED["thetao"], "zlib": True, "chunksizes": (1, 1, 65, 66)}}
    _ocean().to_netcdf(folder / "x.nc", engine="h5netcdf", encoding=packing)


def _copernicus_classic(folder: Path) -> None:
    _ocean().to_netcdf(folder / "x.nc", engine="scipy", format="NETCDF3_64BIT", encoding=_PACKED)


def _read_copernicus(folder: Path) -> Arrays:
    for source in open_sources([folder], Region()):
        yield from (source.days.astype(np.int64), source.latitude, source.longitude)
        yield np.nan_to_num(source.read(0, 2), nan=0.0, posinf=1.0, neginf=1.0)  # what is no sea shows later


def _traffic(folder: Path, texts: Any = "S10") -> None:
    dates = [f"201303{day:02d}{slot:02d}".encode() for day in (1, 2) for slot in range(1, 49)]
    flow = np.zeros((len(dates), 2, 32, 32), np.float32)
    flow[:, :, 3, :8] = np.random.RandomState(0).rand(len(dates), 2, 8)
    with h5py.File(folder / "BJ13.h5", "w") as file:
        file.create_dataset("data", data=flow, chunks=(48, 2, 32, 32), compression="gzip")
        file.create_dataset("date", data=dates, dtype=texts)


def _traffic_of_others(folder: Path) -> None:
    _traffic(folder, h5py.string_dtype())


def _read_traffic(folder: Path) -> Arrays:
    yield from load_year(folder / "BJ13.h5")


def _chairs(folder: Path) -> None:
    views = np.random.RandomState(0).randint(0, 256, (1, 62, 3, 64, 64)).astype(np.uint8)
    sums = pack_checksums([checksum(chair) for chair in views])
    (folder / "chairs.npy").write_bytes(pack_header(1) + views.tobytes() + sums)


def _read_chairs(folder: Path) -> Arrays:
    yield load_views(folder / "chairs.npy")


def _view(folder: Path) -> None:
    pixels = np.random.RandomState(0).randint(0, 256, (6, 6, 3)).astype(np.uint8)
    Image.fromarray(pixels.repeat(100, 0).repeat(100, 1)).save(folder / "view.png")


def _read_view(folder: Path) -> Arrays:
    yield decode(folder / "view.png")


def _network(folder: Path, zipped: bool = True) -> None:
    module = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))
    name = "var_sep.networks.conv"  # where the authors' classes are
    kind = type("Net", (nn.Sequential,), {"__module__": name})
    sys.modules.update({part: types.ModuleType(part) for part in ("var_sep", "var_sep.networks", name)})
    sys.modules[name].Net = kind
    torch.save(kind(*module), folder / "decoder.pt", _use_new_zipfile_serialization=zipped)


def _network_before_archives(folder: Path) -> None:
    _network(folder, zipped=False)


def _read_network(folder: Path) -> Arrays:
    stored = read_module(folder / "decoder.pt")
    for name, tensor in stored.parameters + stored.buffers:
        yield from (name, tensor.nan_to_num(posinf=1, neginf=1))  # compared with a network's, and trained on, later


def _their_settings(folder: Path) -> None:
    settings = {
        "data": "mnist", "architecture": "dcgan", "nt_cond": 5, "nt_pred": 4, "code_size_t": 6, "code_size_s": 8,
        "mixing": "concat", "skipco": False, "no_s": False, "offset": 5, "lr": 4e-4, "lamb_ae": 10, "scheduler": True,
        "scheduler_milestones": [3, 5], "scheduler_decay": 0.25, "xp_dir": "/somewhere",
    }  # fmt: skip
    (folder / "params.json").write_text(json.dumps(settings))


def _read_their_settings(folder: Path) -> Arrays:
    yield to_json(read_settings(folder))


def _run(folder: Path) -> None:
    """A run of two checkpoints and a log."""
    config = PRESETS["wave100"]()
    sizes = {"enc_hidden_size": 4, "dec_hidden_size": 4, "res_hidden_size": 4, "code_size_s": 4, "code_size_t": 4}
    config = dataclasses.replace(
        config,
        model=dataclasses.replace(config.model, **sizes),
        run=dataclasses.replace(config.run, out=folder, device="cpu"),
    )
    create_run(folder, config)
    for step in (8, 16):
        torch.manual_seed(step)
        save_checkpoint(folder, step, SeparableModel(config.model), {"step": {"x": torch.rand(4)}})
    rows = "".join(f"{step},0,0.0004,{','.join(['0.5'] * (len(COLUMNS) - 3))}\r\n" for step in (4, 8, 12, 16))
    (folder / "log.csv").write_text(f"{','.join(COLUMNS)}\r\n{rows}")


def _read_settings(folder: Path) -> Arrays:
    yield to_json(load_config(folder))
    yield from _read_weights(folder)


def _read_weights(folder: Path) -> Arrays:
    model, _, _ = load_model(folder)
    yield from model.state_dict().values()


def _read_log(folder: Path) -> Arrays:
    for row in read_log(folder):
        yield from (np.nan_to_num(value) if isinstance(value, float) else value for value in row.values())


def _own_run(folder: Path) -> None:
    """A run whose frames have units, and a cell that is missing."""
    _run(folder)
    present = np.arange(100) != 7
    Scaling((100,), np.array([3.0], np.float32), np.array([0.5], np.float32), present, (), ("t",), ("K",)).write(folder)


def _read_forecast(folder: Path) -> Arrays:
    model = load(folder, "cpu")
    yield from (*model.scaling.names, *model.scaling.units)
    yield np.nan_to_num(model.forecast(np.full((model.nt_cond, *model.shape), 3.2), 2), posinf=1, neginf=1)


FORMATS = {
    "wave.h5": Format(_wave, "wave.h5", _read_wave, checked=True),
    "wave.h5 of others": Format(_wave_of_others, "wave.h5", _read_wave),
    "wave .pt": Format(_wave_pt, "data/homogenous_*.pt", _read_wave, checked=True),
    "wave .pt before archives": Format(_wave_pt_before_archives, "*.pt", _read_wave),
    "Moving MNIST videos": Format(_videos, "videos.h5", _read_videos, checked=True, share=0.3),
    "MNIST digits": Format(_digits, "images", _read_digits),
    "MNIST digits, gzipped": Format(_digits_packed, "images", _read_digits, checked=True),
    "SST zone": Format(_zone, "data_1.nc", _read_zone, checked=True, share=0.5),
    "SST zone of others": Format(_zone_of_others, "data_1.nc", _read_zone, share=0.3),
    "Copernicus NetCDF-4": Format(_copernicus, "x.nc", _read_copernicus, share=0.2),
    "Copernicus NetCDF-3": Format(_copernicus_classic, "x.nc", _read_copernicus, share=0.5),
    "TaxiBJ": Format(_traffic, "BJ13.h5", _read_traffic, share=0.5),
    "TaxiBJ of others": Format(_traffic_of_others, "BJ13.h5", _read_traffic, share=0.05),
    "chairs": Format(_chairs, "chairs.npy", _read_chairs, checked=True),
    "chair's view": Format(_view, "view.png", _read_view, checked=True, share=0.5),
    "official network": Format(_network, "decoder.pt", _read_network, checked=True),
    "official network before archives": Format(_network_before_archives, "decoder.pt", _read_network),
    "official settings": Format(_their_settings, "params.json", _read_their_settings),
    "config.json": Format(_run, "config.json", _read_settings),
    "scaling.json": Format(_own_run, "scaling.json", _read_forecast, share=0.3),
    "log.csv": Format(_run, "log.csv", _read_log),
    "run.json": Format(_run, "run.json", _read_weights, checked=True, share=0.5),
    "checkpoint": Format(_run, "checkpoints/step-*/*", _read_weights, checked=True, share=0.7),
    **FRAME_FORMATS,
}
"""By name. A run passes over a damaged checkpoint for the one before, whose weights are as good."""
