"""Folders of frames: a sequence a file, and the files of The Well."""

from __future__ import annotations

from pathlib import Path

import h5py
import numpy as np
import pytest
from frames_files import read_all, write_well

from fastsep.data.frames import joined
from fastsep.data.frames.opening import open_source
from fastsep.errors import UserError


@pytest.mark.parametrize("layout", [None, "thw", "nthw"])
def test_a_folder_holds_a_sequence_in_each_file(layout, tmp_path):
    values = np.random.default_rng(0).random((12, 7, 5, 6), np.float32)
    for number, sequence in enumerate(values):
        np.save(tmp_path / f"run{number}.npy", sequence)
    (tmp_path / "notes.txt").write_text("notes")
    np.save(tmp_path / ".hidden.npy", values)
    source = open_source(tmp_path, layout=layout)
    np.testing.assert_array_equal(read_all(source)[:, :, 0], values)  # run2 before run10
    assert source.layout == "thw" and len(source.files) == 12
    np.save(tmp_path / "run5.npy", values[0, :6])
    with pytest.raises(UserError, match=r"run5.npy holds 6 frames \(1, 5, 6\), run0.npy holds 7 frames \(1, 5, 6\)"):
        open_source(tmp_path)


def test_a_folder_of_many_files_keeps_few_open(tmp_path, monkeypatch):
    monkeypatch.setattr(joined, "_OPEN", 2)
    for number in range(6):
        write_well(tmp_path / f"part{number}.hdf5", seed=number)
    source = open_source(tmp_path)
    frames = read_all(source)
    descriptors = [Path(f"/proc/self/fd/{name}") for name in Path("/proc/self/fd").iterdir()]
    links = [str(link.resolve()) for link in descriptors if link.exists()]
    assert sum(str(tmp_path) in link for link in links) <= 2
    np.testing.assert_array_equal(read_all(source), frames)
    np.testing.assert_array_equal(source.coordinates["x"].values, np.linspace(0, 1, 6, dtype=np.float32))
    source.close()


def test_the_well(tmp_path):
    fields = write_well(tmp_path / "x.hdf5")
    source = open_source(tmp_path / "x.hdf5")
    assert (source.sequences, source.frames, source.shape) == (2, 5, (10, 6, 8))
    vectors = ("velocity_x", "velocity_y", "stress_xx", "stress_xy", "stress_yx", "stress_yy")
    assert source.names == ("density", "common", "profile", "line", *vectors)
    read = read_all(source)
    np.testing.assert_array_equal(read[:, :, 0], fields["t0_fields/density"])
    np.testing.assert_array_equal(read[:, :, 1], np.stack([fields["t0_fields/common"]] * 2))
    np.testing.assert_array_equal(read[:, :, 2, :, 3], fields["t0_fields/profile"][..., 0])
    np.testing.assert_array_equal(read[:, :, 3, :, 3], fields["t0_fields/line"])
    np.testing.assert_array_equal(read[:, :, 4:6], np.moveaxis(fields["t1_fields/velocity"], -1, 2))
    np.testing.assert_array_equal(read[:, :, 7], fields["t2_fields/stress"][..., 0, 1])
    part = source.read(1, 2, 2)
    np.testing.assert_array_equal(part, read[1, 2:4])
    assert set(source.coordinates) == {"time", "x", "y"}
    one = open_source(tmp_path / "x.hdf5", ("t1_fields/velocity",))
    assert one.names == ("velocity_x", "velocity_y") and one.shape == (2, 6, 8)


def test_the_well_in_three_dimensions_is_refused(tmp_path):
    write_well(tmp_path / "x.hdf5", space=(4, 4, 4))
    with pytest.raises(UserError, match=r"has 3 dimensions of space \(x, y, z\), frames have two"):
        open_source(tmp_path / "x.hdf5")


@pytest.mark.slow
def test_the_well_reads_its_files_alike(tmp_path):
    """Its own package and this program see the same frames."""
    package = pytest.importorskip("the_well.data.datasets", reason="pip install the_well")
    for number in range(3):
        write_well(tmp_path / f"part{number}.hdf5", seed=number)
        with h5py.File(tmp_path / f"part{number}.hdf5", "r+") as file:
            del file["t0_fields/line"]  # their package wants the axis
            file["t0_fields"].attrs["field_names"] = ["density", "common", "profile", "walls"]
    source = open_source(tmp_path)
    theirs = package.WellDataset(path=str(tmp_path), n_steps_input=2, n_steps_output=1)
    assert len(theirs) == 18 and tuple(theirs.metadata.field_names[0] + theirs.metadata.field_names[1]
                                       + theirs.metadata.field_names[2]) == source.names  # fmt: skip
    for number in range(18):
        window = np.concatenate([theirs[number]["input_fields"], theirs[number]["output_fields"]])  # (3, H, W, C)
        sequence, first = divmod(number, 3)
        np.testing.assert_array_equal(source.read(sequence, first, 3), np.moveaxis(window, -1, 1))
