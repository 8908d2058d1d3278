"""Training on a file four times as large as all the address space of the process, within a stated buffer."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = """
import os, resource
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import numpy as np

from fastsep.config import Config, ModelConfig, ObjectiveConfig, OptimConfig, RunConfig
from fastsep.data import DATASETS
from fastsep.data.base import DataConfig
from fastsep.data.frames.source import Source
from fastsep.data.frames.stream import StreamedWindows
from fastsep.data.scaling import Scaling
from fastsep.data.windows import all_starts
from fastsep.training.loop import train

MB = 1 << 20
ROOM, BUFFER = 256 * MB, 64 * MB
FRAME = 64 * 64 * 4


class Raw(Source):
    shape, sequences, chunk = (1, 64, 64), 1, (1, 64)

    def __init__(self, path):
        self.path, self.frames = path, os.path.getsize(path) // FRAME

    def read(self, sequence, first, count):
        values = np.fromfile(self.path, np.float32, count * 64 * 64, offset=first * FRAME)
        return values.reshape(count, 1, 64, 64)


@dataclass(frozen=True)
class Large(DataConfig):
    name: ClassVar[str] = "large"

    def open(self, split, cond, pred, device, scaling=None, padding=None):
        source = Raw(self.path)
        frames = source.frames if split == "train" else 100
        starts = all_starts(1, frames, cond + pred)
        return StreamedWindows(source, Scaling.identity(Raw.shape), starts, cond + pred, 1, device, buffer_bytes=BUFFER)


DATASETS["large"] = Large
model = ModelConfig(shape=(1, 64, 64), encoder="mlp", decoder="mlp", mixing="mul", code_size_s=4, code_size_t=4,
                    nt_cond=3, offset=3, enc_hidden_size=16, dec_hidden_size=16, res_hidden_size=16)
config = Config(data=Large(data=Path("small.raw")), model=model, objective=ObjectiveConfig(nt_pred=4),
                optim=OptimConfig(batch_size=32, steps=1),
                run=RunConfig(device="cpu", precision="fp32", log_every=1, checkpoint_every=100))
np.random.default_rng(0).random(5000 * 64 * 64, np.float32).tofile("small.raw")
train(config, Path("warm"), False)  # imports, and memory that every training takes

with open("large.raw", "wb") as file:
    file.write(open("small.raw", "rb").read())
    pages = int(open("/proc/self/statm").read().split()[0])
    limit = pages * resource.getpagesize() + ROOM
    file.truncate(4 * limit // FRAME * FRAME)
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
train(replace(config, data=Large(data=Path("large.raw")), optim=replace(config.optim, steps=60)), Path("run"), False)
grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 - before
print(os.path.getsize("large.raw") / limit, grown / MB)
"""

OWN_FRAMES = """
import json, resource
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np

from fastsep.data.frames.settings import Frames
from fastsep.evaluation import evaluate_run
from fastsep.presets import suited
from fastsep.training.loop import train

ROOM = 160_000_000
random = np.random.default_rng(0)
for name, sequences in (("small", 5), ("large", 4 * ROOM // (200 * 64 * 64 * 4))):
    with h5py.File(name + ".h5", "w") as file:
        frames = file.create_dataset("u", (sequences, 200, 64, 64), "f4")
        for row in range(sequences):
            frames[row] = np.sin(np.arange(200)[:, None, None] / 7 + random.normal(size=(64, 64)))
config = suited(Frames)
config = replace(
    config, data=Frames(data=Path("small.h5"), buffer=20, test_windows=50),
    model=replace(config.model, encoder="mlp", decoder="mlp", enc_hidden_size=16, dec_hidden_size=16, nt_cond=3),
    objective=replace(config.objective, nt_pred=4), optim=replace(config.optim, batch_size=32, steps=100),
    run=replace(config.run, device="cpu", precision="fp32", checkpoint_every=50),
)
train(config, Path("warm"), False)
evaluate_run(Path("warm"), figures=False)
pages = int(open("/proc/self/statm").read().split()[0])
limit = pages * resource.getpagesize() + ROOM
resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
train(replace(config, data=replace(config.data, data=Path("large.h5"))), Path("run"), False)
evaluate_run(Path("run"), figures=False)
"""


def run_script(script: str, folder: Path) -> str:
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, "-c", script]
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_a_file_larger_than_memory_is_trained_on(tmp_path):
    ratio, grown = map(float, run_script(SCRIPT, tmp_path).split())
    assert ratio > 3.99
    assert grown < 200, "MB on top of a training on a small file, of which 64 are the buffer"
    assert len((tmp_path / "run/log.csv").read_text().splitlines()) == 61


@pytest.mark.slow
def test_own_frames_four_times_larger_than_what_memory_is_left_are_trained_on_and_scored(tmp_path):
    run_script(OWN_FRAMES, tmp_path)
    assert (tmp_path / "large.h5").stat().st_size > 630_000_000
    scores = json.loads((tmp_path / "run/metrics.json").read_text())
    assert scores["windows"] == 50
