"""Checkpoints come back as they were written, or not at all; what is not ours is left alone."""

import errno
import json
import os
import shutil
import stat

import pytest
import torch
from disk_order import safely_named
from network_cases import SMALL
from safetensors.torch import save_file

import fastsep
from fastsep.config import Config
from fastsep.config_file import from_json, to_json
from fastsep.data.wave.settings import Wave100
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.presets import PRESETS
from fastsep.runs.checkpoint import find_checkpoint, load_model, newest_checkpoint, save_checkpoint
from fastsep.runs.directory import create_run


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    create_run(path, Config(data=Wave100(), model=SMALL))
    return path


@pytest.fixture
def model():
    return SeparableModel(SMALL)


def names(run):
    return sorted(path.name for path in (run / "checkpoints").iterdir())


def newest(run):
    return newest_checkpoint(run).path.name


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_the_text_file(name):
    assert from_json(to_json(PRESETS[name]())) == PRESETS[name]()


def test_a_checkpoint_gives_the_weights_back(run, model):
    save_checkpoint(run, 3, model, {"step": 3})
    loaded, config, _ = load_model(str(run))
    assert config.model == SMALL
    assert not loaded.training
    for ours, theirs in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert newest_checkpoint(run).state == {"step": 3}
    assert newest_checkpoint(run).step == 3


def test_the_last_two_and_the_best_are_kept(run, model):
    kept = {}
    for step, error in [(1, 0.5), (2, 0.2), (3, 0.2), (4, None), (5, 0.3), (6, 0.1), (7, 0.4), (8, None), (9, None)]:
        save_checkpoint(run, step, model, test_mse=error)
        kept[step] = [int(name.removeprefix("step-")) for name in names(run)]
    assert kept == {
        1: [1], 2: [1, 2], 3: [2, 3], 4: [2, 3, 4], 5: [2, 4, 5], 6: [5, 6], 7: [6, 7], 8: [6, 7, 8], 9: [6, 8, 9],
    }  # fmt: skip


def test_only_checkpoints_of_this_run_are_counted_or_removed(run, model, tmp_path):
    other = tmp_path / "other"
    create_run(other, Config(data=Wave100(), model=SMALL))
    foreign = save_checkpoint(other, 90, SeparableModel(SMALL))
    save_checkpoint(run, 8, model)
    place = run / "checkpoints"
    for name in ("step-best", "step-1", "step-100", "step-000000008", "step-00000008.bak", "step-00000070"):
        shutil.copytree(place / "step-00000008", place / name)  # the last one names a step that it is not of
    shutil.copytree(foreign, place / "step-00000090")
    (place / "step-00000080").mkdir()
    (place / "step-00000081").write_text("a file")
    (place / "notes.txt").write_text("mine")
    before = names(run)
    for step in (16, 24, 32):
        save_checkpoint(run, step, model)
        assert newest(run) == f"step-000000{step}"
    ours = {"step-00000024", "step-00000032"}
    assert names(run) == sorted(set(before) - {"step-00000008"} | ours)
    for _, _, files in os.walk(place / "step-best"):
        assert sorted(files) == ["manifest.json", "weights.safetensors"]


def test_what_lies_where_a_checkpoint_goes_is_moved_aside(run, model, capsys):
    folder = run / "checkpoints" / "step-00000016"
    folder.mkdir(parents=True)
    (folder / "notes.txt").write_text("mine")
    save_checkpoint(run, 16, model)
    assert newest(run) == "step-00000016"
    assert (folder.with_name("step-00000016.aside-1") / "notes.txt").read_text() == "mine"
    assert "step-00000016.aside-1" in capsys.readouterr().err


def test_a_user_s_file_in_a_checkpoint_outlives_it(run, model):
    (save_checkpoint(run, 1, model) / "notes.txt").write_text("mine")
    for step in (2, 3, 4):
        save_checkpoint(run, step, model)
    assert [path.name for path in (run / "checkpoints" / "step-00000001").iterdir()] == ["notes.txt"]
    assert names(run) == ["step-00000001", "step-00000003", "step-00000004"]


