import json

import pytest
import torch

from fastsep.config import Config, ModelConfig, from_json, to_json
from fastsep.data.wave import Wave100
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.presets import PRESETS
from fastsep.training.checkpoint import create_run, load_model, load_state, newest_checkpoint, save_checkpoint

SMALL = ModelConfig(
    shape=(1, 9), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4, enc_hidden_size=8,
    dec_hidden_size=8, res_hidden_size=16,
)  # fmt: skip


@pytest.fixture
def run(tmp_path):
    path = tmp_path / "run"
    create_run(path, Config(data=Wave100(), model=SMALL))
    return path


@pytest.mark.parametrize("name", PRESETS)
def test_settings_survive_the_text_file(name):
    assert from_json(to_json(PRESETS[name]())) == PRESETS[name]()


def test_a_checkpoint_gives_the_weights_back(run):
    model = SeparableModel(SMALL)
    save_checkpoint(run, 3, model, {"step": 3})
    loaded, config = load_model(run)
    assert config.model == SMALL
    assert not loaded.training
    for ours, theirs in zip(model.state_dict().values(), loaded.state_dict().values(), strict=True):
        assert torch.equal(ours, theirs)
    assert load_state(newest_checkpoint(run)) == {"step": 3}


def test_the_newest_two_are_kept(run):
    model = SeparableModel(SMALL)
    for step in (1, 20, 3):
        save_checkpoint(run, step, model)
    assert [p.name for p in sorted((run / "checkpoints").iterdir())] == ["step-00000003", "step-00000020"]
    assert newest_checkpoint(run).name == "step-00000020"


def test_a_failed_write_leaves_the_old_checkpoint(run, monkeypatch):
    model = SeparableModel(SMALL)
    save_checkpoint(run, 1, model)

    def full_disk(*_args, **_kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("fastsep.training.checkpoint.save_file", full_disk)
    with pytest.raises(UserError, match="No space left"):
        save_checkpoint(run, 2, model)
    assert [p.name for p in (run / "checkpoints").iterdir()] == ["step-00000001"]


def test_a_run_is_not_overwritten(run):
    with pytest.raises(UserError, match="--resume"):
        create_run(run, Config(data=Wave100(), model=SMALL))


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="choose another --out"):
        create_run(tmp_path / "file" / "run", Config(data=Wave100(), model=SMALL))


def test_damage_is_named(run, tmp_path):
    with pytest.raises(UserError, match="holds no run"):
        load_model(tmp_path / "nothing")
    with pytest.raises(UserError, match="no checkpoint"):
        load_model(run)
    checkpoint = save_checkpoint(run, 1, SeparableModel(SMALL), {"step": 1})
    (checkpoint / "state.pt").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(UserError, match="damaged"):
        load_state(checkpoint)
    weights = checkpoint / "weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(UserError, match="damaged"):
        load_model(run)


def test_weights_of_another_model_are_refused(run):
    save_checkpoint(run, 1, SeparableModel(SMALL))
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
