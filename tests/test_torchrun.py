"""torchrun as a user types it, on CPUs: two processes train, score and say so once; what torchrun's end leaves."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from fastsep.runs.checkpoint import newest_checkpoint

SMALL = (
    "wave100", "--size=10", "--batch-size=8", "--enc-hidden-size=16", "--dec-hidden-size=16", "--res-hidden-size=16",
    "--precision=fp32", "--device=cpu", "--log-every=5",
)  # fmt: skip


def torchrun(*arguments, restarts=0):
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    command += [f"--max-restarts={restarts}", "-m", "fastsep.train", *SMALL, *map(str, arguments)]
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


@pytest.mark.slow
def test_two_processes_train_score_and_speak_once(tmp_path):
    run = tmp_path / "run"
    job = torchrun("--steps=10", f"--out={run}")
    out, error = job.communicate(timeout=300)
    assert job.returncode == 0, error
    assert out.count("t+40") >= 1 and out.count("run: ") == 1 and out.count("evaluated in") == 1
    assert (run / "metrics.json").exists() and (run / "figures").is_dir()


@pytest.mark.slow
@pytest.mark.parametrize(
    ("word", "line"),
    [
        (
            "--batch-size=9",
            "error: a batch of 9 cannot be divided among 2 processes: set --batch-size to 8 or 10, or start fewer",
        ),
        ("--sise=9", "error: there is no option --sise: see python -m fastsep.train wave100 --help"),
    ],
)
def test_bad_input_is_one_line_and_the_cause_in_the_end(tmp_path, word, line):
    job = torchrun(word, f"--out={tmp_path / 'run'}")
    _, error = job.communicate(timeout=300)
    assert job.returncode == 1
    assert [text for text in error.splitlines() if text.startswith(("error", "stopped"))] == [line]
    assert error.splitlines()[-2].strip() == f"traceback : {line}"
    assert not (tmp_path / "run").exists()


def two_launchers(*arguments, folders, restarts=0):
    """A torchrun for each of two "machines", in these folders."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        endpoint = f"127.0.0.1:{free.getsockname()[1]}"
    jobs = []
    for node, folder in enumerate(folders):
        meeting = ["--rdzv-backend=c10d", "--rdzv-id=test", f"--rdzv-endpoint={endpoint}", "--local-addr=127.0.0.1"]
        meeting += [f"--rdzv-conf=is_host={int(node == 0)}", f"--max-restarts={restarts}"]
        command = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1", *meeting]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        command += ["-m", "fastsep.train", *map(str, arguments)]
        jobs.append(subprocess.Popen(command, env=environment, cwd=folder, stderr=subprocess.PIPE, text=True))
    return jobs


@pytest.mark.slow
def test_a_rank_that_dies_is_started_anew_on_both_machines(tmp_path):
    run = tmp_path / "run"
    jobs = two_launchers(
        *SMALL, "--steps=400", "--checkpoint-every=20", "--no-score", "--timeout=100", f"--out={run}",
        folders=[tmp_path, tmp_path], restarts=3,
    )  # fmt: skip
    while not (run / "checkpoints" / "step-00000020").exists():
        assert all(job.poll() is None for job in jobs)
        time.sleep(0.1)
    (worker,) = Path(f"/proc/{jobs[1].pid}/task/{jobs[1].pid}/children").read_text().split()
    begin = time.monotonic()
    os.kill(int(worker), signal.SIGKILL)
    errors = [job.communicate(timeout=200)[1] for job in jobs]
    assert [job.returncode for job in jobs] == [0, 0], errors
    assert time.monotonic() - begin < 90, "they waited for each other"
    assert newest_checkpoint(run).step == 400


@pytest.mark.slow
def test_a_run_that_one_machine_does_not_see(tmp_path):
    run = tmp_path / "run"
    assert torchrun("--steps=2", "--no-score", f"--out={run}").wait(200) == 0
    (tmp_path / "elsewhere").mkdir()
    begin = time.monotonic()
    jobs = two_launchers("--resume", "run", "--steps=4", folders=[tmp_path, tmp_path / "elsewhere"])
    errors = [job.communicate(timeout=300)[1] for job in jobs]
    told = {line for error in errors for line in error.splitlines() if line.startswith("error: ")}
    assert told == {"error: run holds no run (no config.json): give the directory that training wrote"}, errors
    assert time.monotonic() - begin < 200


@pytest.mark.slow
def test_the_end_of_torchrun_leaves_a_checkpoint_of_that_step(tmp_path):
    run = tmp_path / "run"
    job = torchrun("--steps=100000", "--checkpoint-every=100000", f"--out={run}")
    deadline = time.monotonic() + 120
    while not (run / "log.csv").exists() or (run / "log.csv").read_text().count("\n") < 3:
        assert time.monotonic() < deadline
        time.sleep(0.1)
    begin = time.monotonic()
    job.send_signal(signal.SIGTERM)
    _, error = job.communicate(timeout=100)
    assert time.monotonic() - begin < 20
    stopped = re.findall(r"stopped by SIGTERM: step (\d+) is saved", error)
    assert len(stopped) == 1 and newest_checkpoint(run).step == int(stopped[0]) >= 10
    assert sum(line.startswith(("error", "stopped")) for line in error.splitlines()) == 1
