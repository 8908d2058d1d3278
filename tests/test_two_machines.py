"""Two machines, as two network namespaces with a link between them: one torchrun on each, and a link that is cut."""

import os
import shutil
import subprocess
import sys
import time

import pytest
import torch
from test_torchrun import SMALL, torchrun

from fastsep.runs.checkpoint import newest_checkpoint

NODES = {"fastsep-a": "10.77.0.1", "fastsep-b": "10.77.0.2"}


def ip(*words):
    return subprocess.run(["ip", *words], capture_output=True, text=True, check=True)


@pytest.fixture
def link():
    """The name of the link's end on the first machine; on the second it has the same."""
    if os.geteuid() or not shutil.which("ip"):
        pytest.skip("network namespaces need root and iproute2")
    first, second = NODES
    try:
        for name in NODES:
            ip("netns", "add", name)
        ip("link", "add", "link0", "netns", first, "type", "veth", "peer", "name", "link0", "netns", second)
        for name, address in NODES.items():
            ip("-n", name, "addr", "add", f"{address}/24", "dev", "link0")
            for device in ("lo", "link0"):
                ip("-n", name, "link", "set", device, "up")
        yield "link0"
    except subprocess.CalledProcessError as error:
        pytest.skip(f"no network namespaces here: {error.stderr.strip()}")
    finally:
        for name in NODES:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def start(*arguments):
    """A torchrun on each machine."""
    first, jobs = next(iter(NODES)), []
    for name, address in NODES.items():
        meeting = ["--rdzv-backend=c10d", "--rdzv-id=test", f"--rdzv-endpoint={NODES[first]}:29511"]
        meeting += [f"--rdzv-conf=is_host={int(name == first)}", f"--local-addr={address}"]
        command = ["ip", "netns", "exec", name, sys.executable, "-m", "torch.distributed.run", "--nnodes=2"]
        command += ["--nproc-per-node=1", *meeting, "-m", "fastsep.train", *map(str, arguments)]
        environment = os.environ | {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "link0"}
        jobs.append(subprocess.Popen(command, env=environment, stderr=subprocess.PIPE, text=True))
    return jobs


@pytest.mark.slow
def test_two_machines_compute_what_one_does_and_survive_a_cut(link, tmp_path):
    one, two, cut = (tmp_path / name for name in ("one", "two", "cut"))
    assert torchrun("--steps=10", "--no-score", f"--out={one}").wait(200) == 0
    assert [job.wait(200) for job in start(*SMALL, "--steps=10", "--no-score", f"--out={two}")] == [0, 0]
    ours, theirs = (newest_checkpoint(run).weights for run in (one, two))
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)

    endless = ("--steps=100000", "--checkpoint-every=10", "--timeout=5", "--no-score")
    jobs = start(*SMALL, *endless, f"--out={cut}")
    while not (cut / "checkpoints" / "step-00000020").exists():
        assert all(job.poll() is None for job in jobs)
        time.sleep(0.1)
    first = next(iter(NODES))
    ip("-n", first, "link", "set", link, "down")
    time.sleep(15)  # longer than the time-out
    ip("-n", first, "link", "set", link, "up")
    for job in jobs:
        _, error = job.communicate(timeout=120)
        told = [line for line in error.splitlines() if line.startswith("error: ")]
        assert len(told) == 1 and "lost another one, which died or hangs (Timed out" in told[0], error
    done = newest_checkpoint(cut).step
    assert [job.wait(200) for job in start("--resume", cut, f"--steps={done + 5}")] == [0, 0]
    assert newest_checkpoint(cut).step == done + 5
