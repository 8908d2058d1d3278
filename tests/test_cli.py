"""What all commands have in common: help at once, one line for a wrong environment, nobody else's modules."""

from __future__ import annotations

import errno
import json
import os
import re
import resource
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from command_line import run_command

import fastsep
from fastsep import cli, entry, launch
from fastsep.errors import UserError, leave_word

COMMANDS = (
    "train", "evaluate", "compare", "forecast", "export", "gen_wave", "gen_mnist", "gen_example", "prepare_chairs",
    "prepare_sst", "import_official",
)  # fmt: skip
ROOT = Path(__file__).parents[1]


def start(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess:
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run([sys.executable, *arguments], cwd=cwd, env=environment, capture_output=True, text=True)


@pytest.mark.parametrize("command", [*COMMANDS, "train wave"])
def test_help_is_there_at_once(command: str, tmp_path: Path) -> None:
    """Measured in processor time, which neighbours do not lengthen much."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    module, *rest = command.split()
    done = start("-m", f"fastsep.{module}", *rest, "--help", cwd=tmp_path)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert done.returncode == 0 and not done.stderr
    assert f"usage: python -m fastsep.{module}" in done.stdout
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < 1


def test_exit_statuses_are_in_the_help(capsys) -> None:
    for command in COMMANDS:
        _, out, _ = run_command(command, "--help", capsys=capsys)
        assert "Exit status: 0 done, 2 bad input, 128 + N stopped by signal N" in out


@pytest.mark.parametrize("command", COMMANDS)
def test_help_shows_examples_that_can_be_read(command: str, capsys, monkeypatch) -> None:
    class Read(Exception):  # noqa: N818 - none
        pass

    parse = cli.parse

    def stop_after(*values, **options):
        parse(*values, **options)
        raise Read

    monkeypatch.setenv("COLUMNS", "200")
    _, text, _ = run_command(command, "--help", capsys=capsys)
    examples = re.findall(rf"^\$ python -m fastsep\.{command} (.*)$", text, re.MULTILINE)
    assert examples
    monkeypatch.setattr(cli, "parse", stop_after)
    for example in examples:
        with pytest.raises(Read):
            run_command(command, *shlex.split(example), capsys=capsys)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_wrong_environment_is_one_line(command: str, capsys, monkeypatch) -> None:
    monkeypatch.setenv("FASTSEP_KERNELS", "nonsense")
    status, _, errors = run_command(command, "--help", capsys=capsys)
    assert status == 2
    assert errors == "error: FASTSEP_KERNELS is 'nonsense': set it to one of auto, torch, triton\n"


def test_other_modules_called_kernels_are_not_ours(tmp_path: Path) -> None:
    (tmp_path / "kernels.py").write_text("raise SystemExit('imported the wrong module')")
    done = start("-m", "fastsep.train", "--help", cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    (tmp_path / "kernels.py").write_text("")
    done = start("-c", "import kernels, fastsep", cwd=tmp_path)
    assert "ImportError: a module kernels from" in done.stderr and "import fastsep first" in done.stderr


def test_programs_that_read_no_command_line_need_nothing_for_it() -> None:
    code = "import sys; sys.modules['tyro'] = None; import fastsep.training.loop, fastsep.evaluation, fastsep.inference"
    code += "; assert 'torch._dynamo' not in sys.modules; import bench.parts"  # it takes as long as PyTorch itself
    done = start("-c", code)
    assert done.returncode == 0, done.stderr


def test_a_reader_of_help_may_leave(tmp_path: Path) -> None:
    script = f"{sys.executable} -m fastsep.train wave --help | head -n 1"
    done = subprocess.run(["sh", "-c", script], cwd=ROOT, capture_output=True, text=True)
    assert done.stdout.startswith("usage:") and not done.stderr


def test_a_newline_in_a_name_makes_no_second_line(capsys) -> None:
    def main() -> None:
        raise UserError("no\nfile.nc does not exist: give another")

    with pytest.raises(SystemExit):
        entry.run(main)
    assert capsys.readouterr().err == "error: no\\nfile.nc does not exist: give another\n"


@pytest.mark.parametrize("error", [MemoryError(), RuntimeError("CUDA out of memory."), RuntimeError("shapes differ")])
def test_want_of_memory_is_one_line_and_a_mistake_is_not(error: Exception, capsys) -> None:
    def main() -> None:
        raise error

    if "shapes" in str(error):
        with pytest.raises(RuntimeError, match="shapes differ"):
            entry.run(main)
    else:
        with pytest.raises(SystemExit) as stop:
            entry.run(main)
        assert stop.value.code == 2
        assert capsys.readouterr().err.startswith("error: not enough memory (")


def test_torchrun_hears_of_a_mistake_as_well(tmp_path: Path, monkeypatch) -> None:
    def main() -> None:
        raise ValueError("3 is not 4\nthere")

    word = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(word))
    with pytest.raises(ValueError, match="3 is not 4"):
        entry.run(main)
    assert json.loads(word.read_text())["message"]["message"] == "error: ValueError: 3 is not 4"


RANKS = {"RANK": "1", "LOCAL_RANK": "1", "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


def test_a_command_for_one_process_is_refused_to_several(capsys, monkeypatch) -> None:
    for name, value in RANKS.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCH_CPP_LOG_LEVEL", "FATAL")  # which it sets, and nobody would take back
    status, _, errors = run_command("gen_example", "plume", "--out", "x.nc", capsys=capsys)
    assert status == 2
    assert errors.startswith("error: this command works in one process: start it without torchrun")
    assert errors.count("\n") == 1


def test_one_process_of_several_speaks_before_they_have_met(monkeypatch) -> None:
    assert launch.is_first_here()
    monkeypatch.setenv("LOCAL_RANK", "1")
    assert launch.is_first_here()  # nobody else is there who would
    for name, value in RANKS.items():
        monkeypatch.setenv(name, value)
    assert launch.is_one_of_several() and not launch.is_first_here()
    monkeypatch.setenv("LOCAL_RANK", "0")
    assert launch.is_first_here()
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert not launch.is_one_of_several()


@pytest.mark.parametrize(
    ("command", "arguments"),
    [
        ("evaluate", ["RUN", "--data", "LONG"]),
        ("import_official", ["LONG", "--preset", "wave", "--out", "r"]),
        ("prepare_chairs", ["LONG", "--out", "chairs.npy"]),
        ("forecast", ["RUN", "LONG", "--horizon", "1", "--out", "o.npy"]),
        ("train", ["mnist", "--data", "LONG", "--out", "r"]),
        ("train", ["wave100", "--data", "LONG", "--out", "r"]),
        ("gen_wave", ["--out", "LONG"]),
        ("gen_wave", ["--out", "LONG", "--format", "pt"]),
    ],
)
def test_a_path_that_cannot_be_reached_is_one_line(command: str, arguments: list[str], tmp_path, capsys, monkeypatch):
    """As one within a directory that is closed to the user; these tests may run as root, to whom none is."""
    monkeypatch.chdir(tmp_path)
    places = {"LONG": "x" * 300, "RUN": ROOT / "tests" / "fixtures" / "run_0.1.0"}
    status, _, errors = run_command(command, *(places.get(word, word) for word in arguments), capsys=capsys)
    assert status == 2 and errors.startswith("error: ") and errors.count("\n") == 1, errors
    assert "File name too long" in errors and not list(tmp_path.iterdir())


@pytest.mark.parametrize(("number", "status"), [(errno.EACCES, 2), (errno.EPERM, 2), (errno.EBADF, None)])
def test_a_system_that_lets_nobody_come_to_a_path_is_no_mistake_of_this_program(number, status, capsys) -> None:
    def main() -> None:
        raise OSError(number, os.strerror(number), "/locked/data")

    with pytest.raises(SystemExit if status else OSError) as stop:
        entry.run(main)
    if status:
        reason = os.strerror(number)
        assert stop.value.code == status
        assert capsys.readouterr().err == (
            f"error: /locked/data cannot be reached ({reason}): mend the rights, or give another path\n"
        )


def test_homes_of_nobody_are_one_line(capsys) -> None:
    status, _, errors = run_command("train", "--resume", "~nosuchuser/run", capsys=capsys)
    assert status == 2 and "home directory of nobody here" in errors and errors.count("\n") == 1
    with pytest.raises(UserError, match="home directory of nobody here"):
        fastsep.load("~nosuchuser/run")


def test_other_systems_are_told_what_helps(capsys, monkeypatch) -> None:
    monkeypatch.setattr(entry.os, "name", "nt")
    with pytest.raises(SystemExit) as stop:
        entry.run(lambda: None)
    assert stop.value.code == 2 and capsys.readouterr().err.endswith("on Windows, use it within WSL\n")


@pytest.mark.parametrize("command", ["forecast x.npy y --horizon 1 --out z.npy", "train wave100"])
def test_places_that_a_program_needs_are_asked_for_at_once(command: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    script = f"mkdir {gone}; cd {gone}; rmdir {gone}; exec {sys.executable} -m fastsep.{command}"
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(["sh", "-c", script], env=environment, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr == "error: the current directory was deleted: change to one that is there\n"


def test_without_a_place_for_temporary_files_a_line_says_so(monkeypatch, capsys) -> None:
    def none() -> str:
        raise FileNotFoundError("No usable temporary directory found")

    monkeypatch.setattr("tempfile.gettempdir", none)
    status, _, error = run_command("evaluate", "x", capsys=capsys)
    assert status == 2 and error.endswith("set TMPDIR\n") and error.count("\n") == 1


@pytest.mark.parametrize("columns", ["1", "4", "20"])
def test_help_ends_in_the_narrowest_window(columns: str) -> None:
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": columns}
    command = [sys.executable, "-m", "fastsep.export", "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0 and "Exit" in done.stdout


def test_a_backend_that_matplotlib_does_not_know_ends_nothing(tmp_path: Path) -> None:
    code = "import fastsep.entry; fastsep.entry.run(lambda: __import__('matplotlib.figure'))"
    environment = os.environ | {"PYTHONPATH": str(ROOT), "MPLBACKEND": "foo"}
    done = subprocess.run([sys.executable, "-c", code], env=environment, cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_torchrun_reads_is_never_half_written(tmp_path, monkeypatch):
    """It ends with a traceback of its own over a file that is no JSON."""
    word = tmp_path / "error.json"
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(word))

    def killed(*_):
        raise KeyboardInterrupt  # no error of the disk's

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(json, "dump", killed)
        leave_word("it is gone")
    assert not word.exists()
    leave_word("it is gone")
    assert json.loads(word.read_text())["message"]["message"] == "it is gone"
