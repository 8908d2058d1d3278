"""A run directory is new, empty or ours, and one process trains in it."""

import json
import os
import subprocess
import sys
from dataclasses import replace

import pytest
from network_cases import SMALL

from fastsep.config import Config
from fastsep.data.wave.settings import Wave100
from fastsep.errors import UserError
from fastsep.model import SeparableModel
from fastsep.runs.checkpoint import save_checkpoint
from fastsep.runs.directory import check_new, create_run, identity, load_config, training_lock

CONFIG = Config(data=Wave100(), model=SMALL)


def config_in(run):
    return replace(CONFIG, run=replace(CONFIG.run, out=run))


def test_runs_have_names_of_their_own(tmp_path):
    for name in ("a", "b"):
        create_run(tmp_path / name, CONFIG)
    assert identity(tmp_path / "a").id != identity(tmp_path / "b").id
    assert load_config(tmp_path / "a") == config_in(tmp_path / "a")


def test_a_run_is_not_overwritten(tmp_path):
    run = tmp_path / "run"
    create_run(run, CONFIG)
    save_checkpoint(run, 1, SeparableModel(SMALL))
    before = (run / "run.json").read_text()
    with pytest.raises(UserError, match=f"continue it with --resume {run}, or choose another --out"):
        create_run(run, CONFIG)
    assert (run / "run.json").read_text() == before


@pytest.mark.parametrize("foreign", ["notes.txt", "checkpoints/step-1/x", "log.csv", "config.json", "run.json"])
def test_a_directory_of_something_else_is_left_alone(tmp_path, foreign):
    path = tmp_path / foreign
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text('{"architectures": ["of another program"]}')
    with pytest.raises(UserError, match=r"no run of fastsep wrote.*choose another --out"):
        create_run(tmp_path, CONFIG)
    assert [p for p in tmp_path.rglob("*") if p.is_file()] == [path]


def test_a_directory_with_a_run_json_of_another_program_is_left_alone(tmp_path):
    texts = {"run.json": '{"id": "exp-17", "tool": "mine"}', "data.json": "{}", "config.json": "{}", "notes.txt": "x"}
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=r"no run of fastsep wrote, such as config.json: choose another --out"):
        create_run(tmp_path, CONFIG)
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == texts


@pytest.mark.parametrize("left", [[], [".run.part.json", ".lock"], ["run.json", ".config.part.json"], ["log.csv"]])
def test_a_run_that_was_killed_before_its_first_checkpoint_starts_again(tmp_path, left):
    run = tmp_path / "run"
    create_run(run, CONFIG)
    if left and "log.csv" not in left:
        (run / "config.json").unlink()
        for name in {"run.json"} - set(left):
            (run / name).unlink()
    for name in set(left) - {"run.json"}:
        (run / name).write_text("")
    create_run(run, CONFIG)
    assert load_config(run) == config_in(run) and identity(run) is not None


def test_an_unwritable_place_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    for place in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(UserError, match="choose another --out"):
            create_run(place, CONFIG)


def test_one_process_trains_at_a_time_and_a_killed_one_not_at_all(tmp_path):
    code = (
        "import sys, time; from pathlib import Path; from fastsep.runs.directory import training_lock\n"
        "with training_lock(Path(sys.argv[1])): print('held', flush=True); time.sleep(60)"
    )
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout.readline() == "held\n"
        with pytest.raises(UserError, match=f"being trained by process {process.pid} .*wait"), training_lock(tmp_path):
            pass
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    with training_lock(tmp_path):
        pass


def test_a_settings_file_with_a_byte_order_mark_is_read(tmp_path):
    create_run(tmp_path, CONFIG)
    path = tmp_path / "config.json"
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert load_config(tmp_path) == config_in(tmp_path)
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="is no text"):
        load_config(tmp_path)


def test_checkpoints_on_a_disk_that_is_not_mounted_are_not_taken_for_none(tmp_path):
    create_run(tmp_path, CONFIG)
    (tmp_path / "checkpoints").symlink_to("/nowhere/big-disk")
    with pytest.raises(UserError, match=r"link to /nowhere/big-disk, which is not there"):
        check_new(tmp_path)


def test_identity_is_none_where_it_cannot_be_told(tmp_path):
    assert identity(tmp_path) is None
    for text in ("", "[]", "{}", '{"id": 3}', "null", "\xff"):
        (tmp_path / "run.json").write_text(text, encoding="latin-1")
        assert identity(tmp_path) is None
    (tmp_path / "run.json").write_text(json.dumps({"id": "a", "adopted": ["step-00000001"]}))
    assert identity(tmp_path).adopted == ("step-00000001",)
    assert os.listdir(tmp_path) == ["run.json"]
