from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import torch
import xarray
from golden_items import GOLDEN, assert_item

from fastsep.data.sst.files import read_zone, write_zone
from fastsep.data.sst.settings import SST
from fastsep.errors import UserError

CPU = torch.device("cpu")
ZONES = (17, 18)


def made_zone(zone: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    random = np.random.RandomState(300 + zone)
    temperature = (15 + 5 * random.standard_normal((100, 64, 64))).astype(np.float32)
    mean = (15 + random.standard_normal(100)).astype(np.float32)
    return temperature, mean, (1 + random.uniform(size=100)).astype(np.float32)


def write_made(directory, zone, temperature, mean, std):
    variables = {
        "thetao": (("time", "latitude", "longitude"), temperature),
        "daily_mean": (("day",), mean),
        "daily_std": (("other_day",), std),
    }
    write_zone(directory / f"data_{zone}.nc", variables, {}, {})


@pytest.fixture(scope="module")
def directory(tmp_path_factory):
    path = tmp_path_factory.mktemp("sst")
    for zone in ZONES:
        write_made(path, zone, *made_zone(zone))
    return path


@pytest.fixture
def sst(directory):
    return SST(data=directory, zones=ZONES, test_zones=ZONES)


def test_training_windows_are_the_authors(sst):
    golden = GOLDEN["sst"]["train"]
    windows = sst.open("train", golden["nt_cond"], golden["nt_pred"], CPU)
    assert len(windows) == golden["len"] and windows.shape == (1, 64, 64)
    for number, (cond, target) in golden["items"].items():
        window = windows.batch(torch.tensor([int(number)]))[0]
        assert_item(window[:4], cond)
        assert_item(window[4:], target)


def test_test_windows_and_statistics_are_the_authors(sst):
    golden = GOLDEN["sst"]["test"]
    windows = sst.open("test", golden["nt_cond"], golden["nt_pred"], CPU)
    assert len(windows) == golden["len"]
    for number, (cond, target, day_mean, day_std, mean, std, zone) in golden["items"].items():
        index = torch.tensor([int(number)])
        window, statistics = windows.batch(index)[0], windows.normalisation(index)
        assert_item(window[:4], cond)
        assert_item(window[4:], target)
        assert_item(statistics.climatology_mean[0].view(10, 1, 1), day_mean)
        assert_item(statistics.climatology_std[0].view(10, 1, 1), day_std)
        assert_item(statistics.target_mean[0].view(10, 1, 1), mean)
        assert_item(statistics.target_std[0].view(10, 1, 1), std)
        assert statistics.zone.tolist() == [zone]


def test_the_targets_statistics_give_back_the_temperature(sst):
    windows = sst.open("test", 4, 10, CPU)
    index = torch.tensor([0, 4, 5, 9])
    celsius = windows.normalisation(index).celsius(windows.batch(index)[:, 4:], "target")
    for row, (zone, first) in enumerate(((17, 82), (17, 86), (18, 82), (18, 86))):
        expected = made_zone(zone)[0][first + 4 : first + 14]
        np.testing.assert_allclose(celsius[row, :, 0], expected, atol=2e-5)


def test_the_last_conditioning_frames_statistics_are_those_of_frame_n(sst):
    windows = sst.open("test", 4, 10, CPU)
    index = torch.tensor([3])
    statistics = windows.normalisation(index)
    temperature, mean, std = made_zone(17)
    last = (temperature[88] - mean[88]) / std[88]
    assert statistics.last_mean.item() == pytest.approx(last.mean(), abs=1e-5)
    assert statistics.last_std.item() == pytest.approx(last.std(), abs=1e-5)
    frames = windows.batch(index)[:, 4:]
    expected = (frames * last.std() + last.mean()) * statistics.climatology_std.view(1, 10, 1, 1, 1)
    expected = expected + statistics.climatology_mean.view(1, 10, 1, 1, 1)
    np.testing.assert_allclose(statistics.celsius(frames, "last"), expected, atol=2e-5)


def test_data_that_fit_neither_device_nor_memory_are_mapped(sst, monkeypatch):
    index = torch.tensor([0, 137])
    expected = sst.open("train", 4, 6, CPU).batch(index)
    monkeypatch.setattr("fastsep.data.residency.free_bytes", lambda device: 0)
    assert torch.equal(sst.open("train", 4, 6, CPU).batch(index), expected)


def test_a_horizon_longer_than_the_data_is_refused(sst):
    with pytest.raises(UserError, match="19 frames does not fit the 20 test frames"):
        sst.open("test", 4, 15, CPU)
    assert len(sst.open("test", 4, 14, CPU)) == 2


def test_missing_zone_is_named(directory):
    with pytest.raises(UserError, match="zone 1 is missing"):
        SST(data=directory).open("train", 4, 6, CPU)


def test_zones_of_unequal_length_are_refused(tmp_path):
    write_made(tmp_path, 17, *made_zone(17))
    write_made(tmp_path, 18, *(values[:90] for values in made_zone(18)))
    with pytest.raises(UserError, match=r"data_18\.nc has another number of frames"):
        SST(data=tmp_path, zones=ZONES).open("train", 4, 6, CPU)


def write_foreign(directory, zone, temperature, mean, std, **encoding):
    """A zone as other programs write it, without checksums."""
    variables = {"thetao": (("t", "y", "x"), temperature), "daily_mean": ("t", mean), "daily_std": ("t", std)}
    dataset = xarray.Dataset(variables)
    dataset.to_netcdf(directory / f"data_{zone}.nc", engine="h5netcdf", encoding={"thetao": encoding})


def test_masked_and_missing_cells_are_refused_by_zone_and_frame(tmp_path):
    temperature, mean, std = made_zone(17)
    temperature[42, 3, 5] = np.nan
    for write in (write_made, write_foreign):
        write(tmp_path, 17, temperature, mean, std)
        with pytest.raises(
            UserError, match=r"zone 17, frame 42 has masked or missing cells .nan at row 3, column 5; 1"
        ):
            read_zone(tmp_path, 17)
    write_foreign(tmp_path, 17, temperature, mean, std, _FillValue=-999.0)  # as masked cells are stored
    with pytest.raises(UserError, match="zone 17, frame 42 has masked or missing cells"):
        read_zone(tmp_path, 17)


@pytest.mark.parametrize("land", [9.96921e36, -999, 1e20, -32767, 273.15])
def test_land_that_is_a_number_is_refused_with_count_and_place(tmp_path, land):
    temperature, mean, std = made_zone(17)
    temperature[:, 10:12, 20:23] = land
    write_foreign(tmp_path, 17, temperature, mean, std)
    message = r"zone 17, frame 0 has cells that are no sea's temperature .* at row 10, column 20; 600 such in all"
    with pytest.raises(UserError, match=message):
        read_zone(tmp_path, 17)


@pytest.mark.parametrize("land", [0, -2.997])  # the latter is what a packed -32767 of the ocean's product stands for
def test_land_within_the_range_of_temperatures_shows_by_never_changing(tmp_path, land):
    temperature, mean, std = made_zone(17)
    temperature[:, 10:12, 20:23] = land
    write_foreign(tmp_path, 17, temperature, mean, std)
    with pytest.raises(UserError, match=rf"zone 17 has 6 cells that never change, as land does \({land:g} at row 10"):
        read_zone(tmp_path, 17)


def test_kelvin_and_statistics_beyond_reason_are_refused(tmp_path):
    temperature, mean, std = made_zone(17)
    write_foreign(tmp_path, 17, temperature + 273.15, mean + 273.15, std)
    with pytest.raises(UserError, match="frame 0 has cells that are no sea's temperature in degrees Celsius"):
        read_zone(tmp_path, 17)
    write_foreign(tmp_path, 17, temperature, mean + 273.15, std)
    with pytest.raises(UserError, match=r"zone 17, frame 0 has no daily mean \(28\d\.\d+; 100 such in all"):
        read_zone(tmp_path, 17)
    std[3] = 1e30
    write_foreign(tmp_path, 17, temperature, mean, std)
    with pytest.raises(UserError, match=r"zone 17, frame 3 has no positive daily standard deviation \(1e\+30; 1 such"):
        read_zone(tmp_path, 17)


def test_values_that_changed_on_the_disk_are_refused(tmp_path, directory):
    whole = (directory / "data_17.nc").read_bytes()
    at = whole.index(made_zone(17)[0][50].tobytes())
    damaged = bytearray(whole)
    damaged[at] ^= 1  # the last bit of a number
    (tmp_path / "data_17.nc").write_bytes(damaged)
    with pytest.raises(
        UserError, match=r"data_17\.nc is not a whole NetCDF file \('thetao' does not fit its checksum\)"
    ):
        read_zone(tmp_path, 17)


def test_a_zone_is_whole_or_absent_on_a_full_disk(tmp_path):
    code = """
import resource, signal, sys, numpy as np
from pathlib import Path
from fastsep.data.sst.files import write_zone
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
try:
    write_zone(Path(sys.argv[1]), {"thetao": (("t", "y", "x"), np.ones((50, 64, 64), np.float32))}, {}, {})
except OSError as error:
    print(error.strerror)
"""
    path = tmp_path / "data_1.nc"
    done = subprocess.run([sys.executable, "-c", code, path], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, "")  # and no crash while the process ends
    assert done.stdout == "File too large\n"
    assert not list(tmp_path.iterdir())


def test_statistics_that_cannot_normalise_are_refused(tmp_path):
    temperature, mean, std = made_zone(17)
    std[9] = 0
    write_made(tmp_path, 17, temperature, mean, std)
    with pytest.raises(UserError, match="zone 17, frame 9 has no positive daily standard deviation"):
        read_zone(tmp_path, 17)
    std[9], temperature[11] = 1, 15
    write_made(tmp_path, 17, temperature, mean, std)
    with pytest.raises(UserError, match="zone 17, frame 11: all cells are equal"):
        SST(data=tmp_path, zones=(17,)).open("train", 4, 6, CPU)


def test_wrong_sizes_and_absent_variables_are_refused(tmp_path):
    temperature, mean, std = made_zone(17)
    write_made(tmp_path, 17, temperature[:, :32], mean, std)
    with pytest.raises(UserError, match=r"thetao \(100, 32, 64\)"):
        read_zone(tmp_path, 17)
    write_zone(tmp_path / "data_17.nc", {"thetao": (("t", "y", "x"), temperature)}, {}, {})
    with pytest.raises(UserError, match="no variable daily_mean"):
        read_zone(tmp_path, 17)


@pytest.mark.parametrize("keep", [0, 100, 4000, -1000])
def test_a_cut_file_is_refused_by_name(tmp_path, directory, keep):
    path = tmp_path / "data_17.nc"
    path.write_bytes((directory / path.name).read_bytes()[:keep])
    with pytest.raises(UserError, match=r"data_17\.nc") as error:
        read_zone(tmp_path, 17)
    assert "\n" not in str(error.value)
