"""Every preset on made data trains under two processes, with shared norms as one process does."""

from dataclasses import replace

import pytest
from rank_cases import losses_of_steps, run_training, wave100
from ranks import run_ranks
from test_train_presets import bundled_digits, narrow, noise_for_chairs, noise_for_seas, noise_for_taxis

from fastsep.data.wave.settings import Wave
from fastsep.runs.log_file import read_log

CONFIGS = {
    "wave": lambda folder: replace(wave100(), data=Wave(size=5, frames=120)),
    "wave100": lambda folder: wave100(),
    "mnist": lambda folder: narrow("mnist", bundled_digits(), 2, 4),
    "chairs": lambda folder: narrow("chairs", noise_for_chairs(folder), 2, 4),
    "taxibj": lambda folder: narrow("taxibj", noise_for_taxis(folder), 2, 4),
    "sst": lambda folder: narrow("sst", noise_for_seas(folder), 1, 2),
}


@pytest.mark.slow
@pytest.mark.parametrize("preset", CONFIGS)
def test_a_preset_trains_under_two_processes_as_under_one(preset, tmp_path):
    config = CONFIGS[preset](tmp_path)
    if preset == "wave":
        config = replace(config, model=replace(config.model, shape=(1, 64, 64)))
    config = replace(config, optim=replace(config.optim, batch_size=4))
    assert run_ranks(2, run_training, config, tmp_path / "run") == [None, None]
    assert read_log(tmp_path / "run")[-1]["step"] == config.optim.steps
    shared = replace(config, optim=replace(config.optim, norm_over="all"))
    alone, _ = losses_of_steps(config, config.optim.steps)
    (terms, _), _ = run_ranks(2, losses_of_steps, shared, config.optim.steps)
    for ours, theirs in zip(terms, alone, strict=True):
        assert ours == pytest.approx(theirs, rel=1e-9)