def spoil(path, kind):
    data = bytearray(path.read_bytes())
    if kind == "flipped":
        data[len(data) // 2] ^= 1
    path.unlink()
    if kind != "missing":
        path.write_bytes(data[: len(data) // 2] if kind == "cut" else data)


@pytest.mark.parametrize("kind", ["flipped", "cut", "missing"])
@pytest.mark.parametrize("name", ["weights.safetensors", "state.pt", "manifest.json"])
def test_a_damaged_newest_is_passed_over_with_one_warning_that_names_both(run, model, capsys, name, kind):
    save_checkpoint(run, 1, model, {"step": 1})
    spoil(save_checkpoint(run, 2, SeparableModel(SMALL), {"step": 2}) / name, kind)
    for state in (True, False):
        assert find_checkpoint(run, state).step == 1
        warning = capsys.readouterr().err
        assert warning.count("\n") == warning.count("warning: ") == 1
        assert "step-00000001" in warning and "step-00000002" in warning
    loaded, _, _ = load_model(run)
    for ours, theirs in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    save_checkpoint(run, 2, model, {"step": 2})  # training has come there again
    capsys.readouterr()
    assert newest_checkpoint(run).step == 2
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["weights.safetensors", "manifest.json"])
def test_every_single_byte_is_covered(run, model, name, capsys):
    save_checkpoint(run, 1, model)
    path = save_checkpoint(run, 2, model) / name
    data = path.read_bytes()
    for place in range(0, len(data), max(1, len(data) // 300)):
        path.write_bytes(data[:place] + bytes([data[place] ^ (1 << place % 8)]) + data[place + 1 :])
        found = find_checkpoint(run)
        if found.step == 2:  # white space and the case of the checksum's digits stand for the same manifest
            assert name == "manifest.json"
            assert json.loads(path.read_text())["manifest"] == json.loads(data)["manifest"]


def test_without_a_whole_checkpoint_there_is_a_reason_for_each(run, model):
    assert find_checkpoint(run) is None
    for step in (1, 2):
        spoil(save_checkpoint(run, step, model) / "weights.safetensors", "cut")
    with pytest.raises(UserError, match=r"no whole checkpoint: .*step-00000002 is damaged .*step-00000001 is damaged"):
        load_model(run)


def test_a_checkpoint_that_may_not_be_read_is_not_called_damaged(run, model, monkeypatch):
    save_checkpoint(run, 1, model)
    path = save_checkpoint(run, 2, model) / "weights.safetensors"
    real = type(path).read_bytes

    def forbidden(self):
        if self == path:
            raise PermissionError(errno.EACCES, "Permission denied", str(self))
        return real(self)

    monkeypatch.setattr(type(path), "read_bytes", forbidden)
    with pytest.raises(UserError, match=r"no permission to read .*step-00000002.*ask its owner") as error:
        load_model(run)
    assert "delete" not in str(error.value)


def test_others_may_read_the_weights(run, model):
    before = os.umask(0o022)
    try:
        folder = save_checkpoint(run, 1, model, {"step": 1})
    finally:
        os.umask(before)
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o644}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o755


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_weights_that_are_not_finite_are_not_saved(run, model, value):
    save_checkpoint(run, 1, model)
    with torch.no_grad():
        next(model.parameters())[0, 0] = value
    with pytest.raises(UserError, match=r"not finite after step 2 .*last good checkpoint is .*step-00000001"):
        save_checkpoint(run, 2, model)
    assert names(run) == ["step-00000001"]


def test_a_failed_write_leaves_the_old_checkpoint(run, model, monkeypatch):
    save_checkpoint(run, 1, model)

    def full_disk(*_args):
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(os, "write", full_disk)
        with pytest.raises(UserError, match=r"No space left on device.*checkpoints, then continue with --resume"):
            save_checkpoint(run, 2, model)
    assert names(run) == ["step-00000001"]


def test_a_checkpoint_that_is_there_is_not_written_again(run, model):
    weights = save_checkpoint(run, 1, model, test_mse=0.5) / "weights.safetensors"
    before = weights.stat()
    save_checkpoint(run, 1, model)
    assert weights.stat() == before


def test_checkpoints_are_on_the_disk_before_they_have_their_names(run, model):
    with safely_named() as named:
        save_checkpoint(run, 8, model, {"step": {}})
    assert named == ["step-00000008"]


def make_old(run, model, steps):
    """A run as it was written before there were manifests."""
    for step in steps:
        folder = run / "checkpoints" / f"step-{step:08d}"
        folder.mkdir(parents=True)
        save_file(model.state_dict(), folder / "weights.safetensors", metadata={"step": str(step)})
        torch.save({"step": step}, folder / "state.pt")
    (run / "run.json").unlink()


def test_a_run_from_before_there_were_manifests_is_read_and_continued(run, model, capsys):
    make_old(run, model, (8, 16))
    checkpoint = newest_checkpoint(run)
    assert checkpoint.step == 16 and checkpoint.state == {"step": 16}
    for ours, theirs in zip(model.state_dict().values(), load_model(run)[0].state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    save_checkpoint(run, 24, model)
    assert names(run) == ["step-00000016", "step-00000024"]
    shutil.rmtree(run / "checkpoints" / "step-00000024")
    assert newest(run) == "step-00000016"
    spoil(run / "checkpoints" / "step-00000016" / "weights.safetensors", "cut")
    with pytest.raises(UserError, match=r"step-00000016 is damaged"):
        newest_checkpoint(run)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("lost", [True, False])
def test_checkpoints_stay_the_run_s_own_when_its_identity_is_damaged(run, model, lost):
    save_checkpoint(run, 8, model)
    (run / "run.json").unlink() if lost else (run / "run.json").write_text("{")
    assert newest(run) == "step-00000008"
    for step in (16, 24):
        save_checkpoint(run, step, model)
    assert names(run) == ["step-00000016", "step-00000024"]


def test_weights_of_another_model_are_refused(run, model):
    save_checkpoint(run, 1, model)
    settings = json.loads((run / "config.json").read_text())
    settings["model"]["enc_hidden_size"] = 12
    (run / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="another preset"):
        load_model(run)


def test_settings_of_another_version_are_refused(run):
    settings = json.loads((run / "config.json").read_text())
    settings["model"]["unheard_of"] = 1
    (run / "config.json").write_text(json.dumps(settings))
    with pytest.raises(UserError, match="unheard_of"):
        load_model(run)


def test_the_best_by_validation_is_loaded_where_it_is_asked_for(run, model, capsys):
    with pytest.raises(UserError, match="no whole checkpoint with an error of validation: leave out --best"):
        load_model(run, best=True)
    for step, error in ((1, 0.2), (2, 0.1), (3, 0.4), (4, None)):
        with torch.no_grad():
            next(model.parameters()).fill_(step)
        save_checkpoint(run, step, model, test_mse=error)
    best = load_model(run, best=True)
    assert best.checkpoint.step == 2 and (next(best.model.parameters()) == 2).all()
    assert fastsep.load(run, "cpu", best=True).step == 2 and fastsep.load(run, "cpu").step == 4
    (best.checkpoint.path / "weights.safetensors").write_bytes(b"damaged")
    assert load_model(run, best=True).checkpoint.step == 3
    assert "step-00000002 is damaged" in capsys.readouterr().err


def test_a_checkpoint_dropped_while_it_is_read_is_no_damage(run, model, monkeypatch, capsys):
    """Evaluation reads beside a training that saves and drops."""
    from fastsep.runs import checkpoint as module

    save_checkpoint(run, 1, model)
    real = module.read_part

    def slow(folder, name, part):
        if folder.name == "step-00000001":
            for step in (2, 3):
                save_checkpoint(run, step, model)
        return real(folder, name, part)

    monkeypatch.setattr(module, "read_part", slow)
    assert newest(run) == "step-00000003"
    assert capsys.readouterr().err == ""
