"""What TensorBoard reads is what was written, whatever the disk did meanwhile."""

import os

import pytest
import torch
from full_disk import room_for
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from fastsep.training.board import Board


def read(folder, name="loss"):
    """(step, value) of every point that TensorBoard shows."""
    accumulator = EventAccumulator(str(folder), size_guidance={"images": 0})
    accumulator.Reload()
    if "forecast" in accumulator.Tags()["images"]:
        assert {(image.height, image.width) for image in accumulator.Images("forecast")} == {(4, 6)}
    return [(point.step, point.value) for point in accumulator.Scalars(name)]


def test_points_and_pictures_are_read_back_and_a_resumed_part_takes_the_place_of_the_old(tmp_path):
    board = Board(tmp_path / "board", 0)
    for step in (10, 20, 30):
        board.scalar("loss", step / 4, step)
    board.image("forecast", torch.rand(3, 4, 6), 10)
    board.close()
    assert read(tmp_path / "board") == [(10, 2.5), (20, 5.0), (30, 7.5)]
    board = Board(tmp_path / "board", 20)
    board.scalar("loss", 1.0, 30)
    board.close()
    assert read(tmp_path / "board") == [(10, 2.5), (20, 5.0), (30, 1.0)]


def test_a_run_that_pytorch_s_writer_began_goes_on(tmp_path):
    writer = SummaryWriter(str(tmp_path))
    for step in (10, 20, 30):
        writer.add_scalar("loss", step / 4, step)
    writer.close()
    board = Board(tmp_path, 20)
    board.scalar("loss", 1.0, 30)
    board.close()
    assert read(tmp_path) == [(10, 2.5), (20, 5.0), (30, 1.0)]


@pytest.mark.parametrize("room", [0, 1, 11, 40, 200])
def test_a_full_disk_costs_points_and_one_warning(tmp_path, capsys, room):
    board = Board(tmp_path, 0)
    board.scalar("loss", 1.0, 1)
    with room_for(room):
        for step in range(2, 12):
            board.scalar("loss", 1.0, step)
    board.scalar("loss", 1.0, 12)
    board.close()
    steps = [step for step, _ in read(tmp_path)]
    assert steps[0] == 1 and steps[-1] == 12 and steps == sorted(set(steps)) and len(steps) < 12
    assert capsys.readouterr().err.count("warning") == 1


def test_a_disk_that_takes_no_bytes_ends_nothing(tmp_path, capsys, monkeypatch):
    board = Board(tmp_path, 0)
    with monkeypatch.context() as patch:
        patch.setattr(os, "write", lambda *_: 0)
        board.scalar("loss", 1.0, 1)
    board.scalar("loss", 1.0, 2)
    board.close()
    assert [step for step, _ in read(tmp_path)] == [2]
    assert capsys.readouterr().err.count("warning") == 1


def test_a_file_in_the_way_costs_all_points_and_one_warning(tmp_path, capsys):
    (tmp_path / "board").write_text("mine")
    board = Board(tmp_path / "board", 0)
    board.scalar("loss", 1.0, 1)
    board.close()
    assert (tmp_path / "board").read_text() == "mine"
    assert capsys.readouterr().err.count("warning") == 1
