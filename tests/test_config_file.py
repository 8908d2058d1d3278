"""A run's settings as they are kept: paths that hold from anywhere, files that are refused with their name."""

from __future__ import annotations

import dataclasses
import json
from dataclasses import replace
from pathlib import Path

import pytest

from fastsep.config import Config, at_resume, check_resumable
from fastsep.config_file import from_json, to_json
from fastsep.data import DATASETS
from fastsep.data.chairs.settings import Chairs
from fastsep.data.mnist.settings import MovingMNIST
from fastsep.data.sst.settings import SST
from fastsep.data.wave.settings import Wave
from fastsep.errors import UserError
from fastsep.presets import PRESETS
from fastsep.settings import settings_of


@pytest.mark.parametrize("preset", PRESETS)
def test_settings_come_back_equal(preset):
    config = PRESETS[preset]()
    assert from_json(to_json(config)) == config


@pytest.mark.parametrize("preset", PRESETS)
def test_usual_places_of_data_are_kept_absolute(preset, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    config = from_json(to_json(PRESETS[preset](), Path("run")), Path("run"))
    usual = PRESETS[preset]().data.default_path
    assert config.data.data == (None if usual is None else tmp_path / usual)


def test_bundled_digits_have_no_place():
    assert from_json(to_json(Config(MovingMNIST(digits="sklearn")), Path("run")), Path("run")).data.data is None


def test_a_relative_path_is_kept_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    text = to_json(Config(Wave(data=Path("w"))), Path("run"))
    monkeypatch.chdir("/")
    assert from_json(text, tmp_path / "run").data.data == tmp_path / "w"


def test_a_path_within_the_run_moves_with_it(tmp_path):
    text = to_json(Config(Wave(data=tmp_path / "run" / "w")), tmp_path / "run")
    moved = tmp_path / "moved"
    (moved / "w").mkdir(parents=True)
    config = from_json(text, moved)
    assert config.data.data == moved / "w"
    assert config.run.out == moved


def test_settings_of_earlier_versions_are_left_out():
    """A run that was trained with them is scored like any other, but does not go on as another one."""
    values = json.loads(to_json(Config(Wave())))
    values["objective"] |= {"nt_pred_start": None, "start_share": 0.5, "nt_decoded": None}
    assert from_json(json.dumps(values), to_train=True) == Config(Wave())
    values["objective"]["nt_decoded"] = 8
    assert from_json(json.dumps(values)) == Config(Wave())
    with pytest.raises(
        UserError, match=r"^config.json: the run was trained with nt_decoded 8, which .*: score it and "
    ):
        from_json(json.dumps(values), to_train=True)


def test_home_is_expanded(monkeypatch):
    monkeypatch.setenv("HOME", "/home/somebody")
    assert Wave(data="~/w").data == Path("/home/somebody/w")
    assert Chairs(data=Path("~/c.npy")).data == Path("/home/somebody/c.npy")


def changed(value, *path):
    """The default settings of a run as JSON, with one value replaced."""
    values = json.loads(to_json(PRESETS["sst"]()))
    place = values
    for name in path[:-1]:
        place = place[name]
    place[path[-1]] = value
    return json.dumps(values)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is no JSON"),
        ('{"run": {},}', "is no JSON (Expecting property name"),
        ("null", "does not fit"),
        ("[" * 100_000, "does not fit"),
        ("{}", "does not fit"),
        (changed(None, "model"), "model holds no settings"),
        (changed("none", "data", "dataset"), "does not fit"),
        (changed(["sst"], "data", "dataset"), "does not fit"),
        (changed(1, "optim", "momentum"), "unknown setting momentum"),
        (changed("fast", "optim", "lr"), "config.json: lr is 'fast'"),
        (changed(True, "optim", "batch_size"), "config.json: batch_size is True"),
        (changed([1, "2"], "data", "zones"), "config.json: zones is"),
        (changed({}, "data", "data"), "config.json: data is"),
        (changed("a\0b", "run", "out"), "config.json: out is"),
    ],
)
def test_a_file_that_is_no_settings_is_named(text, words):
    with pytest.raises(UserError, match=words.replace("[", r"\[").replace("(", r"\(")):
        from_json(text)


def test_settings_of_an_earlier_version_have_todays_defaults():
    values = json.loads(to_json(PRESETS["wave"]()))
    del values["run"]["tune"]
    assert from_json(json.dumps(values)) == PRESETS["wave"]()


@pytest.mark.parametrize("part", ["data", "model", "objective", "optim", "run"])
def test_parts_have_their_type(part):
    with pytest.raises(UserError, match=f"{part} is"):
        replace(PRESETS["wave"](), **{part: {"lr": 1}})


def test_what_is_computed_stays_at_resume():
    before = PRESETS["sst"]()
    after = replace(
        before,
        data=replace(before.data, data=Path("elsewhere"), zones=(1,)),
        optim=replace(before.optim, steps=10, lr=1.0),
        run=replace(before.run, seed=3, device="cpu", log_every=1),
    )
    with pytest.raises(UserError, match="keeps its --zones and --lr and --seed: "):
        check_resumable(before, after)
    check_resumable(
        before, replace(after, data=replace(before.data, data=Path("x")), optim=before.optim, run=before.run)
    )
    with pytest.raises(UserError, match="trained on sst, not on wave"):
        check_resumable(before, PRESETS["wave"]())


@pytest.mark.parametrize("kind", DATASETS.values(), ids=DATASETS)
def test_every_data_set_names_its_files(kind, tmp_path):
    config = kind(data=tmp_path)
    assert all(path == tmp_path or path.is_relative_to(tmp_path) for path in config.files())
    assert kind().files() or dataclasses.replace(config, data=None).path is None or kind is MovingMNIST


def test_zones_are_named_once():
    names = [path.name for path in SST(data=Path("d"), zones=(3, 1), test_zones=(1,)).files()]
    assert names == ["data_1.nc", "data_3.nc"]


def test_what_a_run_takes_when_it_goes_on_changes_no_number():
    """But for precision, and for how long it trains."""
    assert set(at_resume()) == {
        "--epochs", "--steps", "--device", "--precision", "--compile", "--capture", "--tune", "--log-every",
        "--checkpoint-every", "--auto-resume", "--profile", "--timeout", "--score", "--data",
    }  # fmt: skip
    for kind in DATASETS.values():
        assert [setting.flag for setting in settings_of(kind) if setting.at_resume] == ["--data"]
